"""What a calibration knows about one person before they have said a word, for the stages that adapt to people."""

from __future__ import annotations

from dataclasses import dataclass

from avatar.core.types import F32


@dataclass(frozen=True, slots=True)
class Speaker:
    """One person's voice and resting face."""

    pitch: float
    """Mean of log2 of the pitch in hertz (octaves)."""
    deviation: float
    """Standard deviation of the same, in octaves."""
    neutral: F32
    """(52,) coefficients of the face at rest, as the camera's network sees it, order :data:`avatar.core.facs.ARKIT`."""

    @property
    def hertz(self) -> float:
        """The pitch's geometric mean."""
        return float(2.0**self.pitch)

    @property
    def semitones(self) -> float:
        """The pitch's standard deviation."""
        return 12.0 * self.deviation
