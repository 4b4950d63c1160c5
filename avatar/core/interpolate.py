"""Reading a signal between its samples: how one clock's sound is played by another clock.

A sample rate that is wrong by some parts per million is put right by reading a little faster or slower than one sample
at a time. What lies between two samples is what the sampling theorem says: the sum of sincs around it, cut off by a
Kaiser window (Smith, Digital Audio Resampling, https://ccrma.stanford.edu/~jos/resample/). docs/adr/0005-clock.md has
the figures, and why it is not libsoxr's variable rate.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from avatar.core.types import F32

_PHASES = 256
"""Places between two samples at which the filter is tabulated; between those it is interpolated linearly."""
_BETA = 8.0
"""Shape of the Kaiser window: images are 80 dB down."""


class Interpolator:
    """Values of a sampled signal at any place.

    :param half: samples on each side that a value is made of; also the delay of whoever reads a live signal.
    :param cutoff: of the input's Nyquist frequency; below 1 where fewer samples come out than go in.
    """

    def __init__(self, half: int = 16, cutoff: float = 1.0) -> None:
        self.half = half
        self._table, self._rise = _table(half, cutoff)

    def read(self, data: F32, where: NDArray[np.floating]) -> F32:
        """The signal ``data`` (n,) at the places ``where`` (m,), counted in samples from ``data[0]``; each needs
        ``half`` samples on both sides: half - 1 <= where < n - half. At a whole number it is the sample itself, but for
        a cutoff below 1."""
        whole = where.astype(np.intp)
        phase = (where - whole) * _PHASES
        row = phase.astype(np.intp)
        taps, size = 2 * self.half, data.itemsize
        # All the windows of the signal, without a copy (numpy's sliding_window_view takes as long as the filter does).
        views = np.ndarray((len(data) - taps + 1, taps), data.dtype, np.ascontiguousarray(data), strides=(size, size))
        windows = views[whole - (self.half - 1)]
        part = (phase - row).astype(np.float32)
        base = np.einsum("ij,ij->i", windows, self._table[row])
        rise = np.einsum("ij,ij->i", windows, self._rise[row])
        return np.asarray(base + part * rise, np.float32)


@lru_cache(maxsize=8)
def _table(half: int, cutoff: float) -> tuple[F32, F32]:
    """(phases + 1, taps): the filter at each place between two samples, and what the next row adds to it."""
    taps = np.arange(-half + 1, half + 1)[None, :] - np.linspace(0, 1, _PHASES + 1)[:, None]
    window = np.i0(_BETA * np.sqrt(np.clip(1 - (taps / half) ** 2, 0, None))) / np.i0(_BETA)
    table = cutoff * np.sinc(cutoff * taps) * window
    table /= table.sum(axis=1, keepdims=True)
    rise = np.diff(table, axis=0, append=table[-1:])
    return table.astype(np.float32), rise.astype(np.float32)


class Varispeed:
    """A live signal, read at a speed that may change with every piece.

    What comes out lags behind what came in by :attr:`Interpolator.half` samples.

    :param history: the samples before the first piece, where they are known; else silence is assumed.
    """

    def __init__(self, interpolator: Interpolator, history: F32 | None = None) -> None:
        self._interpolator = interpolator
        half = interpolator.half
        self._data = np.zeros(half, np.float32)
        if history is not None and len(history):
            known = history[-half:]
            self._data[half - len(known) :] = known
        self._at = float(half)

    @property
    def ahead(self) -> float:
        """Samples of the input from the place that is read next to the end of what is known."""
        return len(self._data) - self._at

    def process(self, samples: F32, step: float) -> F32:
        """Take a piece (n,), return what can be read at ``step`` input samples for each output sample, (m,)."""
        half = self._interpolator.half
        self._data = np.concatenate([self._data, samples])
        count = max(0, int(np.ceil((len(self._data) - half - self._at) / step)))
        where = self._at + step * np.arange(count)
        out = self._interpolator.read(self._data, where) if count else np.zeros(0, np.float32)
        self._at += step * count
        drop = int(self._at) - half
        if drop > 0:
            self._data = self._data[drop:]
            self._at -= drop
        return out
