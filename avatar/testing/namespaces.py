"""A narrow network of the kernel's own: a network namespace behind a pair of virtual interfaces, whose way out is a
token bucket (`tc tbf`). Linux, root, and iproute2.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from types import TracebackType

from avatar.errors import DeviceError


class Namespace:
    """Exists inside a ``with`` block; programs started with :attr:`prefix` see no other network than the pair.

    :raises DeviceError: from ``with``: this system does not allow it.
    """

    OUTSIDE, INSIDE = "10.213.77.1", "10.213.77.2"

    def __init__(self) -> None:
        self._name = f"vultus{os.getpid()}"
        self._out, self._in = f"vto{os.getpid()}", f"vti{os.getpid()}"
        self.prefix = ("ip", "netns", "exec", self._name)

    def __enter__(self) -> Namespace:
        if os.name != "posix" or os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc")):
            raise DeviceError("network namespaces need root and iproute2; run as root, or leave this part out")
        try:
            self._ip("netns", "add", self._name)
            self._ip("link", "add", self._out, "type", "veth", "peer", "name", self._in, "netns", self._name)
            self._ip("addr", "add", f"{self.OUTSIDE}/30", "dev", self._out)
            self._ip("link", "set", self._out, "up")
            for words in (f"addr add {self.INSIDE}/30 dev {self._in}", f"link set {self._in} up", "link set lo up"):
                self._ip("-n", self._name, *words.split())
        except DeviceError:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take everything away again; what is gone already is no error."""
        subprocess.run(["ip", "link", "del", self._out], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", self._name], capture_output=True, check=False)

    def bottleneck(self, bits: int | None, queue_ms: int = 250) -> None:
        """From inside no more than ``bits`` a second go out, and what would wait longer than ``queue_ms`` is dropped;
        None = all of it again."""
        limit = ["tbf", "rate", f"{bits}bit", "burst", "5kb", "latency", f"{queue_ms}ms"] if bits else ["pfifo"]
        self._run([*self.prefix, "tc", "qdisc", "replace", "dev", self._in, "root", *limit])

    def passed(self) -> tuple[int, int]:
        """Bytes that went out, and packets that the queue dropped, since :meth:`bottleneck`."""
        said = self._run([*self.prefix, "tc", "-s", "-j", "qdisc", "show", "dev", self._in])
        row = json.loads(said)[0]
        return int(row["bytes"]), int(row["drops"])

    def _ip(self, *words: str) -> None:
        self._run(["ip", *words])

    def _run(self, words: list[str]) -> str:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DeviceError(f"{' '.join(words)}: {done.stderr.strip()[:160]}; this system allows no such network")
        return done.stdout
