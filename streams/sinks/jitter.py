"""What lies between a session, which delivers sound at its own pace, and a device, which takes it at another."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np
from numpy.typing import NDArray

from avatar.core.interpolate import Interpolator
from avatar.core.types import F32

_HALF = 8
"""Samples on each side that a value between two samples is made of: few, for this runs in the driver's callback."""
_SMOOTH = 1.0
"""Seconds over which the amount of waiting sound is averaged."""
_BETWEEN = Interpolator(_HALF)


class JitterBuffer:
    """Sound goes in when it comes, and out when the device asks, at a constant delay.

    Both clocks run at nearly the same rate; the difference is followed by reading a little faster or slower
    (:mod:`avatar.core.interpolate`), never by a jump. What is kept constant is the time from a sample's being pushed to
    its being heard, where the caller tells both times; else the amount of waiting sound. ``push`` and ``pull`` may be
    called by two threads.

    :param rate: samples a second, in and out.
    :param target: seconds of sound to hold; more after an underrun, up to ``MAX_TARGET``.
    """

    MAX_TARGET = 0.15
    ROOM = 0.2
    """Seconds above the target at which the oldest sound is thrown away: the device has stalled."""
    EXCESS = 0.03
    """Seconds that the mean delay may be above its goal before sound is left out at once."""
    MAX_STRETCH = 2e-3
    _GAIN_WAITING, _GAIN_AGE = 0.05, 0.15
    """Per second: the share of a wrong delay that is taken back each second. What waits goes up and down with
    every piece, the age of the sound does not."""
    _DEAD = 0.003
    _SETTLE = 1.0
    _FADE = 0.005

    def __init__(self, rate: int, target: float = 0.03) -> None:
        self.rate = rate
        self.underruns = 0
        self.overruns = 0
        self.device = 0.0
        """Seconds that the device holds when it has what it wishes; just after a gap it holds less."""
        self.stretch = 0.0
        """How much faster than its own clock the device is given sound now, 1e-6 = one part per million."""
        self._target = target
        self._piece = 0.0
        self._pushed = self._promised = 0
        self._marks: deque[tuple[int, float]] = deque(maxlen=64)  # samples pushed before a piece, when it came
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._data = np.zeros(2 * _HALF, np.float32)
        self._pos = float(2 * _HALF)  # where the next sample is read; the taps before it are history
        self._playing = False
        self._played = 0
        self._fill = self._age = self._late = 0.0
        self._drift = 0.0
        self.heard_after: float | None = None
        """Seconds from being pushed to being heard, which are kept; None until known."""
        self._goal = self._target

    @property
    def delay(self) -> float:
        """Seconds from pushing a piece of sound to its first sample's being played, on average."""
        # A piece comes as a whole and is used up bit by bit, so half of it is there on average besides what waits.
        return (self._goal if self._playing else self._target) - self._piece / 2

    @property
    def waiting(self) -> float:
        """Seconds of sound in here now."""
        return (len(self._data) - self._pos) / self.rate

    def push(self, samples: F32, at: float | None = None) -> None:
        """Add sound (n,). ``at``: the time now, in seconds of any clock that ``pull`` is given times of, too."""
        with self._lock:
            self._piece = len(samples) / self.rate
            if at is not None:
                self._marks.append((self._pushed, at))
            self._pushed += len(samples)
            self._data = np.concatenate([self._data, samples.astype(np.float32, copy=False)])
            limit = self._target + self.ROOM
            if self.waiting > limit:
                self.overruns += 1
                self._keep(self._target)
                self._fill = self._goal

    def pull(self, n: int, now: float | None = None, ahead: float = 0.0) -> F32:
        """The next ``n`` samples; silence while there is nothing to play. ``now``: the time, by the clock of ``push``;
        ``ahead``: seconds from then to the first sample's being heard."""
        heard = None if now is None else now + ahead
        with self._lock:
            if not self._playing:
                if heard is not None and not self._due(n, heard, ahead):
                    return np.zeros(n, np.float32)
                if heard is None:
                    if self.waiting < self._target + n / self.rate:
                        return np.zeros(n, np.float32)
                    # What came while the device was starting is old by now.
                    self._keep(self._target + n / self.rate)
                self._playing, self._played, self._fill, self._goal = True, 0, self.waiting, self._target
            self.stretch = self._stretch(n, heard)
            step = 1.0 + self.stretch
            where = self._pos + step * np.arange(n)
            usable = int(np.searchsorted(where, len(self._data) - _HALF))
            out = np.zeros(n, np.float32)
            out[:usable] = self._read(where[:usable])
            if self._played == 0:
                self._ramp(out[: round(self._FADE * self.rate)], up=True)
            self._played += n
            self._pos += step * n
            if usable < n:
                self.underruns += 1
                self._ramp(out[max(0, usable - round(self._FADE * self.rate)) : usable], up=False)
                if self._played > self._SETTLE * self.rate:  # before that the device is still filling its own buffer
                    self._target = min(self._target + 0.01, self.MAX_TARGET)
                self._clear()
            elif self._late > self.EXCESS:
                out = self._catch_up(out, where)
            self._trim()
            return out

    def _due(self, n: int, heard: float, ahead: float) -> bool:
        """Whether to begin, with the sample that is to be heard now by the delay that is promised from the first call
        on; what was pushed before that promise has come at another time and is left out."""
        if self.heard_after is None:
            self.heard_after = self._age = self._target + n / self.rate + max(ahead, self.device)
            self._promised = self._pushed + round(self._piece * self.rate)
        early = self._promised - (self._pushed - (len(self._data) - self._pos))
        if early > 0:
            self._pos = min(self._pos + early, float(len(self._data)))
        age = self._age_at(heard)
        if early > 0 or age is None or age < self.heard_after - n / self.rate / 2:
            return False
        room = len(self._data) - self._pos - n - 2 * _HALF
        self._pos += min(max(0.0, (age - self.heard_after) * self.rate), max(0.0, room))
        return True

    def _catch_up(self, out: F32, where: NDArray[np.floating]) -> F32:
        """Fade over to the place at which the delay is right again: the device had stopped for a moment."""
        self.overruns += 1
        skip = int(min(self._late, self.waiting) * self.rate) - 2 * _HALF
        if skip <= 0:
            return out
        later = self._read(where + skip) if where[-1] + skip < len(self._data) - _HALF else np.zeros_like(out)
        self._ramp(out, up=False)
        self._ramp(later, up=True)
        self._pos += skip
        self._fill, self._age, self._late = self._goal, self.heard_after or 0.0, 0.0
        return out + later

    def _keep(self, seconds: float) -> None:
        """Forget all but the last ``seconds``."""
        self._pos = max(self._pos, float(len(self._data) - round(seconds * self.rate)))
        self._trim()

    def _stretch(self, n: int, heard: float | None) -> float:
        """How much faster than normal to read, from the smoothed age of the sound or the amount that waits."""
        # A plain mean at first, then a sliding one.
        weight = min(1.0, max(n / (self._played + n), n / (_SMOOTH * self.rate)))
        self._fill += (self.waiting - self._fill) * weight
        age = self._age_at(heard)
        if age is not None:
            self._age += (age - self._age) * weight
        if self._played < self._SETTLE * self.rate:
            # Sound comes and goes in blocks, so the mean is known only after a while; it becomes the delay to keep.
            self._goal = min(max(self._target / 2, self._fill), self._target + self.EXCESS)
            return 0.0
        if age is not None and self.heard_after is None:
            self.heard_after = self._age
        if age is None or self.heard_after is None:
            gain, error = self._GAIN_WAITING, self._fill - self._goal
        else:
            gain, error = self._GAIN_AGE, self._age - self.heard_after
        self._late = error
        if abs(error) < self._DEAD and self._drift == 0:  # as long as the clocks agree the sound passes untouched
            return 0.0
        limit = self.MAX_STRETCH
        # A lasting difference of the clocks is learnt, so that the delay comes back to its goal (critically damped).
        self._drift = max(-limit, min(limit, self._drift + gain**2 / 4 * error * n / self.rate))
        return max(-limit, min(limit, self._drift + gain * error))

    def _age_at(self, heard: float | None) -> float | None:
        """Seconds from the push of the sample that is read next to its being heard."""
        place = self._pushed - (len(self._data) - self._pos)
        for start, at in reversed(self._marks):
            if start <= place:
                return None if heard is None else heard - at - (place - start) / self.rate
        return None

    def _read(self, where: NDArray[np.floating]) -> F32:
        return _BETWEEN.read(self._data, where)

    @staticmethod
    def _ramp(part: F32, up: bool) -> None:
        ramp = np.linspace(0, 1, len(part), dtype=np.float32)
        part *= ramp if up else ramp[::-1]

    def _trim(self) -> None:
        drop = int(self._pos) - 2 * _HALF
        if drop > 0:
            self._data = self._data[drop:]
            self._pos -= drop
