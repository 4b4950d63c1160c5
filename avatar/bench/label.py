"""What the labels cost a picture, and how far they are from it."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np

from avatar.config import Config
from avatar.engines.choice import speaking
from avatar.engines.watermark import Message, Watermark
from avatar.labels import make_badge
from avatar.metrics import percentiles
from avatar.parts import library, make_engine

FRAMES = 400


def label(config: Config) -> dict[str, Any]:
    """``ms`` of badge and watermark on one core at ``avatar.size``, ``cpu_ms`` the same by the processor's clock; and
    ``psnr_db`` of the watermark against the unmarked picture, the least over the shipped avatars."""
    cv2.setNumThreads(1)
    size, shelf = config.avatar.size, library()
    rows: dict[str, float] = {}
    taken: list[float] = []
    spent = 0.0
    names = [entry.name for entry in shelf.entries() if entry.builtin]
    for name in names:
        engine = make_engine(config.avatar.engine, shelf.load(name), size)
        badge = make_badge(size, config.avatar)
        mark = Watermark(size, Message(0x5EED0001, "synthetic"), engine.bundle.portrait)
        clean = [engine.render(state) for state in speaking(8)]
        worst = np.inf
        for picture in clean:
            marked = picture.copy()
            mark.apply(marked)
            error = float(np.mean((marked.astype(np.float32) - picture) ** 2))
            worst = min(worst, 10 * np.log10(255**2 / error))
        rows[name] = round(float(worst), 2)
        for index in range(FRAMES // len(names)):
            picture = clean[index % len(clean)]
            begun, cpu = time.perf_counter(), time.thread_time()
            badge.apply(picture)
            mark.apply(picture)
            spent += time.thread_time() - cpu
            taken.append((time.perf_counter() - begun) * 1e3)
    return {
        "size": size,
        "ms": percentiles(taken, (50, 95)),
        "cpu_ms": round(spent * 1e3 / len(taken), 3),
        "psnr_db": min(rows.values()),
        "psnr_db_by_avatar": rows,
    }
