"""Many viewers of one engine in one process, who count pictures and throw them away undecoded.

``python -m avatar.testing.crowd ADDRESS VIEWERS SECONDS [PATH]`` says "ready" on a line, waits for one, and prints one
JSON object: what loading this program costs is over when they come. They come by WHEP at PATH (/whep if none is given),
one after the other, and the counting begins when all are there. A picture counts when its last packet (marker bit) has
come and no packet of it was lost.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcrtpreceiver import StreamStatistics

from avatar.errors import RunError
from avatar.streams.signaling import cut


@dataclass
class Seat:
    """One viewer."""

    pc: RTCPeerConnection
    shown: list[float] = field(default_factory=list)
    """When each whole picture had come, in seconds."""
    sounds: int = 0
    lost: int = 0
    size: int = 0
    """Bytes of sound and pictures, with their RTP headers."""
    place: str = ""
    """What ends the connection when it is deleted."""
    _next: int | None = None
    _whole: bool = True

    def listen(self, kind: str, receiver: Any) -> None:
        """Count instead of buffering and decoding; reports go on as usual, without which the engine would take us for
        gone."""

        async def rtp(packet: Any, arrival_time_ms: int) -> None:
            self.size += 12 + len(packet.payload)
            if (codec := receiver._RTCRtpReceiver__codecs.get(packet.payload_type)) is not None:
                known = receiver._RTCRtpReceiver__remote_streams
                if packet.ssrc not in known:
                    known[packet.ssrc] = StreamStatistics(codec.clockRate)
                known[packet.ssrc].add(packet)
            if kind == "audio":
                self.sounds += 1
                return
            if codec is None:
                return
            number = packet.sequence_number
            if self._next is not None and number != self._next:
                self.lost += (number - self._next) % 65536
                self._whole = False
            self._next = (number + 1) % 65536
            if packet.marker:
                if self._whole:
                    self.shown.append(time.monotonic())
                self._whole = True

        receiver._handle_rtp_packet = rtp


async def join(http: aiohttp.ClientSession, address: str, path: str = "/whep") -> Seat:
    """Raises RunError where the engine takes no more."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    seat = Seat(pc)
    for kind in ("audio", "video"):
        seat.listen(kind, pc.addTransceiver(kind, direction="recvonly").receiver)
    await pc.setLocalDescription(await pc.createOffer())
    headers = {"Content-Type": "application/sdp"}
    async with http.post(f"{address}{path}", data=pc.localDescription.sdp, headers=headers) as response:
        answer = await response.text()
        seat.place = response.headers.get("Location", "")
        if response.status != 201:
            await pc.close()
            raise RunError(f"viewer refused: {response.status} {answer[:120]}")
    await pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    return seat


async def watch(address: str, viewers: int, seconds: float, path: str = "/whep") -> dict[str, Any]:
    """What ``viewers`` saw in ``seconds``."""
    seats: list[Seat] = []
    async with aiohttp.ClientSession() as http:
        for _ in range(viewers):
            seats.append(await join(http, address, path))
        end = time.monotonic() + 30
        for seat in seats:
            while len(seat.shown) <= 5 and time.monotonic() < end:  # noqa: ASYNC110 - packets set no events
                await asyncio.sleep(0.1)
        for seat in seats:
            seat.shown, seat.sounds, seat.lost, seat.size = seat.shown[-1:], 0, 0, 0
        begun, cpu = time.monotonic(), time.process_time()
        await asyncio.sleep(seconds)
        ended = time.monotonic()
        wall, cpu = ended - begun, time.process_time() - cpu
        await asyncio.gather(*(seat.pc.close() for seat in seats))
    rates = [(len(seat.shown) - 1) / wall for seat in seats]
    times = [[*seat.shown, ended] for seat in seats]
    gaps = [max((b - a for a, b in itertools.pairwise(shown)), default=wall) for shown in times]
    return {
        "viewers": viewers,
        "fps_min": round(min(rates), 2),
        "freeze_ms_max": round(1e3 * max(gaps), 1),
        "sounds_per_s_min": round(min(seat.sounds for seat in seats) / wall, 1),
        "kbit_s": round(8e-3 * sum(seat.size for seat in seats) / len(seats) / wall, 1),
        "lost_packets": sum(seat.lost for seat in seats),
        "cpu_cores": round(cpu / wall, 3),
    }


class Comers:
    """Viewers who come and go: every ``every`` seconds one comes, and the one before the last leaves, by saying
    good-bye, by closing the connection, or without a word.

    :param every: seconds; 0 = nobody comes.
    """

    WAYS = ("delete", "close", "vanish")

    def __init__(self, address: str, every: float) -> None:
        self._address, self._every = address, every
        self._seats: deque[Seat] = deque()
        self._task: asyncio.Task[None] | None = None
        self.joined = self.refused = self._left = 0

    async def __aenter__(self) -> Comers:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        if self._every:
            self._task = asyncio.create_task(self._come())

    async def stop(self) -> None:
        """All of them leave."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        async with aiohttp.ClientSession() as http:
            while self._seats:
                await self._leave(http, self._seats.popleft())

    async def _come(self) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with aiohttp.ClientSession() as http:
            while True:
                try:
                    self._seats.append(await join(http, self._address))
                    self.joined += 1
                except (RunError, aiohttp.ClientError):
                    self.refused += 1
                if len(self._seats) > 2:
                    await self._leave(http, self._seats.popleft())
                await asyncio.sleep(max(0.0, begun + (self.joined + self.refused) * self._every - loop.time()))

    async def _leave(self, http: aiohttp.ClientSession, seat: Seat) -> None:
        way = self.WAYS[self._left % len(self.WAYS)]
        self._left += 1
        if way == "delete":
            async with http.delete(self._address + seat.place):
                pass
        elif way == "vanish":
            cut(seat.pc)
        await seat.pc.close()


if __name__ == "__main__":
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    seen = asyncio.run(watch(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:5]))
    sys.stdout.write(json.dumps(seen) + "\n")
