"""What meets the outside, as functions of bytes: each may raise the errors that its users are told about, nothing else.

Seeds are well-formed inputs; :func:`mutated` breaks them as files and networks break, and as somebody who means harm
would: bytes flipped, cut, doubled, exchanged between seeds, numbers made extreme, brackets nested.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from aiortc import sdp as sdp_lines
from aiortc.codecs import depayload
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtp import RtpPacket

from avatar.config import load
from avatar.core.program import CommandError, parse
from avatar.core.types import FaceState, Ns
from avatar.errors import AvatarError
from avatar.portrait import bundle, consent
from avatar.portrait.photo import read_photo
from avatar.scale import jobs
from avatar.store import Store
from avatar.store.changes import described
from avatar.store.sqlite import FILE
from avatar.streams.rtc_feedback import Flight, arrivals, feedbacks
from avatar.streams.rtc_jitter import PictureBuffer, SoundBuffer
from avatar.streams.signaling import candidates_of, check_size, without_names
from avatar.streams.sources import osc
from avatar.streams.sources.media_file import read_audio
from avatar.streams.sources.states_file import read_states
from avatar.streams.wire import state_from_json, state_to_line

HERE = Path(__file__).parent
CRASHES = HERE / "crashes"
"""Every input that ever did harm, by target: it stays as a test."""
OFFER = "\r\n".join(
    [
        "v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1", "a=msid-semantic: WMS",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=mid:0", "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx", "a=fingerprint:sha-256 " + ":".join(["AA"] * 32), "a=setup:actpass",
        "a=rtcp-mux", "a=rtpmap:111 opus/48000/2", "a=recvonly", "a=ssrc:1 cname:x",
        "a=candidate:1 1 udp 2122260223 abc-def.local 50000 typ host",
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97", "c=IN IP4 0.0.0.0", "a=mid:1", "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx", "a=rtcp-mux", "a=rtpmap:96 VP8/90000", "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 apt=96", "a=rtcp-fb:96 nack pli", "a=recvonly", "a=end-of-candidates", "",
    ]
)  # fmt: skip


CODECS = {
    kind: RTCRtpCodecParameters(mimeType=f"video/{name}", clockRate=90_000, payloadType=kind)
    for kind, name in ((96, "VP8"), (97, "H264"))
}


@dataclass(frozen=True, slots=True)
class Target:
    """One parser."""

    name: str
    run: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    allowed: tuple[type[BaseException], ...] = (AvatarError,)
    """What it may raise."""


def _states(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_bytes(data)
        return list(read_states(path))


def _frame(data: bytes) -> object:
    return state_from_json(json.loads(data))


_FRAGMENT = (
    b"a=ice-ufrag:abcd\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
    b"a=candidate:1 1 udp 2122260223 192.0.2.1 50000 typ host generation 0\r\n"
    b"a=candidate:2 1 tcp 1518280447 192.0.2.1 9 typ srflx raddr 192.0.2.7 rport 9 tcptype active\r\n"
    b"a=end-of-candidates\r\n"
)
_COMMAND = json.dumps(
    {"client": "a", "priority": 60, "hold": 1.5, "fade": 0.2, "arkit": {"jawOpen": 0.5}, "au": {"12": 0.8},
     "head": {"yaw": 10}, "gaze": {"pitch": 5}, "gesture": "nod", "release": False}
).encode()  # fmt: skip
_OSC = b"/avatar/head\0\0\0\0,ffhsTb\0" + bytes(16) + b"nod\0" + b"\0\0\0\4abcd"


def _command(data: bytes) -> object:
    return parse(json.loads(data), Ns(0), "client")


def _config(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.toml"
        path.write_bytes(data)
        return load(path)


def _photo(data: bytes) -> object:
    return read_photo(data)


def _sound(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.wav"
        path.write_bytes(data)
        samples, rate = read_audio(path)
        assert np.isfinite(samples).all()
        return rate


def _offer(data: bytes) -> object:
    offer = data.decode("utf-8", "replace")
    check_size(offer)
    text, named = without_names(offer)
    assert all(candidate.ip.endswith(".local") for candidate in named)
    return sdp_lines.SessionDescription.parse(text)


def _avatar(data: bytes) -> object:
    """A folder of an avatar, one of its files replaced: the first byte says which."""
    source = HERE.parents[1] / "models" / "avatars" / "ada"
    files = sorted(path for path in source.iterdir() if path.is_file())
    with tempfile.TemporaryDirectory() as folder:
        for path in files:
            (Path(folder) / path.name).write_bytes(path.read_bytes())
        (Path(folder) / files[(data[0] if data else 0) % len(files)].name).write_bytes(data[1:])
        return bundle.load(Path(folder))


def _fragment(data: bytes) -> object:
    """A PATCH of WHIP: more ICE candidates."""
    return candidates_of(data.decode("utf-8", "replace"))


def _record(data: bytes) -> object:
    """A consent record, as the store files it and as the library reads it."""
    body = data.decode("utf-8", "replace")
    number, revoked = described(body)
    assert number
    read = consent.parse(body)
    assert number.startswith("unreadable-") or (read.id, read.revoked) == (number, revoked)
    return read


def _database(data: bytes) -> object:
    """The store's file, as a disk or somebody else may have left it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE).write_bytes(data)
        store = Store(Path(folder), patience=0.1)
        try:
            for kind, name in store.index().bundles:
                store.folder(kind, name)
            with store.change() as change:
                change.put("avatar", "more", {"a": b"b"}, None)
        finally:
            store.close()
        return True


