"""Peers: from an offer to an answer, and until they leave.

Answers come after our side's candidates are gathered, so signalling is one request. Browsers hide their own addresses
behind names (``….local``, multicast DNS), which not every network resolves. The connection does not need them: the
page reaches one of our addresses, and ICE learns the page's address from that. The names are looked up besides, for
the network whose firewall wants our side to speak first.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceCandidate,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc import sdp as sdp_lines
from aiortc.codecs import get_capabilities
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, VideoFrame

from avatar.core.clock import Clock
from avatar.errors import RunError, UsageError
from avatar.streams import room
from avatar.streams.rtc_patches import Losses, check_aiortc, make_live
from avatar.streams.sinks.states import StateFeed
from avatar.streams.sinks.webrtc import Outlet, WebRtcSink
from avatar.streams.sources.webrtc import Kind, PeerAudioSource, PeerInput, PeerVideoSource

log = logging.getLogger(__name__)

CODECS: dict[str, tuple[str, ...]] = {"audio": ("audio/opus",), "video": ("video/VP8", "video/H264", "video/rtx")}
"""What we speak, in the order of preference."""
LABEL_CHANNEL = "label"
"""A page that opens a data channel of this name gets the signed label of the picture."""
CANDIDATE = re.compile(r"^a=candidate:(?P<value>\S+ \d+ \S+ \d+ (?P<host>\S+) .*)$")


MAX_SDP, MAX_CANDIDATES, MAX_MEDIA = 64 * 1024, 64, 16
"""Characters of a description, candidates of a connection, media sections; more are an attack or a mistake."""
CLOSE_S, CUT_S = 1.0, 30.0
"""Seconds that a connection's closing is waited for, and after which its sockets are cut."""
FINGERPRINT = re.compile(r"^a=fingerprint:(\S+ \S+)\s*$", re.MULTILINE)


class Role(Enum):
    """What a connection is for."""

    PAGE = "page"
    """Our page: it watches and may speak."""
    WATCH = "watch"
    """WHEP: it watches."""
    SPEAK = "speak"
    """WHIP: its microphone and camera come in."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the page gets back for its offer."""

    sdp: str
    type: str
    peer: str
    """The peer's id, by which the page is chosen as the source and says good-bye."""


def without_names(offer: str) -> tuple[str, list[RTCIceCandidate]]:
    """An offer without the candidates that are multicast DNS names, and without the remark that no more will come
    (with it, ICE would give up before the page's first packet is here); and the candidates taken out."""
    kept: list[str] = []
    named: list[RTCIceCandidate] = []
    mid = None
    index = -1
    for line in offer.splitlines():
        if line.startswith("m="):
            index, mid = index + 1, None
        elif line.startswith("a=mid:"):
            mid = line[6:]
        elif line == "a=end-of-candidates":
            continue
        elif (match := CANDIDATE.match(line)) and match["host"].endswith(".local"):
            candidate = sdp_lines.candidate_from_sdp(match["value"])
            candidate.sdpMid, candidate.sdpMLineIndex = mid, index
            named.append(candidate)
            continue
        kept.append(line)
    return "\r\n".join(kept) + "\r\n", named


def candidates_of(fragment: str) -> list[RTCIceCandidate]:
    """The candidates of a trickle ICE fragment (RFC 8840). Raises UsageError for one that cannot be read."""
    found: list[RTCIceCandidate] = []
    mid: str | None = None
    for line in fragment.splitlines():
        if line.startswith("a=mid:"):
            mid = line[6:].strip()
        elif line.startswith("a=candidate:"):
            try:
                candidate = sdp_lines.candidate_from_sdp(line[12:].strip())
            except (ValueError, IndexError, AssertionError):
                raise UsageError("a candidate cannot be read; write it as in RFC 8839") from None
            candidate.sdpMid, candidate.sdpMLineIndex = mid, None if mid is not None else 0
            found.append(candidate)
    return found


def check_size(offer: str) -> None:
    """Raises UsageError for an offer that is larger than any that a program has use for."""
    for what, count, most in (
        ("characters", len(offer), MAX_SDP),
        ("candidates", offer.count("a=candidate:"), MAX_CANDIDATES),
        ("media sections", offer.count("\nm="), MAX_MEDIA),
    ):
        if count > most:
            raise UsageError(f"the offer cannot be used (more than {most} {what})")


