"""The jitter buffers under loss, reordering and worse."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from aiortc.rtp import RtpPacket
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar.streams.rtc_jitter import PictureBuffer, SoundBuffer, elapsed, starts_key_frame, unwrap

FRAME_TICKS = 3000
VP8_START, VP8_REST = b"\x10", b"\x00"
KEY, DELTA = 0x00, 0x01


def packet(
    sequence: int, timestamp: int, data: bytes, *, marker: bool = True, payload: bytes | None = None, ssrc: int = 7
):
    made = RtpPacket(payload_type=97, sequence_number=sequence & 0xFFFF, timestamp=timestamp & 0xFFFFFFFF, ssrc=ssrc)
    made.marker = int(marker)
    made.payload = data if payload is None else payload
    made._data = data
    return made


def picture(index: int, sequence: int, *, key: bool, size: int, start: int = 0, ssrc: int = 7) -> list[RtpPacket]:
    """The packets of one VP8 frame; its data name the frame and say which part of how many each one is."""
    parts = []
    for part in range(size):
        header = bytes([KEY if key else DELTA]) if part == 0 else b""
        data = header + f"[{index}:{part}/{size}]".encode()
        payload = (VP8_START if part == 0 else VP8_REST) + data
        ticks = start + index * FRAME_TICKS
        parts.append(packet(sequence + part, ticks, data, marker=part == size - 1, payload=payload, ssrc=ssrc))
    return parts


def stream(sizes: list[int], keys: set[int], sequence: int = 65_500, start: int = 0xFFFFF000) -> list[list[RtpPacket]]:
    """Frames whose sequence numbers and time stamps both wrap."""
    frames = []
    for index, size in enumerate(sizes):
        frames.append(picture(index, sequence, key=index in keys, size=size, start=start))
        sequence += size
    return frames


def whole(frames: list[list[RtpPacket]]) -> list[bytes]:
    return [b"".join(p._data for p in frame) for frame in frames]


class Receiver:
    """Feeds a buffer as aiortc does and notes what comes out."""

    def __init__(self) -> None:
        self.buffer = PictureBuffer(lambda payload_type: "VP8")
        self.out: list[bytes] = []
        self.asked = 0

    def feed(self, packets: list[RtpPacket]) -> None:
        for one in packets:
            ask, frame = self.buffer.add(one)
            self.asked += ask
            while frame is not None:
                self.out.append(frame.data)
                frame = self.buffer.more()


def flat(frames: list[list[RtpPacket]]) -> list[RtpPacket]:
    return [p for frame in frames for p in frame]


def test_numbers_wrap():
    assert unwrap(3, 65_530) == 65_539
    assert unwrap(65_535, 65_540) == 65_535
    assert unwrap(0, 0) == 0
    assert elapsed(5, 0xFFFFFFFB) == 10
    assert elapsed(0xFFFFFFFB, 5) == -10


def test_a_picture_leaves_on_its_last_packet():
    receiver = Receiver()
    frames = stream([3, 2], {0})
    receiver.feed(frames[0][:2])
    assert receiver.out == []
    receiver.feed(frames[0][2:])
    assert receiver.out == whole(frames[:1])
    receiver.feed(frames[1])
    assert receiver.out == whole(frames)
    assert receiver.asked == 0


def test_a_sender_that_marks_nothing_still_gets_through():
    receiver = Receiver()
    frames = stream([2, 2, 2], {0})
    for one in flat(frames):
        one.marker = 0
    receiver.feed(flat(frames))
    assert receiver.out == whole(frames[:2])


def test_the_first_picture_is_a_key_frame_and_is_asked_for():
    receiver = Receiver()
    frames = stream([2] * 6, {3})
    receiver.feed(flat(frames[1:]))
    assert receiver.asked == 1
    assert receiver.out == whole(frames[3:])


def test_the_first_packet_of_all_may_come_late():
    receiver = Receiver()
    frames = stream([3, 2], {0})
    first, second, third = frames[0]
    receiver.feed([second, first, third, *frames[1]])
    assert receiver.out == whole(frames)


def test_one_packet_may_complete_several_pictures():
    receiver = Receiver()
    frames = stream([2, 2, 1, 3], {0})
    late = frames[1][0]
    receiver.feed([p for p in flat(frames) if p is not late])
    assert receiver.out == whole(frames[:1])
    receiver.feed([late])
    assert receiver.out == whole(frames)
    assert receiver.asked == 0


def test_what_stays_missing_is_given_up_and_a_key_frame_asked_for():
    receiver = Receiver()
    frames = stream([2] * 30, {0, 20})
    lost = frames[2][1]
    packets = [p for p in flat(frames) if p is not lost]
    receiver.feed(packets[: 2 * 9])
    assert receiver.asked == 0, "a packet sent again could still come"
    receiver.feed(packets[2 * 9 : 2 * 15])
    assert receiver.asked == 1, "a quarter of a second is over"
    receiver.feed(packets[2 * 15 :])
    assert receiver.out == whole(frames[:2] + frames[20:])


def test_a_key_frame_ends_the_wait_at_once():
    receiver = Receiver()
    frames = stream([2] * 6, {0, 4})
    lost = frames[2][0]
    receiver.feed([p for p in flat(frames) if p is not lost])
    assert receiver.out == whole(frames[:2] + frames[4:])
    assert receiver.asked == 0


def test_a_key_frame_is_asked_for_again_when_none_comes():
    receiver = Receiver()
    frames = stream([1] * 90, set())
    receiver.feed(flat(frames))
    assert receiver.out == []
    assert 5 <= receiver.asked <= 7  # twice a second


def test_late_and_doubled_packets_change_nothing():
    receiver = Receiver()
    frames = stream([2] * 5, {0})
    receiver.feed(flat(frames) + flat(frames[2:4]))
    assert receiver.out == whole(frames)


@pytest.mark.parametrize("jump", [20_000, -150])
def test_a_sender_that_begins_anew_is_followed(jump):
    receiver = Receiver()
    first = stream([2] * 5, {0}, sequence=30_000)
    again = stream([2] * 5, {0}, sequence=30_010 + jump, start=90_000)
    receiver.feed(flat(first) + flat(again))
    assert receiver.out == whole(first) + whole(again)


def test_another_sender_is_followed_at_once():
    receiver = Receiver()
    first = stream([2] * 3, {0})
    other = picture(9, 17, key=True, size=2, ssrc=8)
    receiver.feed(flat(first) + other)
    assert receiver.out == whole([*first, other])


def test_padding_between_pictures_is_no_picture():
    receiver = Receiver()
    first, second = picture(0, 10, key=True, size=2), picture(1, 14, key=False, size=2)
    padding = [packet(12 + n, 0, b"", marker=False) for n in range(2)]
    receiver.feed(first + padding + second)
    assert receiver.out == whole([first, second])


@settings(max_examples=120, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=30, max_size=90),
    every=st.integers(5, 40),
    loss=st.floats(0, 0.3),
    resent=st.floats(0, 1),
    jitter=st.integers(0, 12),
    seed=st.integers(0, 1 << 16),
)
def test_any_network(sizes, every, loss, resent, jitter, seed):
    """Whatever the network does: only whole pictures, in order, none twice, each one decodable, and never stuck."""
    rng = random.Random(seed)
    keys = set(range(0, len(sizes), every))
    frames = stream(sizes, keys)
    arriving = []
    for at, one in enumerate(flat(frames)):
        if rng.random() >= loss:
            arriving.append((at + rng.random() * jitter, at, one))
        elif rng.random() < resent:
            arriving.append((at + 8 + rng.random() * 20, at, one))
    receiver = Receiver()
    receiver.feed([one for _, _, one in sorted(arriving, key=lambda a: a[:2])])
    # The network is good again: a key frame, and what follows it.
    tail_at = sum(sizes) + 65_500
    tail = []
    for index in range(len(sizes), len(sizes) + 12):
        tail.append(picture(index, tail_at, key=index == len(sizes), size=2, start=0xFFFFF000))
        tail_at += 2
    receiver.feed(flat(tail))

    expected = whole(frames + tail)
    number = {data: index for index, data in enumerate(expected)}
    assert set(receiver.out) <= set(expected), "a picture made of incomplete packets"
    order = [number[data] for data in receiver.out]
    assert order == sorted(set(order))
    keys |= {len(sizes)}
    if order:
        assert order[0] in keys
    for before, after in pairwise(order):
        assert after == before + 1 or after in keys, "a picture whose predecessor is missing"
    assert order[-12:] == list(range(len(sizes), len(sizes) + 12)), "stuck"


def test_key_frames_of_h264():
    sps, pps, idr, delta = b"\x67\x42\x00", b"\x68\xce", b"\x65\x88\x80", b"\x41\x9a"
    aggregate = b"\x78" + b"".join(len(n).to_bytes(2, "big") + n for n in (b"\x06\x05", sps, pps))
    assert starts_key_frame("H264", sps)
    assert starts_key_frame("H264", aggregate)
    assert not starts_key_frame("H264", idr), "without its parameters it is not the start"
    assert not starts_key_frame("H264", delta)
    assert not starts_key_frame("H264", b"\x7c\x85" + idr), "a part of a unit"
    assert not starts_key_frame("H264", b"\x78\x00")
    assert not starts_key_frame("H264", b"")


def test_key_frames_of_vp8():
    assert starts_key_frame("VP8", b"\x10\x00data")
    assert starts_key_frame("VP8", b"\x90\x80\x81\x02\x00data"), "with a picture id"
    assert not starts_key_frame("VP8", b"\x10\x01data")
    assert not starts_key_frame("VP8", b"\x00\x00data"), "not the first packet"
    assert not starts_key_frame("VP8", b"\x90")
    assert not starts_key_frame("AV1", b"\x10\x00data")


# --- sound ---------------------------------------------------------------------------------------------------------


def sound(numbers: list[int], buffer: SoundBuffer | None = None) -> list[int]:
    buffer = buffer or SoundBuffer()
    out = []
    for n in numbers:
        ask, frame = buffer.add(packet(n, n * 960, str(n).encode()))
        assert not ask
        while frame is not None:
            out.append(int(frame.data))
            frame = buffer.more()
    return out


def test_sound_leaves_at_once():
    buffer = SoundBuffer()
    for n in range(65_530, 65_545):
        assert sound([n], buffer) == [n]


def test_sound_is_put_in_order():
    assert sound([1, 3, 2, 4, 6, 7, 5, 8]) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_lost_sound_is_not_waited_for_long():
    buffer = SoundBuffer(reorder=3)
    assert sound([1, 2, 4, 5], buffer) == [1, 2]
    assert sound([6], buffer) == [4, 5, 6]
    assert buffer.lost == 1
    assert sound([3, 7], buffer) == [7]


def test_sound_that_begins_anew_is_followed():
    assert sound([500, 501, 20_000, 20_001]) == [500, 501, 20_000, 20_001]
    assert sound([500, 501, 100, 101]) == [500, 501, 100, 101]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 16), st.floats(0, 0.4), st.integers(0, 8))
def test_sound_over_any_network(seed, loss, jitter):
    rng = random.Random(seed)
    sent = [(n + rng.random() * jitter, n) for n in range(1, 200) if rng.random() >= loss]
    out = sound([n for _, n in sorted(sent)] + list(range(200, 220)))
    assert out == sorted(set(out)), "in order, none twice"
    assert out[-20:] == list(range(200, 220)), "stuck"
    if jitter == 0:
        assert out[:-20] == [n for _, n in sent]
