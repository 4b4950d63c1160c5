"""``avatar eval watermark``: how much of the invisible mark comes back after what networks and people do to it, and
that it is not found where there is none."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from avatar import engines
from avatar.core.types import U8, FaceState
from avatar.engines.choice import AUTO, speaking
from avatar.engines.watermark import Message, Watermark
from avatar.models.trust.pieces import Pieces, version
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
PIECE = 200
"""Clean pictures that are looked at and kept together."""
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
    engine: str = AUTO,
    limit: int | None = None,
    keep: Path | None = None,
    minutes: float | None = None,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """Recovery by treatment, and false finds on clean pictures.

    :param data: folder of pictures and clips that nobody has marked, with the engines' own unmarked ones beside them.
    :param limit: so many avatars, and so many hundred clean pictures, at most.
    :param keep: what is measured is kept there, and measured again only where engine or reader have changed.
    :param minutes: begin nothing new after these; call again with the same ``keep`` to go on.
    """
    cv2.setNumThreads(1)
    names = [entry.name for entry in library().entries() if entry.builtin][:limit]
    clean = CLEAN if limit is None else min(CLEAN, 100 * limit)
    total, done = len(names) * MESSAGES + clean, 0
    pieces = Pieces(keep, minutes, _version(weights))
    found = {name: [0, 0] for name in TREATMENTS}
    for index, name in enumerate(names):
        for number in range(MESSAGES):
            message = Message((index * MESSAGES + number) * 79764919 % 2**32, "synthetic")
            survived = partial(_survived, engine, name, message)
            for treatment, right in (pieces.of(f"{engine}-{name}-{number}", survived) or {}).items():
                found[treatment][0] += right[0]
                found[treatment][1] += right[1]
            done += 1
            progress(done, total)
    looked, false, kinds = 0, [], {"pictures and clips of --data": 0, "unmarked pictures of the engine": 0}
    windows = false_windows = 0
    for kind, key, pictures in _clean(data, engine, names, clean):
        piece = pieces.of(key, partial(_looked_at, pictures))
        if piece is None:
            continue
        count = min(piece["pictures"], clean - looked)
        looked, kinds[kind] = looked + count, kinds[kind] + count
        false += piece["false"]
        windows, false_windows = windows + piece["windows"], false_windows + piece["false_windows"]
        progress(done + looked, total)
        if looked >= clean:
            break
    rows = {name: {"recovered": r, "windows": of, "share": r / of if of else None} for name, (r, of) in found.items()}
    seen = {"pictures": looked, "false": len(false), "which": false, "kinds": kinds}
    return {
        "task": "watermark",
        "engine": engine,
        "rows": rows,
        "clean": {**seen, "windows": windows, "false_windows": false_windows},
        "complete": pieces.missing == 0 and looked >= clean,
    }


def _version(weights: Path) -> str:
    """Of what draws, marks and reads."""
    networks = [
        path for path in weights.iterdir() if path.stem.startswith(("generator", "head_basis", "folds", "matte"))
    ]
    reader = Path(str(watermark_reader.__file__))
    return version(Path(engines.__path__[0]), reader, Path(__file__), *networks)


def _survived(engine: str, name: str, message: Message) -> dict[str, list[int]]:
    """Of two windows of one avatar under one message: how many are read after each treatment, and of how many."""
    drawing = make_engine(engine, library().load(name), SIZE)
    mark = Watermark(SIZE, message, drawing.bundle.portrait)
    marked = [drawing.render(state) for state in speaking(2 * WINDOW)]
    for picture in marked:
        mark.apply(picture)
    found = {}
    for treatment, treat in TREATMENTS.items():
        readings = [watermark_reader.read(treat(marked[begin : begin + WINDOW])) for begin in (0, WINDOW)]
        found[treatment] = [sum(r is not None and r.message == message for r in readings), len(readings)]
    return found


def _looked_at(pictures: Callable[[], Iterator[list[U8]]]) -> dict[str, Any]:
    """Every picture of windows by itself, and windows of a clip as a whole."""
    found: dict[str, Any] = {"pictures": 0, "false": [], "windows": 0, "false_windows": 0}
    for window in pictures():
        for picture in window:
            if (reading := watermark_reader.read([picture])) is not None:
                found["false"].append([found["pictures"], reading.strength, reading.message.name])
            found["pictures"] += 1
        if len(window) > 1:
            found["windows"] += 1
            found["false_windows"] += watermark_reader.read(window) is not None
    return found


def _clean(
    data: Path | None, engine: str, names: list[str], count: int
) -> Iterator[tuple[str, str, Callable[[], Iterator[list[U8]]]]]:
    """Unmarked pictures in pieces, as many as are needed and some: those of ``data``, mirrored too, then drawn ones.

    Gives the kind, a name, and what makes windows (a still is a window of one)."""
    paths = sorted(data.rglob("*")) if data is not None else []
    for path in (path for path in paths if path.suffix.lower() in _VIDEO):
        yield "pictures and clips of --data", f"clean-{_short(path)}", partial(_both_ways, clip_windows, path)
    stills = [path for path in paths if path.suffix.lower() in _PICTURE]
    for begin in range(0, len(stills), PIECE // 2):
        some = stills[begin : begin + PIECE // 2]
        yield "pictures and clips of --data", f"clean-{_short(*some)}", partial(_both_ways, _stills, some)
    share = -(-count // (PIECE * max(1, len(names)))) * PIECE
    for name in names:
        for begin in range(0, share, PIECE):
            drawn = partial(_drawn, engine, name, begin)
            yield "unmarked pictures of the engine", f"clean-{engine}-{name}-{begin}", drawn


def _drawn(engine: str, name: str, begin: int) -> Iterator[list[U8]]:
    """As large as they are looked at."""
    drawing = make_engine(engine, library().load(name), watermark_reader.SIDE)
    return ([drawing.render(state)] for state in _random_states(begin, PIECE))


def _short(*paths: Path) -> str:
    names = "|".join(str(path) for path in paths)
    return f"{paths[0].stem}-{len(paths)}-{hashlib.sha256(names.encode()).hexdigest()[:8]}"


def _both_ways(read: Callable[[Any], Iterator[list[U8]]], source: Any) -> Iterator[list[U8]]:
    for window in read(source):
        yield window
        yield [np.ascontiguousarray(picture[:, ::-1]) for picture in window]


def _stills(paths: list[Path]) -> Iterator[list[U8]]:
    for path in paths:
        if (pixels := cv2.imread(str(path))) is not None:
            yield [np.ascontiguousarray(pixels[..., ::-1])]


def _random_states(begin: int, count: int) -> list[FaceState]:
    """Of a lively time, every fifth state."""
    return speaking(5 * (begin + count))[5 * begin :: 5]


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """For people."""
    rows = [
        [name, f"{r['recovered']} of {r['windows']}", f"{r['recovered'] / max(1, r['windows']):.1%}"]
        for name, r in result["rows"].items()
    ]
    clean = result["clean"]
    notes = [
        f"clean pictures: {clean['pictures']}, false finds: {clean['false']} ({clean['kinds']})",
        f"clean two-second windows: {clean['windows']}, false finds: {clean['false_windows']}",
    ]
    if not result["complete"]:
        notes.append("not complete: call again with the same --keep")
    return [(f"watermark, engine {result['engine']}", ["two seconds at 512", "message read", ""], rows, notes)]