def prefer(transceiver: RTCRtpTransceiver) -> None:
    """Allow only what we encode live, in our order. Has an effect only before the remote description is set."""
    able = get_capabilities(transceiver.kind).codecs
    wanted = CODECS[transceiver.kind]
    transceiver.setCodecPreferences([c for mime in wanted for c in able if c.mimeType.lower() == mime.lower()])


def add_loopback(transceiver: RTCRtpTransceiver) -> None:
    """Offer 127.0.0.1 too, which aioice leaves out: a program on a computer without network reaches us by it.

    (Chromium has no addresses of its own then, so a page still needs some network to be up.)
    """
    connection: Any = transceiver.receiver.transport.transport._connection
    gather = connection.get_component_candidates

    def with_loopback(component: int, addresses: list[str], **more: Any) -> Coroutine[Any, Any, list[Any]]:
        return gather(component, [*addresses, "127.0.0.1"], **more)

    connection.get_component_candidates = with_loopback


def cut(pc: RTCPeerConnection) -> None:
    """From now on nothing leaves it or arrives, as when a cable is pulled."""
    for transceiver in pc.getTransceivers():
        connection: Any = transceiver.receiver.transport.transport._connection
        for protocol in connection._protocols:
            protocol.transport.close()


async def _ended(pc: RTCPeerConnection) -> None:
    try:
        await asyncio.wait_for(pc.close(), CUT_S)
    except TimeoutError:
        log.warning("a connection did not close within %.0f s; its sockets are cut", CUT_S)
        cut(pc)


DIRECTION = {Role.PAGE: "sendrecv", Role.WATCH: "sendonly"}


