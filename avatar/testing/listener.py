"""What another program hears of a virtual microphone, and when."""

from __future__ import annotations

import subprocess
import threading
import time
from types import TracebackType

import numpy as np

from avatar.testing.flash import F64

RATE = 48_000
PIECE = RATE // 200
"""Samples (5 ms) asked for at a time."""


class Listener:
    """PulseAudio's own recorder, asked for the least delay, while the block lasts.

    A piece's last sample is taken to have been heard when the piece arrived. Pieces are late now and then and never
    early, so the line of samples runs along the earliest ones of every second.

    :param device: ``pulse:NAME`` of a source.
    """

    def __init__(self, device: str) -> None:
        self._device = device.removeprefix("pulse:")
        self._pieces: list[tuple[float, bytes]] = []
        self._thread = threading.Thread(target=self._read, name="listener", daemon=True)

    def __enter__(self) -> Listener:
        form = ["--raw", "--format=float32le", f"--rate={RATE}", "--channels=1", "--latency-msec=5"]
        self._recorder = subprocess.Popen(
            ["parec", *form, "-d", self._device], stdout=subprocess.PIPE, bufsize=0
        )  # unbuffered: a piece is read when it comes
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._recorder.terminate()
        self._recorder.wait()
        self._thread.join(2)

    def _read(self) -> None:
        assert self._recorder.stdout is not None
        while data := self._recorder.stdout.read(4 * PIECE):
            self._pieces.append((time.monotonic(), data))

    def heard(self, step: int = 12) -> tuple[F64, F64]:
        """Times (n,) in seconds of the monotonic clock, and peaks (n,), of every ``step`` samples."""
        whole = b"".join(data for _, data in self._pieces)
        samples = np.frombuffer(whole[: len(whole) // (4 * step) * 4 * step], "<f4")
        ends = np.cumsum([len(data) / 4 for _, data in self._pieces])
        zero = np.array([at for at, _ in self._pieces]) - ends / RATE
        # The earliest arrival of each second, and straight lines between them.
        second = (ends // RATE).astype(int)
        kinds = np.unique(second)
        best = [np.flatnonzero(second == k)[np.argmin(zero[second == k])] for k in kinds]
        position = np.arange(len(samples) // step) * step
        times = position / RATE + np.interp(position, ends[best], zero[best])
        return times, np.abs(samples).reshape(-1, step).max(axis=1)
