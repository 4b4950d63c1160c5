"""Figures that several recipes' judges share, and pictures through a written file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avatar.core.types import F32, U8
from avatar.network import one_thread_session

FACE = np.zeros((64, 64), bool)
FACE[10:60, 12:52] = True
"""The part of the crop that is face in nearly everybody: figures look there."""


def decibels(made: F32, truth: F32) -> F32:
    """(n,) PSNR of pictures (n, 3, 64, 64) in [-1, 1], inside :data:`FACE`."""
    miss = ((made - truth)[..., FACE] ** 2).mean((1, 2)) / 4
    return np.asarray(-10 * np.log10(np.maximum(miss, 1e-9)), np.float32)


def absolute(made: F32, truth: F32) -> float:
    """Mean absolute difference in grey levels (0 to 255), inside :data:`FACE`."""
    return float(np.abs((made - truth)[..., FACE]).mean() * 127.5)


class Session:
    """A written network, picture by picture. Raises ModelFileError where the file is missing or broken."""

    def __init__(self, file: Path) -> None:
        self._session = one_thread_session(file)
        self.inputs = [given.name for given in self._session.get_inputs()]

    def __call__(self, pictures: F32, condition: F32 | None = None) -> list[F32]:
        """All outputs for pictures (n, 3, 64, 64) and conditions (n, k), each stacked."""
        out = []
        for i in range(len(pictures)):
            given = {self.inputs[0]: pictures[i : i + 1]}
            if condition is not None:
                given[self.inputs[1]] = np.asarray(condition[i : i + 1], np.float32)
            out.append([value[0] for value in self._session.run(None, given)])
        return [np.stack(column) for column in zip(*out, strict=True)]


def sheet(*columns: F32) -> U8:
    """Columns of pictures (n, 3, h, w) in [-1, 1] side by side, n rows."""
    made = np.concatenate(columns, 3)
    bytes_ = np.clip((made + 1) * 127.5 + 0.5, 0, 255).astype(np.uint8)
    return np.vstack(list(bytes_.transpose(0, 2, 3, 1)))


def tiles(pictures: U8, columns: int, times: int = 1) -> U8:
    """Pictures (n, h, w, 3) as a sheet of so many columns, each pixel ``times`` times as large; the last row may be cut
    off."""
    lines = [np.hstack(list(pictures[i : i + columns])) for i in range(0, len(pictures) - columns + 1, columns)]
    return np.vstack(lines).repeat(times, 0).repeat(times, 1)
