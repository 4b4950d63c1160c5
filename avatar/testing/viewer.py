"""A viewer made of plain aiortc that notes when sounds and pictures come, and what the sender says about their time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import urllib.request
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtcpSrPacket

from avatar.errors import RunError
from avatar.testing import flash
from avatar.testing.browser import MOUTH
from avatar.testing.relay import Relay

CLOCK = {"audio": 48_000, "video": 90_000}
"""RTP ticks a second."""


@dataclass
class Medium:
    """One incoming stream. Times of arrival are seconds of the viewer's monotonic clock."""

    kind: str
    reports: list[tuple[float, int, int]] = field(default_factory=list)
    """(arrival, NTP time, RTP time) of every sender report."""
    arrived: dict[int, float] = field(default_factory=dict)
    """RTP time -> when the last packet of that time came."""
    packets: int = 0
    frames: list[tuple[int, float, Any]] = field(default_factory=list)
    """(RTP time, when it was decoded, grey levels of the mouth or sound (n,) of the left channel)."""

    def sender_time(self, rtp: int, arrived: float, zero: int) -> float:
        """Seconds since the NTP time ``zero`` on the sender's clock, by the newest report that had come by then, as a
        player reckons it; NaN before the first report."""
        known = [report for report in self.reports if report[0] <= arrived]
        if not known:
            return float("nan")
        _, ntp, at = known[-1]
        ticks = (rtp - at + (1 << 31)) % (1 << 32) - (1 << 31)
        return (ntp - zero) / 2**32 + ticks / CLOCK[self.kind]


class Viewer:
    """Connects to an engine's page address, through a relay where one is given, and keeps all it needs of what it gets.

    :raises RunError: from ``async with``: the connection did not come up.
    """

    def __init__(self, address: str, relay: Relay | None = None, token: str = "") -> None:
        self._address, self._token = address, token
        self._relay = relay
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.media = {kind: Medium(kind) for kind in CLOCK}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Viewer:
        for kind in CLOCK:
            transceiver = self.pc.addTransceiver(kind, direction="recvonly")
            self._listen(self.media[kind], transceiver.receiver)
        self.pc.on("track", self._read)
        await self.pc.setLocalDescription(await self.pc.createOffer())
        offer = self.pc.localDescription.sdp
        answer = await asyncio.to_thread(self._post, self._relay.offer(offer) if self._relay else offer)
        if self._relay is not None:
            answer = await asyncio.to_thread(self._relay.answer, answer)
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        deadline = time.monotonic() + 20
        while not all(medium.frames and medium.reports for medium in self.media.values()):
            if time.monotonic() > deadline:
                await self.close()
                raise RunError("the engine sends a viewer no sound or no picture; run avatar doctor")
            await asyncio.sleep(0.05)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self.pc.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _post(self, offer: str) -> str:
        body = json.dumps({"sdp": offer, "type": "offer"}).encode()
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self._token}"} if self._token else {}
        )
        request = urllib.request.Request(f"{self._address}/api/offer", body, headers)
        with urllib.request.urlopen(request, timeout=15) as reply:
            return str(json.load(reply)["sdp"])

    def _listen(self, medium: Medium, receiver: Any) -> None:
        """Look at the packets as they come by; nothing is changed about what aiortc does with them."""
        on_rtcp, on_rtp = receiver._handle_rtcp_packet, receiver._handle_rtp_packet

        async def rtcp(packet: Any) -> None:
            if isinstance(packet, RtcpSrPacket):
                info = packet.sender_info
                medium.reports.append((time.monotonic(), info.ntp_timestamp, info.rtp_timestamp))
            await on_rtcp(packet)

        async def rtp(packet: Any, arrival_time_ms: int) -> None:
            medium.packets += 1
            medium.arrived[packet.timestamp] = time.monotonic()
            await on_rtp(packet, arrival_time_ms)

        receiver._handle_rtcp_packet, receiver._handle_rtp_packet = rtcp, rtp

    def _read(self, track: MediaStreamTrack) -> None:
        medium = self.media[track.kind]
        receiver: Any = next(r for r in self.pc.getReceivers() if r.track is track)

        async def read() -> None:
            with contextlib.suppress(MediaStreamError):
                while True:
                    frame: Any = await track.recv()
                    origin = receiver._RTCRtpReceiver__timestamp_mapper._origin
                    if track.kind == "video":
                        data = flash.fields(frame.to_ndarray(format="gray"), MOUTH)
                    else:
                        data = frame.to_ndarray().reshape(-1, 2)[:, 0].copy()
                    medium.frames.append(((origin + frame.pts) % (1 << 32), time.monotonic(), data))

        self._tasks.append(asyncio.create_task(read()))

    def forget(self) -> None:
        """The measurement begins now."""
        for medium in self.media.values():
            medium.frames.clear()

    # --- what was seen ------------------------------------------------------------------------------------------

    def seen(self, mouth: flash.Mouth) -> tuple[flash.Seen, flash.Seen]:
        """The events on the sender's clock by its reports, and on the viewer's by the arrival of their packets."""
        video, audio = self.media["video"], self.media["audio"]
        zero = video.reports[0][1]
        pictures = [(video.sender_time(rtp, at, zero), video.arrived[rtp], light) for rtp, at, light in video.frames]
        pictures = [row for row in pictures if row[0] == row[0]]
        jaw = mouth.jaw(np.array([light for _, _, light in pictures]))
        sounds = [(audio.sender_time(rtp, at, zero), audio.arrived[rtp], wave) for rtp, at, wave in audio.frames]
        sounds = [row for row in sounds if row[0] == row[0]]
        clicks = flash.clicks_in([(wave, CLOCK["audio"], start) for start, _, wave in sounds])
        starts, arrivals = np.array([(start, arrived) for start, arrived, _ in sounds]).T
        packet = np.clip(np.searchsorted(starts, clicks, side="right") - 1, 0, None)
        by_report, _ = flash.openings(np.array([t for t, _, _ in pictures]), jaw)
        by_arrival, _ = flash.openings(np.array([t for _, t, _ in pictures]), jaw)
        more = self._more()
        return (
            flash.Seen(by_report, clicks, more),
            flash.Seen(by_arrival, arrivals[packet] + clicks - starts[packet], {}),
        )

    def _more(self) -> dict[str, Any]:
        shown = np.array([at for _, at, _ in self.media["video"].frames])
        gaps = np.diff(shown) * 1e3
        return {
            "fps": round((len(shown) - 1) / (shown[-1] - shown[0]), 2),
            "freezes": int((gaps > 200).sum()),
            "freeze_ms_max": round(float(gaps.max()), 1),
            "reports": {kind: len(medium.reports) for kind, medium in self.media.items()},
        }
