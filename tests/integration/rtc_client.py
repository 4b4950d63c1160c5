"""A page made of aiortc, and a session that flashes and beeps, for tests over real sockets."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtcpSrPacket

from avatar.core.clock import SessionClock
from avatar.core.types import MILLISECOND, SECOND, AudioChunk, AvatarFrame, FaceState, Ns
from avatar.streams.base import StreamFormat
from avatar.streams.sinks.webrtc import WebRtcSink

EVERY = SECOND // 2
"""The session flashes and beeps this often, for 100 ms."""


def marked(pts: int) -> bool:
    return pts % EVERY < SECOND // 10


class Show:
    """Feeds a sink at 30 pictures and 50 chunks a second.

    :param late: nanoseconds by which every picture comes after its sound, as if it were slow to draw.
    """

    def __init__(self, sink: WebRtcSink, clock: SessionClock, *, late: int = 0, size: int = 128) -> None:
        self.sink, self.clock, self.late, self.size = sink, clock, late, size
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Show:
        await self.sink.open(StreamFormat(self.size))
        self._tasks = [asyncio.create_task(self._pictures()), asyncio.create_task(self._sound())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pictures(self) -> None:
        first = self.clock.now() * 30 // SECOND + 1
        for n in range(first, 1 << 30):
            pts = Ns(n * SECOND // 30)
            await self.clock.sleep_until(Ns(pts + self.late))
            pixels = np.full((self.size, self.size, 3), 230 if marked(pts) else 30, np.uint8)
            await self.sink.video(AvatarFrame(pts, pixels, FaceState(pts)))

    async def _sound(self) -> None:
        first = self.clock.now() // (20 * MILLISECOND) + 1
        for n in range(first, 1 << 30):
            pts = Ns(n * 20 * MILLISECOND)
            await self.clock.sleep_until(pts)
            t = pts + np.arange(960) * SECOND // 48_000
            wave = np.sin(2 * np.pi * 1000 * np.arange(960) / 48_000) * 0.5 * marked_array(t)
            await self.sink.audio(AudioChunk(pts, wave.astype(np.float32), 48_000))


def marked_array(t: np.ndarray) -> np.ndarray:
    return t % EVERY < SECOND // 10


class Tone(MediaStreamTrack):
    """A microphone that hears a tone, 20 ms at a time."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._n, self._start = 0, time.monotonic()

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(max(0, self._start + self._n * 0.02 - time.monotonic()))
        t = (self._n * 960 + np.arange(960)) / 48_000
        frame = av.AudioFrame.from_ndarray((np.sin(2 * np.pi * 440 * t) * 16_000).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, self._n * 960, Fraction(1, 48_000)
        self._n += 1
        return frame


class Camera(MediaStreamTrack):
    """A camera whose pictures carry their number as a grey level, and note when they were taken."""

    kind = "video"

    def __init__(self, fps: float = 30, width: int = 320, height: int = 240) -> None:
        super().__init__()
        self.fps, self._size, self._n, self._start = fps, (height, width), 0, time.monotonic()
        self.taken: dict[int, float] = {}

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(max(0, self._start + self._n / self.fps - time.monotonic()))
        level = 16 + self._n % 12 * 18
        pixels = np.full((*self._size, 3), level, np.uint8)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = round(self._n * 90_000 / self.fps), Fraction(1, 90_000)
        self.taken[self._n] = time.monotonic()
        self._n += 1
        return frame


@dataclass
class Got:
    """A frame that a client received."""

    ntp: float
    """Seconds, by the sender's reports."""
    level: float
    """Brightness or loudness."""


class Client:
    """Connects to a hub or a server and reads everything.

    ``signal`` takes an offer and returns (sdp, type, peer id).
    """

    def __init__(self, signal, *, audio=None, video=None, kinds=("audio", "video")) -> None:
        self._signal = signal
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.own = {"audio": audio, "video": video}
        self.kinds = kinds
        self.frames: dict[str, list] = defaultdict(list)
        self.reports: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self.codecs: dict[str, str] = {}
        self.peer = ""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Client:
        for kind in self.kinds:
            track = self.own[kind]
            transceiver = self.pc.addTransceiver(track or kind, direction="sendrecv" if track else "recvonly")
            self._listen_to_reports(kind, transceiver.receiver)
        self.pc.on("track", self._read)
        await self.pc.setLocalDescription(await self.pc.createOffer())
        sdp, kind, self.peer = await self._signal(self.pc.localDescription.sdp, self.pc.localDescription.type)
        self.answer = sdp
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, kind))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self.pc.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _listen_to_reports(self, kind: str, receiver) -> None:
        handle = receiver._handle_rtcp_packet

        async def note(packet) -> None:
            if isinstance(packet, RtcpSrPacket):
                self.reports[kind].append((packet.sender_info.ntp_timestamp, packet.sender_info.rtp_timestamp))
            await handle(packet)

        receiver._handle_rtcp_packet = note

    def _read(self, track: MediaStreamTrack) -> None:
        async def read() -> None:
            try:
                while True:
                    self.frames[track.kind].append(await track.recv())
            except MediaStreamError:
                pass

        self._tasks.append(asyncio.create_task(read()))

    async def until(self, condition, seconds: float = 10.0) -> None:
        """Wait for something to become true; fails the test where it does not."""
        await until(condition, seconds)

    def received(self, kind: str) -> list[Got]:
        """Every frame with its time on the sender's NTP line, as a browser reckons it."""
        receiver = next(r for r in self.pc.getReceivers() if r.track is not None and r.track.kind == kind)
        origin = receiver._RTCRtpReceiver__timestamp_mapper._origin
        ntp, rtp = self.reports[kind][-1]
        out = []
        for frame in self.frames[kind]:
            rate = 90_000 if kind == "video" else 48_000
            ticks = (origin + frame.pts - rtp + (1 << 31)) % (1 << 32) - (1 << 31)
            at = ntp / 2**32 + ticks / rate
            if kind == "video":
                out.append(Got(at, float(frame.to_ndarray(format="gray").mean())))
            else:
                samples = frame.to_ndarray().reshape(-1, 2)[:, 0].astype(float)
                out += [
                    Got(at + n / rate, float(np.abs(samples[n : n + 48]).max())) for n in range(0, len(samples), 48)
                ]
        return out


async def until(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


def onsets(frames: list[Got], above: float) -> list[float]:
    """Times at which the level rises above a threshold after a quiet time. An onset whose frame was lost on a busy
    computer would be found one frame late, so only those count whose predecessor is there."""
    out, quiet_since, last = [], None, -1.0
    for frame in frames:
        if frame.level < above:
            quiet_since = frame.ntp if quiet_since is None else quiet_since
        else:
            if quiet_since is not None and frame.ntp - quiet_since > 0.2 and frame.ntp - last < 0.04:
                out.append(frame.ntp)
            quiet_since = None
        last = frame.ntp
    return out
