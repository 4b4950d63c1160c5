"""Receivers of eight parameter outputs on this machine, as a process of their own, for `avatar bench parameters`.

    python -m avatar.testing.parameter_receivers

It prints one line of JSON with its ports, reads the port of the states' WebSocket from standard input, counts until the
next line, and prints what has come: messages, and the longest time between two.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

DATAGRAMS = ("vmc", "vrchat", "ifacialmocap", "live_link", "robot", "servo")
PORTS_OF_MESSAGES = ("parameters", "vtube_studio")
_ROOM = 8 * 2**20
"""Bytes that may wait for this process: what is measured is who sends."""
_NEAR = 5e-3
"""Datagrams nearer than this belong to one state."""


@dataclass
class Count:
    """What one output has sent."""

    messages: int = 0
    gap: float = 0.0
    last: float = 0.0

    def add(self) -> None:
        now = time.monotonic()
        if self.last and now - self.last > _NEAR:
            self.gap = max(self.gap, now - self.last)
        self.messages, self.last = self.messages + 1, now

    def report(self) -> dict[str, Any]:
        return {"messages": self.messages, "gap_ms_max": round(1e3 * self.gap, 1)}


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, count: Count) -> None:
        self._count = count

    def datagram_received(self, data: bytes, address: Any) -> None:
        self._count.add()


def _port() -> socket.socket:
    line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for option in (33, socket.SO_RCVBUF):  # SO_RCVBUFFORCE of Linux, for root; the other as far as the system allows
        with contextlib.suppress(OSError):
            line.setsockopt(socket.SOL_SOCKET, option, _ROOM)
    line.setblocking(False)
    line.bind(("127.0.0.1", 0))
    return line


async def _studio(line: ServerConnection, count: Count) -> None:
    """VTube Studio as far as it says yes to everything."""
    granted = {"authenticationToken": "bench", "authenticated": True}
    with contextlib.suppress(ConnectionClosed):
        async for text in line:
            message = json.loads(text)
            kind = message["messageType"].removesuffix("Request")
            if kind == "InjectParameterData":
                count.add()
            head = {"apiName": "VTubeStudioPublicAPI", "apiVersion": "1.0", "requestID": message["requestID"]}
            await line.send(json.dumps({**head, "messageType": f"{kind}Response", "data": granted}))


async def _states(port: int, count: Count) -> None:
    async with connect(f"ws://127.0.0.1:{port}", compression=None) as line:
        async for _ in line:
            count.add()


def _say(data: object) -> None:
    sys.stdout.write(json.dumps(data) + "\n")
    sys.stdout.flush()


async def main() -> None:
    counts = {name: Count() for name in (*DATAGRAMS, *PORTS_OF_MESSAGES)}
    ports: dict[str, int] = {}
    loop = asyncio.get_running_loop()
    for name in DATAGRAMS:
        line = _port()
        ports[name] = line.getsockname()[1]
        await loop.create_datagram_endpoint(partial(_Datagrams, counts[name]), sock=line)
    async with serve(lambda line: _studio(line, counts["vtube_studio"]), "127.0.0.1", 0, compression=None) as server:
        ports["vtube_studio"] = server.sockets[0].getsockname()[1]
        _say(ports)
        port = int(await asyncio.to_thread(sys.stdin.readline))
        watching = asyncio.create_task(_states(port, counts["parameters"]))
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.sleep(0.3)  # what is still under way
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        _say({name: count.report() for name, count in counts.items()})


if __name__ == "__main__":
    asyncio.run(main())
