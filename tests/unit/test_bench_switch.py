"""`avatar bench switch`: what it calls a gap."""

from avatar.bench.switch import Taken
from avatar.core.types import MILLISECOND


def _sound(*at: float, missing: int = 0) -> list[tuple[float, int, int]]:
    """Chunks of 20 ms that came at these seconds; ``missing`` chunks are lost before the last."""
    places = [*range(len(at) - 1), len(at) - 1 + missing]
    return [(t, 20 * i * MILLISECOND, 20 * (i + 1) * MILLISECOND) for t, i in zip(at, places, strict=True)]


def test_sound_that_comes_in_time_is_not_late():
    taken = Taken(pictures=[0.0, 0.033, 0.066], sound=_sound(0.0, 0.02, 0.04, 0.06))
    assert taken.between(0, 1) == {"picture_gap_ms": 33.0, "sound_late_ms": 0.0, "sound_missing_ms": 0.0}


def test_a_wait_and_a_hole_are_seen():
    taken = Taken(pictures=[0.0, 0.2, 0.21], sound=_sound(0.0, 0.02, 0.09, missing=2))
    seen = taken.between(0, 1)
    assert seen["picture_gap_ms"] == 200.0
    assert seen["sound_late_ms"] == 50.0
    assert seen["sound_missing_ms"] == 40.0


def test_only_what_lies_between_counts_and_nothing_at_all_is_a_gap():
    taken = Taken(pictures=[0.0, 5.0], sound=_sound(0.0, 5.0))
    assert taken.between(1, 3) == {"picture_gap_ms": 2000.0, "sound_late_ms": 2000.0, "sound_missing_ms": 0.0}