class Peer:
    """One page's or program's connection."""

    def __init__(self, hub: PeerHub, outlet: Outlet, role: Role) -> None:
        self.id = secrets.token_urlsafe(9)
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connected = asyncio.Event()
        self.outlet = outlet
        self.role = role
        self._hub = hub
        self._candidates = 0
        """How many came, with the offer and after it."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._labels: RTCDataChannel | None = None
        self._end_states: Callable[[], None] = lambda: None

    async def answer(self, offer: str) -> Answer:
        """Answer an offer. Raises whatever aiortc raises for one that it cannot use."""
        self._candidates = offer.count("a=candidate:")
        offer, named = without_names(offer)
        offered = {media.kind: media.rtp for media in sdp_lines.SessionDescription.parse(offer).media}
        kinds = offered.keys() & {"audio", "video"}
        if not kinds:
            raise ValueError("it has neither sound nor video")
        self.outlet.expect(kinds)
        for kind, track in self.outlet.tracks.items():
            if self.role is Role.SPEAK:
                transceiver = self.pc.addTransceiver(kind, direction="recvonly")
            else:
                transceiver = self.pc.addTransceiver(track, direction=DIRECTION[self.role])
            prefer(transceiver)
            if self._hub.loopback:
                add_loopback(transceiver)
        self.pc.on("connectionstatechange", self._on_state)
        self.pc.on("datachannel", self._on_channel)
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
        losses = Losses()
        for transceiver in self.pc.getTransceivers():
            make_live(transceiver, self._hub.sink.line, losses, self.outlet.viewer, offered[transceiver.kind])
            if self.role is not Role.WATCH and transceiver.receiver.track is not None:
                self._spawn(self._pump(cast(Kind, transceiver.kind), transceiver.receiver.track))
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        if named:
            self._spawn(self._resolve(named))
        self._spawn(self._guard())
        local = self.pc.localDescription
        return Answer(local.sdp, local.type, self.id)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if channel.label == LABEL_CHANNEL:
            self._labels = channel
            self.send_label()
        elif channel.label == room.CHANNEL and self._hub.states is not None:
            self._end_states()

            def take(line: str) -> None:
                if channel.readyState == "open" and channel.bufferedAmount < room.WAITING:
                    channel.send(line)

            self._end_states = self._hub.states.subscribe(take)

    def send_label(self) -> None:
        """Tell the page what its picture is, where it has asked."""
        if self._labels is None or self._labels.readyState != "open" or self._hub.label is None:
            return
        found = FINGERPRINT.findall(self.pc.localDescription.sdp)
        self._labels.send(self._hub.label(tuple(dict.fromkeys(found))))

    def _on_state(self) -> None:
        log.debug("peer %s: %s", self.id, self.pc.connectionState)
        if self.pc.connectionState == "connected":
            self.connected.set()
        elif self.pc.connectionState in ("failed", "closed"):
            self._hub.drop_soon(self.id)

    async def _guard(self) -> None:
        """Ends the connection if it never comes up, or when the page has vanished without a word."""
        try:
            await asyncio.wait_for(self.connected.wait(), self._hub.handshake_s)
        except TimeoutError:
            log.info("peer %s never connected; removed", self.id)
        else:
            await self._fall_silent()
            log.info("peer %s has fallen silent; removed", self.id)
        self._hub.drop_soon(self.id)

    async def _fall_silent(self) -> None:
        """Returns when nothing has come for ``silence_s`` although media went out: whoever gets media reports on it
        every few seconds. (ICE notices too, but only after half a minute, for which we would encode in vain.)"""
        loop = asyncio.get_running_loop()
        received, sent, since = -1, -1, loop.time()
        while loop.time() - since < self._hub.silence_s:
            await asyncio.sleep(self._hub.silence_s / 4)
            report = await self.pc.getSenders()[0].getStats()
            (transport,) = (entry for entry in report.values() if entry.type == "transport")
            if transport.packetsReceived != received or transport.packetsSent == sent:
                since = loop.time()
            received, sent = transport.packetsReceived, transport.packetsSent

    async def _pump(self, kind: Kind, track: MediaStreamTrack) -> None:
        # Reads even what no source wants: aiortc keeps unread frames for ever.
        try:
            while True:
                frame = await track.recv()
                assert isinstance(frame, AudioFrame | VideoFrame)
                await self._hub.input.deliver(kind, self.id, frame)
        except MediaStreamError:
            pass

    def more_candidates(self, fragment: str, most: int) -> None:
        """Take the candidates of a trickle ICE fragment (RFC 8840). Raises UsageError for ones that cannot be read, or
        more than ``most`` in all."""
        found = candidates_of(fragment)
        self._candidates += len(found)
        if self._candidates > most:
            raise UsageError(f"more than {most} candidates; a connection has no use for so many")
        if found:
            self._spawn(self._resolve(found))

    async def _resolve(self, candidates: list[RTCIceCandidate]) -> None:
        for candidate in candidates:
            try:
                await self.pc.addIceCandidate(candidate)
            except (OSError, ValueError) as error:
                log.debug("peer %s: %s not resolved: %s", self.id, candidate.ip, error)

    async def close(self) -> None:
        """End the connection and everything that belongs to it. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._end_states()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._hub.sink.detach(self.outlet)
        self._hub.input.gone(self.id)
        ending = self._hub.end(self.pc)
        done, _ = await asyncio.wait({ending}, timeout=CLOSE_S)
        if not done:
            log.info("peer %s takes its time to close", self.id)