def _stored() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for name in ("one", "two"):
            with store.change() as change:
                change.put("avatar", name, {}, consent.ConsentRecord.given("self").to_json())
        store.close()
        return [(Path(folder) / FILE).read_bytes()]


def _packets(data: bytes) -> object:
    """RTP payloads through the marker-bit path: length, kind, marker, number, time, and the rest."""
    pictures, sounds = PictureBuffer(lambda payload_type: "VP8" if payload_type == 96 else "H264"), SoundBuffer()
    at, given = 0, 0
    while at + 8 <= len(data) and given < 400:
        size = 8 + data[at] % 40
        piece, at, given = data[at : at + size], at + size, given + 1
        packet = RtpPacket(
            payload_type=96 + piece[1] % 2, marker=piece[2] & 1,
            sequence_number=int.from_bytes(piece[3:5], "big"), timestamp=int.from_bytes(piece[5:8], "big") << 4,
        )  # fmt: skip
        packet.payload = piece[8:]
        try:  # as aiortc's receiver does before its buffer sees the packet
            packet._data = depayload(CODECS[packet.payload_type], packet.payload)
        except ValueError:
            continue
        for buffer in (pictures, sounds):
            buffer.add(packet)
            for _ in range(1000):
                if buffer.more() is None:
                    break
            else:
                raise AssertionError("the buffer never runs dry")
    return given


_TABLE = b"""output,text,audio,avatar,emotion,size,fps,act
a.mp4,"Hello, you.",,ada,happiness:.4,256,25,ask
b.mp4,,b.wav,lin,,512,,
"""


