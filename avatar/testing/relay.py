"""A bad network on this computer: a UDP relay between the engine and a viewer that loses and delays datagrams.

The viewer's offer is stripped of its addresses and the engine's answer gets the relay's ports, so there is no other way
than through the relay. Nothing needs rights of an administrator, and the same seed makes the same network.
"""

from __future__ import annotations

import asyncio
import heapq
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np

CANDIDATE = re.compile(r"^a=candidate:(\S+ \d+ udp \d+ )(\S+) (\d+)( typ host.*)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Impaired:
    """What a bad network does to datagrams."""

    loss: float = 0.0
    """Share that vanishes."""
    jitter: float = 0.0
    """Seconds. The delay is drawn anew every 20 ms, evenly from 0 to this, and the order is kept, as in the queue of a
    busy router: who comes behind a delayed datagram waits with it."""
    rate: float = 0.0
    """Bits a second that go through to the viewer, 0 = any; what would wait for longer than :data:`QUEUE_S` is lost."""
    delay: float = 0.0
    """Seconds that every datagram takes, each way."""
    burst: float = 1.0
    """Mean number of datagrams that are lost together (the model of Gilbert, 1960); 1 = each by chance of its own."""
    reordered: float = 0.0
    """Share that is overtaken: it takes :data:`OVERTAKEN_S` longer than those behind it."""


OVERTAKEN_S = 0.03
SLOT_S = 0.02
QUEUE_S = 0.25


class Impairment:
    """What happens to the datagrams of one direction. Sans-I/O: it is told the time."""

    def __init__(self, what: Impaired, seed: int) -> None:
        self.what = what
        self._random = np.random.default_rng(seed)
        self._losing = False
        self._free = 0.0
        self._slot = -1
        self._delay = 0.0
        self._last = 0.0

    def departure(self, now: float, size: int = 0) -> float | None:
        """When a datagram of ``size`` bytes that comes at ``now`` (seconds) goes on; None = it is lost."""
        what = self.what
        slot = int(now / SLOT_S)
        if slot != self._slot:
            self._slot, self._delay = slot, what.jitter * float(self._random.random())
        if self._lost():
            return None
        if what.rate:
            free = max(now, self._free)
            if free - now > QUEUE_S:
                return None
            self._free = free + 8 * size / what.rate
            now = self._free
        self._last = max(self._last, now + self._delay + what.delay)
        if what.reordered and self._random.random() < what.reordered:
            return self._last + OVERTAKEN_S
        return self._last

    def _lost(self) -> bool:
        loss, burst = self.what.loss, self.what.burst
        if burst <= 1 or loss >= 1:
            return bool(self._random.random() < loss)
        change = 1 / burst if self._losing else loss / (burst * (1 - loss))
        self._losing ^= bool(self._random.random() < change)
        return self._losing


class Relay:
    """Runs on a thread of its own inside a ``with`` block; its methods may be called from any thread.

    The network is perfect until :meth:`impair` is called.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._ports: dict[tuple[str, int], _Port] = {}
        self._bad: Impaired | None = None
        self.counts: Counter[str] = Counter()
        """``down_sent``, ``down_lost``, ``up_sent``, ``up_lost``: datagrams since the network got bad, and
        ``down_bytes``, ``up_bytes`` that the other side sent, lost ones included; down = to the viewer."""

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for port in self._ports.values():
            self._loop.call_soon_threadsafe(port.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def impair(self, what: Impaired) -> None:
        """The network is so from now on, both ways; only ``rate`` holds to the viewer alone."""
        self.counts.clear()
        self._bad = what
        for number, port in enumerate(self._ports.values()):
            self._spoil(number, port)

    def _spoil(self, number: int, port: _Port) -> None:
        if self._bad is not None:
            port.down.impairment = Impairment(self._bad, self._seed + 2 * number)
            port.up.impairment = Impairment(replace(self._bad, rate=0.0), self._seed + 2 * number + 1)

    def offer(self, sdp: str) -> str:
        """The viewer's offer without its addresses: the engine learns them from what comes through the relay."""
        lines = sdp.splitlines()
        return _joined([line for line in lines if not line.startswith(("a=candidate:", "a=end-of-candidates"))])

    def answer(self, sdp: str) -> str:
        """The engine's answer with ports of the relay in the place of its own."""
        lines = []
        for line in sdp.splitlines():
            if line.startswith("a=candidate:"):
                match = CANDIDATE.match(line)
                if match is None or ":" in match[2]:  # IPv4 host candidates are enough on one computer
                    continue
                port = self.open(match[2], int(match[3]))
                line = f"a=candidate:{match[1]}{match[2]} {port}{match[4]}"
            lines.append(line)
        return _joined(lines)

    def open(self, host: str, port: int) -> int:
        """The relay's port, on the same address, for the engine's ``host`` and ``port``."""
        if (host, port) not in self._ports:
            made = _Port(self.counts)
            asyncio.run_coroutine_threadsafe(made.open(host, port), self._loop).result(5)
            self._spoil(len(self._ports), made)  # a viewer that connects anew is in the same network
            self._ports[host, port] = made
        return self._ports[host, port].number


def _joined(lines: list[str]) -> str:
    return "\r\n".join(lines) + "\r\n"


class _Way:
    """One direction: a heap, as timers of the same moment come in any order."""

    def __init__(self, name: str, counts: Counter[str]) -> None:
        self.impairment: Impairment | None = None
        self._name, self._counts = name, counts
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    def take(self, size: int, send: Callable[[], None]) -> None:
        self._counts[f"{self._name}_bytes"] += size
        if self.impairment is None:
            send()
            return
        loop = asyncio.get_running_loop()
        at = self.impairment.departure(loop.time(), size)
        self._counts[f"{self._name}_lost" if at is None else f"{self._name}_sent"] += 1
        if at is not None:
            self._number += 1
            first = not self._waiting or at < self._waiting[0][0]
            heapq.heappush(self._waiting, (at, self._number, send))
            if first:
                self._drain()

    def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and self._waiting[0][0] <= loop.time():
            heapq.heappop(self._waiting)[2]()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._waiting[0][0], self._drain) if self._waiting else None


class _Port:
    """One port for the viewer and one that talks to the engine."""

    def __init__(self, counts: Counter[str]) -> None:
        self.down, self.up = _Way("down", counts), _Way("up", counts)
        self.number = 0
        self._viewer: tuple[str, int] | None = None
        self._front: Any = None
        self._back: Any = None

    async def open(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._front, _ = await loop.create_datagram_endpoint(lambda: _Receiver(self._from_viewer), (host, 0))
        self._back, _ = await loop.create_datagram_endpoint(
            lambda: _Receiver(self._from_engine), (host, 0), remote_addr=(host, port)
        )
        self.number = self._front.get_extra_info("sockname")[1]

    def _from_viewer(self, data: bytes, address: tuple[str, int]) -> None:
        self._viewer = address
        self.up.take(len(data), lambda: self._back.sendto(data))

    def _from_engine(self, data: bytes, address: tuple[str, int]) -> None:
        if self._viewer is not None:
            viewer = self._viewer
            self.down.take(len(data), lambda: self._front.sendto(data, viewer))

    def close(self) -> None:
        for transport in (self._front, self._back):
            if transport is not None:
                transport.close()


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._take(data, addr)

    def error_received(self, exc: Exception) -> None:
        """The other side has closed its port; the relay's user sees that by itself."""