class PeerHub:
    """All the pages that are connected.

    :param clock: the session's; what arrives from the pages is stamped with it.
    :param sink: what feeds them; made here where none is given.
    :param handshake_s: seconds in which a page must connect after its offer.
    :param silence_s: seconds after which a page from which nothing comes is taken for gone.
    :param max_peers: more are refused.
    :param loopback: offer 127.0.0.1 as a candidate; for a server that listens on this computer only.
    """

    def __init__(
        self,
        clock: Clock,
        sink: WebRtcSink | None = None,
        *,
        handshake_s: float = 15.0,
        silence_s: float = 12.0,
        max_peers: int = 100,
        loopback: bool = True,
    ) -> None:
        check_aiortc()
        self.sink = sink or WebRtcSink()
        self.input = PeerInput(clock)
        self.handshake_s = handshake_s
        self.silence_s = silence_s
        self.max_peers = max_peers
        self.loopback = loopback
        self.states: StateFeed | None = None
        """What the data channel ``states`` carries; None = nothing."""
        self.label: Callable[[tuple[str, ...]], str] | None = None
        """Makes the signed label for a connection by our certificate's fingerprints (``sha-256 AB:…``); None = none."""
        self.label_key: dict[str, str] = {}
        """What checks it: ``alg`` and ``key`` (base64)."""
        self._closed = False
        self._peers: dict[str, Peer] = {}
        self._dropping: set[asyncio.Task[bool]] = set()
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def viewers(self) -> int:
        """Pages and programs that watch."""
        return sum(peer.connected.is_set() for peer in self._peers.values() if peer.role is not Role.SPEAK)

    @property
    def peers(self) -> int:
        """Connections, those that are being made included."""
        return len(self._peers)

    @property
    def has_room(self) -> bool:
        """Whether one more would be taken."""
        return not self._closed and len(self._peers) < self.max_peers

    def __contains__(self, peer: str) -> bool:
        return peer in self._peers

    def audio_source(self, peer: str | None = None) -> PeerAudioSource:
        """The microphone of this page, ending when it leaves; None = of whichever page is chosen, without end."""
        return PeerAudioSource(self.input, peer)

    def video_source(self, peer: str | None = None) -> PeerVideoSource:
        """The camera of this page, ending when it leaves; None = of whichever page is chosen, without end."""
        return PeerVideoSource(self.input, peer)

    def choose(self, peer: str | None, *, audio: bool = False, video: bool = False) -> None:
        """Take the microphone and/or the camera of this peer from now on; None = the page that came last.

        Raises UsageError where there is no peer of that id.
        """
        if peer is None:
            peer = next(reversed(self._peers), None)
        elif peer not in self._peers:
            raise UsageError(f"no page with the id {str(peer)[:40]!r} is connected; reload the page")
        if audio:
            self.input.choose("audio", peer)
        if video:
            self.input.choose("video", peer)

    async def offer(self, sdp: str, kind: str = "offer", role: Role = Role.PAGE) -> Answer:
        """Connect a page or a program. Raises UsageError for an offer that cannot be used, RunError where there is no
        room: the place is taken before anything is waited for."""
        if kind != "offer":
            raise UsageError(f"expected an offer, got {kind[:40]!r}")
        check_size(sdp)
        if self._closed:
            raise RunError("the program is ending; start it again and reload the page")
        if len(self._peers) >= self.max_peers:
            raise RunError(f"{self.max_peers} pages are connected already, which is the limit; close one of them")
        peer = Peer(self, Outlet() if role is Role.SPEAK else self.sink.attach(), role)
        self._peers[peer.id] = peer
        try:
            return await asyncio.wait_for(peer.answer(sdp), 10.0)
        except BaseException as error:
            await self.drop(peer.id)
            # aiortc raises all sorts of things (KeyError, IndexError …) when it reads a broken description.
            if isinstance(error, Exception):
                why = " ".join(str(error).split())[:120] or type(error).__name__
                raise UsageError(f"the offer cannot be used ({why}); reload the page") from error
            raise

    def relabel(self) -> None:
        """Send every page the label anew: another is drawn now."""
        for peer in self._peers.values():
            peer.send_label()

    def more_candidates(self, peer: str, fragment: str, most: int) -> None:
        """More of a peer's candidates. Raises UsageError where there is no such peer or they cannot be used."""
        if peer not in self._peers:
            raise UsageError("there is no such connection")
        self._peers[peer].more_candidates(fragment, most)

    async def drop(self, peer: str) -> bool:
        """End a peer's connection; False where there is none of that id."""
        found = self._peers.pop(peer, None)
        if found is not None:
            await found.close()
        return found is not None

    def drop_soon(self, peer: str) -> None:
        """The same from a callback."""
        if peer in self._peers:
            task = asyncio.ensure_future(self.drop(peer))
            self._dropping.add(task)
            task.add_done_callback(self._dropping.discard)

    def end(self, pc: RTCPeerConnection) -> asyncio.Task[None]:
        """Close a connection, however long it takes and whoever waits for it: one whose closing is broken off on a busy
        machine would keep its sockets for ever."""
        task = asyncio.create_task(_ended(pc))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    async def close(self) -> None:
        """End all connections, at the same time, and take no new ones: one that came now would outlive the program."""
        self._closed = True
        await asyncio.gather(*(self.drop(peer) for peer in list(self._peers)), *self._dropping)


__all__ = ["Answer", "Peer", "PeerHub"]
