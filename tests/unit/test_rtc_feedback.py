"""Transport-wide feedback, written here by hand after the draft, and what is concluded from it."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from aiortc.rtcrtpparameters import RTCRtcpFeedback, RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters
from aiortc.rtp import RtpPacket

from avatar.streams.rtc_feedback import URI, Flight, Numbered, agree, arrivals, feedbacks


def body(base: int, count: int, reference: int, chunks: list[int], deltas: bytes, number: int = 0) -> bytes:
    """A feedback from its base number on."""
    return struct.pack("!HHI", base, count, reference << 8 | number) + b"".join(
        struct.pack("!H", chunk) for chunk in chunks
    ) + deltas  # fmt: skip


def packed(content: bytes, kind: int = 205, form: int = 15) -> bytes:
    content = struct.pack("!II", 1, 2) + content
    content += bytes(-len(content) % 4)
    return struct.pack("!BBH", 0x80 | form, kind, len(content) // 4) + content


def test_a_run_of_packets_that_all_came():
    found = arrivals(body(10, 3, 100, [1 << 13 | 3], bytes([4, 8, 0])))
    assert [number for number, _ in found] == [10, 11, 12]
    assert [at for _, at in found] == pytest.approx([6.401, 6.403, 6.403])


def test_one_bit_each():
    chunk = 1 << 15 | 0b10100000000000
    assert arrivals(body(65535, 3, 0, [chunk], bytes([40, 40]))) == [(65535, 0.01), (0, None), (1, 0.02)]


def test_two_bits_each_and_one_that_was_overtaken():
    chunk = 3 << 14 | 0b01_10_00_01_00_00_00
    found = arrivals(body(5, 4, 1, [chunk], struct.pack("!BhB", 80, -40, 4)))
    assert [number for number, _ in found] == [5, 6, 7, 8]
    assert [at for _, at in found] == [pytest.approx(0.084), pytest.approx(0.074), None, pytest.approx(0.075)]


def test_chunks_of_several_kinds_follow_each_other():
    chunks = [5, 1 << 15 | 0b11111111111111, 1 << 13 | 2]
    found = arrivals(body(0, 21, 0, chunks, bytes(16)))
    assert [n for n, at in found if at is None] == [0, 1, 2, 3, 4]
    assert len(found) == 21


@pytest.mark.parametrize(
    "data",
    [b"", bytes(7), body(0, 5, 0, [], b""), body(0, 3, 0, [1 << 13 | 3], b"\0"), body(0, 3, 0, [0], b"")],
    ids=["empty", "short", "no chunk", "no times", "empty run"],
)
def test_what_is_cut_off_is_refused(data):
    with pytest.raises(ValueError, match="feedback"):
        arrivals(data)


def test_it_is_found_among_other_reports():
    ours = body(7, 1, 0, [1 << 13 | 1], b"\4")
    data = packed(bytes(20), kind=201, form=1) + packed(ours) + packed(bytes(4), form=1)
    (found,) = feedbacks(data)
    assert arrivals(found)[0] == (7, 0.001)
    assert list(feedbacks(data[: len(data) - 1])) == [found]
    assert list(feedbacks(packed(ours)[:-4])) == []


def test_every_packet_is_numbered_once():
    numbers = Numbered()
    numbers.configure(
        type("P", (), {"headerExtensions": [RTCRtpHeaderExtensionParameters(id=5, uri=URI)]})  # as aiortc does it
    )
    seen = []
    for n in range(65534, 65534 + 4):
        numbers._next = n % 65536 if n == 65534 else numbers._next
        data = RtpPacket(payload_type=96, payload=b"x").serialize(numbers)
        assert RtpPacket.parse(data, numbers).extensions.transport_sequence_number == n % 65536
        seen.append(numbers.take())
        assert numbers.take() is None
    assert seen == [65534, 65535, 0, 1]


def codec(*feedback: str) -> RTCRtpCodecParameters:
    return RTCRtpCodecParameters(
        mimeType="video/VP8", clockRate=90_000, payloadType=96, rtcpFeedback=[RTCRtcpFeedback(k) for k in feedback]
    )


@pytest.mark.parametrize(
    ("feedback", "extension", "agreed"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_it_is_agreed_on_where_it_is_offered(feedback, extension, agreed):
    extensions: list[RTCRtpHeaderExtensionParameters] = []
    ours = codec("nack")
    offered = [RTCRtpHeaderExtensionParameters(id=9, uri=URI)] if extension else []
    assert agree(extensions, [ours], offered, [codec("nack", *["transport-cc"] * feedback)]) is agreed
    assert [e.id for e in extensions] == [9] * agreed
    assert ("transport-cc" in [kind.type for kind in ours.rtcpFeedback]) is agreed


def through(way: Flight, bits: float, carries: float, seconds: float, start: float = 0.0, jitter: float = 0.0):
    """Packets of 1,000 bytes at ``bits`` a second over a queue of a quarter of a second that empties at ``carries``;
    the receiver's clock is an hour ahead."""
    random = np.random.default_rng(1)
    free, out, number, batch = start, [], round(start * 1e4), []
    for now in np.arange(start, start + seconds, 8000 / bits):
        way.leave(number % 65536, 1000, now)
        free = max(free, now)
        if free - now > 0.25:
            batch.append((number % 65536, None))
        else:
            free += 8000 / carries
            batch.append((number % 65536, 3600 + free + jitter * random.random()))
        number += 1
        if len(batch) == 10:
            if found := way.heard(batch, now):
                out.append(found)
            batch = []
    return out


def test_a_free_network_has_no_queue_and_no_losses():
    for found in through(Flight(), 600_000, 5e6, 5):
        assert found.lost == 0
        assert found.queue < 0.003
        assert found.through == pytest.approx(found.sent, rel=0.05)


def test_a_bottleneck_shows_its_queue_and_what_it_carries():
    way = Flight()
    through(way, 600_000, 5e6, 5)
    found = through(way, 600_000, 300_000, 5, start=5)
    assert found[-1].queue == pytest.approx(0.25, abs=0.05)
    assert found[-1].through == pytest.approx(300_000, rel=0.15)
    assert found[-1].lost == pytest.approx(0.5, abs=0.1)


def test_uneven_arrivals_are_no_queue():
    assert max(found.queue for found in through(Flight(), 600_000, 5e6, 20, jitter=0.08)) < 0.02


def test_what_is_reported_twice_counts_once():
    way = Flight()
    for n in range(100):
        way.leave(n, 1000, n / 100)
    report = [(n, n / 100) for n in range(100)]
    assert way.heard(report, 1.0) is not None
    assert way.heard(report, 1.1) is None


def test_the_receivers_clock_may_wrap():
    way = Flight()
    wrap = Flight.WRAP_S
    for n in range(200):
        way.leave(n, 1000, n / 100)
    first = way.heard([(n, (wrap - 0.5 + n / 100) % wrap) for n in range(100)], 1.0)
    second = way.heard([(n, (wrap - 0.5 + n / 100) % wrap) for n in range(100, 200)], 2.0)
    assert first is not None
    assert second is not None
    assert first.queue == second.queue == pytest.approx(0, abs=1e-3)
