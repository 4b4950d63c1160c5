"""The WebRTC sink: one session, fanned out to every page that watches.

Both tracks of a peer carry the session's own times (``pts``): RTP time is ``pts`` in 90 kHz and 48 kHz ticks, and the
sender reports put both on one NTP line (:class:`avatar.streams.rtc_patches.NtpLine`), so a browser plays them in sync
however long one of them took to encode. Items arrive at their present time and are sent on at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, ClassVar

import av
import numpy as np
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from avatar.core.types import F32, MILLISECOND, SECOND, AudioChunk, AvatarFrame, Ns, freeze
from avatar.errors import UsageError
from avatar.pipeline.executors import ThreadLane
from avatar.streams.base import Sink, StreamFormat
from avatar.streams.pixels import to_i420
from avatar.streams.rtc_codecs import AUDIO_RATE, FRAME_SAMPLES, LiveOpusEncoder
from avatar.streams.rtc_patches import NtpLine
from avatar.streams.rtc_shared import Coded, Pictures, Viewer, shrunk

log = logging.getLogger(__name__)


DEFAULT_CODEC = "video/VP8"
"""Until a connection has agreed on one."""


class Framer:
    """Cuts sound into frames of 20 ms with times in samples, in one unbroken count as long as the sound is unbroken.

    :param tolerance: nanoseconds; a chunk that begins further from where the last one ended starts the count anew.
    """

    def __init__(self, tolerance: int = 10 * MILLISECOND) -> None:
        self._tolerance = tolerance * AUDIO_RATE // SECOND
        self._rest: F32 = np.zeros(0, np.float32)
        self._at: int | None = None
        self._sent = -(1 << 62)

    def push(self, chunk: AudioChunk) -> list[tuple[int, np.ndarray]]:
        """Returns (time of the first sample in 1/48000 s, int16 (960,)) for every frame that is full now."""
        start = chunk.pts * AUDIO_RATE // SECOND
        expected = None if self._at is None else self._at + len(self._rest)
        if expected is None or chunk.discontinuity or abs(start - expected) > self._tolerance:
            self._at, self._rest = start, chunk.samples
        else:
            self._rest = np.concatenate([self._rest, chunk.samples])
        frames = []
        assert self._at is not None
        while len(self._rest) >= FRAME_SAMPLES:
            head, self._rest = self._rest[:FRAME_SAMPLES], self._rest[FRAME_SAMPLES:]
            if self._at >= self._sent:  # never backwards
                pcm = np.clip(np.nan_to_num(head, posinf=1, neginf=-1) * 32768.0, -32768, 32767).astype(np.int16)
                frames.append((self._at, freeze(pcm)))
                self._sent = self._at + FRAME_SAMPLES
            self._at += FRAME_SAMPLES
        return frames


class _OutTrack(MediaStreamTrack):
    """A track that sends the packets which are put into it; when the connection cannot keep up, the oldest is lost."""

    def __init__(self, outlet: Outlet, depth: int) -> None:
        super().__init__()
        self._outlet = outlet
        self._items: deque[av.Packet[Any]] = deque(maxlen=depth)
        self._arrived = asyncio.Event()
        self.pulled = False
        self.dropped = 0

    def put(self, packet: av.Packet[Any]) -> None:
        if len(self._items) == self._items.maxlen:
            self.dropped += 1
        self._items.append(packet)
        self._arrived.set()

    async def recv(self) -> av.Packet[Any]:
        self.pulled = True
        while not self._items:
            if self.readyState != "live":
                raise MediaStreamError
            self._arrived.clear()
            await self._arrived.wait()
        return self._items.popleft()

    def stop(self) -> None:
        super().stop()
        self._items.clear()
        self._arrived.set()


class PictureTrack(_OutTrack):
    """Encoded pictures, up to four waiting: who cannot send them in that time goes on from a key frame, which is asked
    for when something can be sent again."""

    kind = "video"

    def __init__(self, outlet: Outlet) -> None:
        super().__init__(outlet, depth=4)

    def relay(self, coded: Coded) -> None:
        """Send an encoded picture, if the viewer can make anything of it."""
        viewer = self._outlet.viewer
        if len(self._items) == self._items.maxlen:
            viewer.lost = True
        waits_for_key = viewer.lost
        if viewer.takes(coded.key):
            if waits_for_key:  # what waits to be sent is of no use any more
                self.dropped += len(self._items)
                self._items.clear()
            viewer.rate.spend(coded.packet.size)
            self.put(coded.packet)
        elif len(self._items) == self._items.maxlen:
            self.dropped += 1

    async def recv(self) -> av.Packet[Any]:
        viewer = self._outlet.viewer
        viewer.wants_key |= viewer.lost and not self._items
        return await super().recv()


class SoundTrack(_OutTrack):
    """Packets of Opus, up to half a second of them waiting."""

    kind = "audio"

    def __init__(self, outlet: Outlet) -> None:
        super().__init__(outlet, depth=25)


class Outlet:
    """What one peer gets. Nothing leaves until both of its tracks are being sent and both media are there.

    A session may have only one medium, so after :data:`PATIENCE` of one without the other the gate opens anyway.
    """

    PATIENCE = SECOND

    def __init__(self) -> None:
        self.video = PictureTrack(self)
        self.audio = SoundTrack(self)
        self.tracks: dict[str, _OutTrack] = {"video": self.video, "audio": self.audio}
        self.viewer = Viewer(DEFAULT_CODEC)
        self._first: dict[str, Ns] = {}
        self._open = False

    def expect(self, kinds: set[str]) -> None:
        """Send only these kinds; the peer asked for no others."""
        self.tracks = {kind: track for kind, track in self.tracks.items() if kind in kinds}

    def takes(self, kind: str, pts: Ns) -> bool:
        """Whether an item of this kind and time is to be sent."""
        return kind in self.tracks and (self._open or self._ready(kind, pts))

    def _ready(self, kind: str, pts: Ns) -> bool:
        if not all(track.pulled for track in self.tracks.values()):
            return False
        first = self._first.setdefault(kind, pts)
        self._open = len(self._first) == len(self.tracks) or pts - first > self.PATIENCE
        return self._open

    def close(self) -> None:
        self.video.stop()
        self.audio.stop()


class WebRtcSink(Sink):
    """Fans a session out to all peers.

    Sound and pictures are encoded once for all (:mod:`avatar.streams.rtc_shared`).
    """

    name: ClassVar[str] = "webrtc"

    def __init__(self) -> None:
        self.line = NtpLine()
        self._outlets: set[Outlet] = set()
        self._framer = Framer()
        self._opus = LiveOpusEncoder()
        self.pictures = Pictures()
        self._lane = ThreadLane("encoder")
        self._last_picture = -1
        self.shrink = 1
        """The sides of all pictures are divided by it before they are encoded: for a machine that cannot keep up."""
        self._dropped = {"video": 0, "audio": 0}

    @property
    def active(self) -> bool:
        """Whether a peer is there; without one nothing need be drawn."""
        return bool(self._outlets)

    async def open(self, form: StreamFormat) -> None:
        """Raises UsageError where the session's sound is not at 48 kHz, which Opus needs."""
        if form.audio_rate != AUDIO_RATE:
            raise UsageError(f"WebRTC sends sound at {AUDIO_RATE} Hz, not {form.audio_rate}; set the session to that")

    async def video(self, frame: AvatarFrame) -> None:
        ticks = frame.pts * 90_000 // SECOND
        if ticks <= self._last_picture:
            return
        self._last_picture = ticks
        self.line.anchor(frame.pts)
        watching = {id(o.viewer): o for o in self._outlets if o.takes("video", frame.pts)}
        rungs = self.pictures.plan([outlet.viewer for outlet in watching.values()])
        if not rungs:
            return
        i420 = shrunk(to_i420(frame.pixels), self.shrink)
        for rung in rungs:
            coded = await self._lane.run(self.pictures.encode, rung, i420, ticks)
            if coded is not None:
                for viewer in rung.viewers:
                    watching[id(viewer)].video.relay(coded)

    async def audio(self, chunk: AudioChunk) -> None:
        """Takes sound at 48 kHz. Raises ValueError at another rate: the caller has a resampler, this has not."""
        if chunk.rate != AUDIO_RATE:
            raise ValueError(f"sound at {chunk.rate} Hz given to the WebRTC sink, which takes {AUDIO_RATE} Hz")
        self.line.anchor(chunk.pts)
        frames = self._framer.push(chunk)
        if any("audio" in outlet.tracks for outlet in self._outlets):
            # A tenth of a millisecond, so a thread would only add its own unevenness to the even pace of the sound.
            packets = [self._opus.packet(pcm, at) for at, pcm in frames]
            for outlet in self._outlets:
                if outlet.takes("audio", chunk.pts):
                    for packet in packets:
                        outlet.audio.put(packet)

    async def close(self) -> None:
        for outlet in list(self._outlets):
            self.detach(outlet)
        self._lane.close()
        self._lane = ThreadLane("encoder")

    def attach(self) -> Outlet:
        """A new peer's end of the session; give it back to :meth:`detach`."""
        outlet = Outlet()
        self._outlets.add(outlet)
        return outlet

    def detach(self, outlet: Outlet) -> None:
        """Stop sending to a peer. Safe to call twice."""
        if outlet in self._outlets:
            self._outlets.discard(outlet)
            self._dropped["video"] += outlet.video.dropped
            self._dropped["audio"] += outlet.audio.dropped
        outlet.close()

    @property
    def dropped_of(self) -> dict[str, int]:
        """Pictures and sound frames that peers' connections were too slow for, over the sink's life."""
        return {
            "video": self._dropped["video"] + sum(outlet.video.dropped for outlet in self._outlets),
            "audio": self._dropped["audio"] + sum(outlet.audio.dropped for outlet in self._outlets),
        }
