"""``avatar eval watermark``: how much of the invisible mark comes back after what networks and people do to it, and
that it is not found where there is none."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from avatar.core.types import U8, FaceState
from avatar.engines.choice import speaking
from avatar.engines.watermark import Message, Watermark
from avatar.parts import library, make_engine
from avatar.trust import watermark_reader
from avatar.trust.verify import windows as clip_windows

Progress = Callable[[int, int], None]
SIZE, FPS, WINDOW = 512, 30, 60
BITRATE = 500_000
MESSAGES = 6
"""Sessions that each clip is marked with in turn."""
CLEAN = 10_000
"""Unmarked pictures that are looked at."""
_VIDEO, _PICTURE = (".mp4", ".mkv", ".webm"), (".jpg", ".jpeg", ".png")


def coded(pictures: list[U8], codec: str, size: int = SIZE, crop: float = 0.0) -> list[U8]:
    """Pictures after a crop (part of each side), scaling to ``size`` and a codec at :data:`BITRATE`."""
    edge = round(crop / 2 * len(pictures[0]))
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="webm" if codec == "libvpx" else "mp4") as container:
        options = {"deadline": "realtime", "cpu-used": "4"} if codec == "libvpx" else {"preset": "veryfast"}
        stream: Any = container.add_stream(codec, rate=FPS, options=options)
        stream.width = stream.height = size
        stream.pix_fmt, stream.bit_rate = "yuv420p", BITRATE
        stream.codec_context.thread_count = 1
        for picture in pictures:
            kept = picture[edge : len(picture) - edge, edge : len(picture) - edge]
            kept = kept if len(kept) == size else cv2.resize(kept, (size, size), interpolation=cv2.INTER_AREA)
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(kept), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    buffer.seek(0)
    with av.open(buffer, "r") as clip:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in clip.decode(video=0)]


def _cropped(pictures: list[U8]) -> list[U8]:
    return [picture[26:-26, 26:-26] for picture in pictures]


def _badge_cut(pictures: list[U8]) -> list[U8]:
    return [picture[:-51] for picture in pictures]


TREATMENTS: dict[str, Callable[[list[U8]], list[U8]]] = {
    "as it is, one picture": lambda p: p[:1],
    "as it is": lambda p: p,
    "cropped by 10 %": _cropped,
    "the badge's edge cut off": _badge_cut,
    "half size, VP8": lambda p: coded(p, "libvpx", SIZE // 2),
    "half size, H.264": lambda p: coded(p, "libx264", SIZE // 2),
    "cropped by 10 %, half size, VP8": lambda p: coded(p, "libvpx", SIZE // 2, 0.1),
    "cropped by 10 %, half size, H.264, then VP8": lambda p: coded(coded(p, "libx264", SIZE // 2, 0.1), "libvpx", 256),
}
"""What is done to two seconds; codecs at 500 kbit/s."""


def watermark(
    weights: Path,
    data: Path | None = None,
    engine: str = "head",
    limit: int | None = None,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """Recovery by treatment, and false finds on clean pictures.

    :param data: folder of pictures and clips that nobody has marked, with the engines' own unmarked ones beside them.
    :param limit: so many avatars, and so many hundred clean pictures, at most.
    """
    cv2.setNumThreads(1)
    shelf = library()
    names = [entry.name for entry in shelf.entries() if entry.builtin][:limit]
    clean = CLEAN if limit is None else min(CLEAN, 100 * limit)
    total = len(names) * MESSAGES * len(TREATMENTS) + clean
    done = 0
    found = {name: [0, 0] for name in TREATMENTS}
    rng = np.random.default_rng(9)
    for name in names:
        drawing = make_engine(engine, shelf.load(name), SIZE)
        states = speaking(2 * WINDOW)
        unmarked = [drawing.render(state) for state in states]
        for _ in range(MESSAGES):
            message = Message(int(rng.integers(0, 2**32)), "synthetic")
            mark = Watermark(SIZE, message, drawing.bundle.portrait)
            marked = [picture.copy() for picture in unmarked]
            for picture in marked:
                mark.apply(picture)
            for treatment, treat in TREATMENTS.items():
                for begin in (0, WINDOW):
                    reading = watermark_reader.read(treat(marked[begin : begin + WINDOW]))
                    found[treatment][0] += reading is not None and reading.message == message
                    found[treatment][1] += 1
                done += 1
                progress(done, total)
    false, looked, kinds = 0, 0, {"pictures and clips of --data": 0, "unmarked pictures of the engine": 0}
    for kind, picture in _clean(data, engine, names, clean):
        false += watermark_reader.read([picture]) is not None
        looked += 1
        kinds[kind] += 1
        progress(done + looked, total)
    rows = {name: {"recovered": right, "windows": of, "share": right / of} for name, (right, of) in found.items()}
    clips = _clean_windows(data)
    return {
        "task": "watermark",
        "engine": engine,
        "rows": rows,
        "clean": {"pictures": looked, "false": false, "kinds": kinds, **clips},
    }


def _clean(data: Path | None, engine: str, names: list[str], count: int) -> Iterator[tuple[str, U8]]:
    """Unmarked pictures, ``count`` in all: those of ``data``, mirrored too, then drawn ones at random states."""
    left = count
    for picture in _of_folder(data) if data is not None else ():
        for seen in (picture, np.ascontiguousarray(picture[:, ::-1])):
            if left:
                left -= 1
                yield "pictures and clips of --data", seen
    shelf = library()
    share = -(-left // max(1, len(names)))
    for name in names:
        drawing = make_engine(engine, shelf.load(name), watermark_reader.SIDE)  # as large as they are looked at
        for state in _random_states(min(share, left)):
            left -= 1
            yield "unmarked pictures of the engine", drawing.render(state)


def _of_folder(folder: Path) -> Iterator[U8]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _PICTURE and (pixels := cv2.imread(str(path))) is not None:
            yield np.ascontiguousarray(pixels[..., ::-1])
        elif path.suffix.lower() in _VIDEO:
            for window in clip_windows(path):
                yield from window


def _random_states(count: int) -> list[FaceState]:
    """Of a lively minute, every so often one."""
    states = speaking(max(count, 1) * 5)
    return states[::5][:count]


def _clean_windows(data: Path | None) -> dict[str, int]:
    """Two-second windows of unmarked clips, and how many seem marked."""
    looked = false = 0
    for path in sorted(data.rglob("*")) if data is not None else ():
        if path.suffix.lower() in _VIDEO:
            for window in clip_windows(path):
                looked += 1
                false += watermark_reader.read(window) is not None
    return {"windows": looked, "false_windows": false}


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """For people."""
    rows = [[name, f"{r['recovered']} of {r['windows']}", f"{r['share']:.1%}"] for name, r in result["rows"].items()]
    clean = result["clean"]
    notes = [
        f"clean pictures: {clean['pictures']}, false finds: {clean['false']} ({clean['kinds']})",
        f"clean two-second windows: {clean['windows']}, false finds: {clean['false_windows']}",
    ]
    return [(f"watermark, engine {result['engine']}", ["two seconds at 512", "message read", ""], rows, notes)]
