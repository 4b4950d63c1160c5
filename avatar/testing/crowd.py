"""Many viewers of one engine in one process, who count pictures and throw them away undecoded.

``python -m avatar.testing.crowd ADDRESS VIEWERS SECONDS`` prints one JSON object. They come by WHEP, one after the
other, and the counting begins when all are there. A picture counts when its last packet (marker bit) has come and no
packet of it was lost.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from avatar.errors import RunError


@dataclass
class Seat:
    """One viewer."""

    pc: RTCPeerConnection
    shown: list[float] = field(default_factory=list)
    """When each whole picture had come, in seconds."""
    sounds: int = 0
    lost: int = 0
    _next: int | None = None
    _whole: bool = True

    def listen(self, kind: str, receiver: Any) -> None:
        """Count instead of buffering and decoding; reports go on as usual."""

        async def rtp(packet: Any, arrival_time_ms: int) -> None:
            if kind == "audio":
                self.sounds += 1
                return
            if packet.payload_type not in receiver._RTCRtpReceiver__codecs:
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


async def join(http: aiohttp.ClientSession, address: str) -> Seat:
    """Raises RunError where the engine takes no more."""
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    seat = Seat(pc)
    for kind in ("audio", "video"):
        seat.listen(kind, pc.addTransceiver(kind, direction="recvonly").receiver)
    await pc.setLocalDescription(await pc.createOffer())
    headers = {"Content-Type": "application/sdp"}
    async with http.post(f"{address}/whep", data=pc.localDescription.sdp, headers=headers) as response:
        answer = await response.text()
        if response.status != 201:
            await pc.close()
            raise RunError(f"viewer refused: {response.status} {answer[:120]}")
    await pc.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    return seat


async def watch(address: str, viewers: int, seconds: float) -> dict[str, Any]:
    """What ``viewers`` saw in ``seconds``."""
    seats: list[Seat] = []
    async with aiohttp.ClientSession() as http:
        for _ in range(viewers):
            seats.append(await join(http, address))
        end = time.monotonic() + 30
        for seat in seats:
            while len(seat.shown) <= 5 and time.monotonic() < end:  # noqa: ASYNC110 - packets set no events
                await asyncio.sleep(0.1)
        for seat in seats:
            seat.shown, seat.sounds, seat.lost = seat.shown[-1:], 0, 0
        begun, cpu = time.monotonic(), time.process_time()
        await asyncio.sleep(seconds)
        wall, cpu = time.monotonic() - begun, time.process_time() - cpu
        await asyncio.gather(*(seat.pc.close() for seat in seats))
    rates = [(len(seat.shown) - 1) / wall for seat in seats]
    gaps = [max((b - a for a, b in zip(s.shown, s.shown[1:], strict=False)), default=wall) for s in seats]
    return {
        "viewers": viewers,
        "fps_min": round(min(rates), 2),
        "freeze_ms_max": round(1e3 * max(gaps), 1),
        "sounds_per_s_min": round(min(seat.sounds for seat in seats) / wall, 1),
        "lost_packets": sum(seat.lost for seat in seats),
        "cpu_cores": round(cpu / wall, 3),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(watch(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))) + "\n")