def _batch(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "jobs.csv"
        table.write_bytes(data)
        work, bad = jobs.read(table, load().config)
        return [job.key for job in work] + [each.why for each in bad]


def _journal(data: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "jobs.csv"
        table.with_name("jobs.csv.journal").write_bytes(data)
        journal = jobs.Journal(table)
        job = jobs.Job(2, Path(folder) / "a.mp4", {"text": "a"}, {})
        journal.add({"key": job.key, "bytes": 1})
        journal.close()
        again = jobs.Journal(table)
        again.close()
        return again.has(job) is False


_REPORT = b"\x81\xc9\0\7" + bytes(28)
_FEEDBACK = b"\x8f\xcd\0\6" + bytes(8) + b"\0\7\0\5\0\0\1\0\x20\3\xd1\0\4\4\4\4\0\4"


def _reports(data: bytes) -> object:
    """A compound RTCP packet: the transport-wide feedbacks in it, and what is concluded from them."""
    way = Flight()
    for number in range(64):
        way.leave(number, 1000, number / 50)
    for feedback in feedbacks(data):
        with contextlib.suppress(ValueError):
            if (found := way.heard(arrivals(feedback), 2.0)) is not None:
                assert all(np.isfinite(v) and v >= 0 for v in (found.sent, found.through, found.lost, found.queue))
    return way


def _picture(suffix: str) -> bytes:
    y, x = np.mgrid[:48, :64]
    pixels = np.stack([x * 4, y * 5, (x + y) * 2], -1).astype(np.uint8)
    return bytes(cv2.imencode(suffix, pixels)[1])


def _recording() -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        wave = (np.sin(np.arange(1600) / 5) * 9000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
    return out.getvalue()


def _lines() -> list[bytes]:
    line = state_to_line(FaceState(Ns(0)))
    return [f"{line}\n{line.replace('0.0', '1.0')}\n".encode(), b'{"t": 0, "au": {"12": 1}}\n{"t": 1}\n']


def _avatar_files() -> list[bytes]:
    source = HERE.parents[1] / "models" / "avatars" / "ada"
    files = sorted(path for path in source.iterdir() if path.is_file())
    return [bytes([i]) + path.read_bytes() for i, path in enumerate(files)]


TARGETS = {
    target.name: target
    for target in (
        Target("states", _states, _lines),
        Target("frame", _frame, lambda: [_lines()[0].splitlines()[0]], (AvatarError, ValueError, RecursionError)),
        Target(
            "config", _config,
            lambda: [path.read_bytes() for path in sorted((HERE.parents[1] / "configs").glob("*.toml"))],
        ),
        Target("photo", _photo, lambda: [_picture(s) for s in (".jpg", ".png", ".webp", ".bmp", ".tiff", ".ppm")]),
        Target("sound", _sound, lambda: [_recording()]),
        # The hub turns whatever an offer's parser raises into one line; it must end, and not take the program along.
        Target("offer", _offer, lambda: [OFFER.encode()], (Exception,)),
        Target("avatar", _avatar, _avatar_files),
        Target("fragment", _fragment, lambda: [_FRAGMENT]),
        Target("record", _record, lambda: [consent.ConsentRecord.given("self").to_json().encode()]),
        Target("database", _database, _stored),
        Target("command", _command, lambda: [_COMMAND], (CommandError, ValueError, RecursionError)),
        Target("osc", osc.read, lambda: [_OSC, b"#bundle\0" + bytes(11) + bytes([len(_OSC)]) + _OSC], (osc.OscError,)),
        Target("batch", _batch, lambda: [_TABLE]),
        Target("journal", _journal, lambda: [b'{"key": "a", "bytes": 5}\n{"key": "b", "bytes": 6}\n']),
        Target("reports", _reports, lambda: [_REPORT + _FEEDBACK, _FEEDBACK * 3]),
        Target("packets", _packets, lambda: [bytes(range(256)) * 4, bytes(2000)]),
    )
}  # fmt: skip


EXTREME = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80\0\0\0")
ODD = (b"1e999", b"-1", b"NaN", b"99999999999999999999", b"null", b"\xc3\x28", b"'")


def mutated(seeds: list[bytes], source: random.Random) -> bytes:
    """A seed, broken in one to eight ways."""
    data = bytearray(source.choice(seeds))
    for _ in range(source.randint(1, 8)):
        at = source.randrange(len(data) + 1)
        match source.randrange(8):
            case 0 if data:
                data[at % len(data)] ^= 1 << source.randrange(8)
            case 1:
                data[at:at] = source.randbytes(source.randint(1, 8))
            case 2:
                del data[at : at + source.choice((1, 2, 16, 256, len(data)))]
            case 3:
                data[at:at] = data[at : at + source.choice((4, 64, 1024))]
            case 4:
                data[at : at + 4] = source.choice(
                    (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80\0\0\0")
                )
            case 5:
                data[at:at] = source.choice(
                    (b"1e999", b"-1", b"NaN", b"99999999999999999999", b"null", b"\xc3\x28", b"'")
                )
            case 6:
                data[at:at] = source.choice((b"[", b"{", b"(")) * source.choice((1, 50, 5000))
            case _:
                other = source.choice(seeds)
                cut = source.randrange(len(other) + 1)
                data = data[:at] + bytearray(other[cut:])
    return bytes(data[:200_000])
