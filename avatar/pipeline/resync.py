"""Notices when the sound falls out of step with the session, and when it is back."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from avatar.core.types import MILLISECOND, SECOND, AudioChunk, Ns
from avatar.metrics import Meters

log = logging.getLogger(__name__)

Reason = Literal["stall", "gap", "late", "device", "switch", "suspend", "clock"]
"""Why the sound was out of step: its source gave nothing for a while; sound was missing in it; it came after its time;
the device failed and was opened again; another source was chosen; the machine slept; the session stood still or its
clock leapt."""

_WORDS: dict[Reason, str] = {
    "stall": "the source gave no sound for a while",
    "gap": "sound was missing in the source",
    "late": "sound came after its time",
    "device": "the device failed",
    "switch": "another source was chosen",
    "suspend": "the machine slept",
    "clock": "the session stood still",
}


@dataclass(frozen=True, slots=True)
class Resync:
    """One time out of step, as ``/api/meters`` shows it."""

    reason: Reason
    at: Ns
    """When the sound was in step again."""
    after: Ns
    """How long that took, counted from the return of the source (or of the session)."""
    missing: Ns
    """How long nothing came before that."""
    dropped: Ns
    """How much old sound was left out."""

    def ms(self) -> dict[str, float]:
        """Its times in milliseconds."""
        names = ("at", "after", "missing", "dropped")
        return {f"{name}_ms": round(getattr(self, name) / MILLISECOND, 1) for name in names}

    def __str__(self) -> str:
        parts = [f"{_WORDS[self.reason]}; in sync again after {self.after / SECOND:.2f} s"]
        if self.missing >= SECOND // 10:
            parts.append(f"{self.missing / SECOND:.1f} s without sound")
        if self.dropped:
            parts.append(f"{self.dropped / SECOND:.2f} s of old sound left out")
        return ", ".join(parts)


class Resyncs:
    """Watches one input's chunks arrive; counts ``resync`` and ``resync.REASON`` in the meters.

    :param name: for the log.
    """

    STALL = SECOND // 4
    """A source that gives nothing for longer has stalled: devices come every 10 ms, packets every 20."""

    def __init__(self, meters: Meters, name: str = "sound") -> None:
        self.last: Resync | None = None
        self._meters = meters
        self._name = name
        self._arrived: Ns | None = None
        self._reason: Reason | None = None
        self._since = Ns(0)
        self._missing = Ns(0)
        self._dropped = 0

    def begin(self, reason: Reason, now: Ns, missing: Ns = Ns(0)) -> None:  # noqa: B008 - an int
        """Out of step from now on. While that lasts the first reason counts."""
        if self._reason is None:
            self._reason, self._since, self._missing, self._dropped = reason, now, missing, 0

    def expect(self, reason: Reason, now: Ns) -> None:
        """A source is being opened, for this reason: what it gives first is the return."""
        self._reason = None
        self.begin(reason, now)
        self._arrived = None

    def arrived(self, now: Ns, chunk: AudioChunk, late: int) -> None:
        """A chunk has come and been laid on the timeline; its first ``late`` samples were too late."""
        silent = Ns(now - self._arrived) if self._arrived is not None else Ns(0)
        waited, self._arrived = self._arrived is None, now
        if waited and self._reason is not None:
            self._missing, self._since = Ns(now - self._since), now
        elif silent > self.STALL:  # whatever was before, this is the return that counts
            pending = self._reason in ("clock", "suspend")
            reason: Reason = self._reason if pending and self._reason else "stall"
            self._reason = None
            self.begin(reason, now, max(silent, self._missing) if pending else silent)
        elif chunk.discontinuity:
            self.begin("gap", now)
        elif late:
            self.begin("late", now)
        self._dropped += late * SECOND // chunk.rate
        if self._reason is not None and not late and len(chunk.samples):
            self._note(now)

    def settle(self, now: Ns) -> None:
        """There is no source to wait for."""
        if self._reason is not None:
            self._note(now)

    def _note(self, now: Ns) -> None:
        assert self._reason is not None
        self.last = Resync(self._reason, now, Ns(now - self._since), self._missing, Ns(self._dropped))
        self._meters.count("resync")
        self._meters.count(f"resync.{self._reason}")
        chosen = self._reason == "switch"  # that is no fault
        log.log(logging.INFO if chosen or self._brief() else logging.WARNING, "%s: %s", self._name, self.last)
        self._reason = None

    def _brief(self) -> bool:
        """Too short to tell anybody who has not asked."""
        assert self.last is not None
        return max(self.last.after, self.last.missing, self.last.dropped) < 200 * MILLISECOND
