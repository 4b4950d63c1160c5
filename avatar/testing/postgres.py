"""A real PostgreSQL on loopback, in a temporary folder and as an unprivileged user, for tests."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

DATABASE, USER = "postgres", "vultus"


def programs() -> Path | None:
    """Folder of ``initdb`` and ``pg_ctl``; None where they are not installed."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((f for f in folders if (f / "initdb").exists() and (f / "pg_ctl").exists()), None)


class Postgres:
    """``with Postgres() as server: ... server.url``; nothing of it is left afterwards."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._data = self._folder / "data"
        self._user: str | None = None
        self._group: int | None = None
        if os.getuid() == 0:  # it refuses to run as root
            self._user, self._group = "nobody", pwd.getpwnam("nobody").pw_gid
            os.chown(self._folder, pwd.getpwnam("nobody").pw_uid, -1)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"postgresql://{USER}@127.0.0.1:{self.port}/{DATABASE}"

    def __enter__(self) -> Postgres:
        try:
            self._run("initdb", "-D", self._data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
            self.start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Returns when it answers. Raises RuntimeError where it does not."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self._folder}"
        self._run("pg_ctl", "-D", self._data, "-w", "-t", "30", "-o", options, "-l", self._folder / "log", "start")

    def stop(self, mode: str = "immediate") -> None:
        """``immediate`` is what a power cut does."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", mode, "stop")

    def _run(self, program: str, *arguments: object) -> None:
        folder = programs()
        assert folder is not None
        command = [str(folder / program), *map(str, arguments)]
        # A file, since the server would hold a pipe open. No locale of the user's: messages are looked at.
        with tempfile.TemporaryFile() as said:
            environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
            done = subprocess.run(
                command, stdout=said, stderr=said, cwd=self._folder, env=environment, timeout=90,
                user=self._user, group=self._group, extra_groups=[] if self._user else None,
            )  # fmt: skip
            said.seek(0)
            if done.returncode:
                raise RuntimeError(f"{program}: {said.read().decode(errors='replace')[-2000:]}")
