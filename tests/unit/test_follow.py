"""Coefficients by landmarks: a face that a tracker reads too weakly is followed by where it went."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_face import basis

from avatar.analysis.tracking import FaceTracker
from avatar.core.facs import INDEX, arkit_vector
from avatar.core.types import ExpressionCue, Ns, VideoFrame, zeros
from avatar.portrait.follow import SHARE, LandmarkFollower
from avatar.portrait.landmarks import DetectedFace

BLANK = np.zeros((64, 64, 3), np.uint8)


def face(shown: dict[str, float], read: dict[str, float] | None = None) -> DetectedFace:
    """A face that shows one thing, of which the network reads another."""
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[:468] = basis().landmarks(basis().shape(arkit_vector(shown))) * (15, -15, -15) + (256, 190, 0)
    return DetectedFace(landmarks, arkit_vector(shown if read is None else read), 0.0, 0.0, 0.0, (0.0, 0.0, 0.0))


def test_half_of_what_the_landmarks_say() -> None:
    follower = LandmarkFollower(basis())
    shapes = np.zeros(52)
    assert np.array_equal(follower.step(face({}), shapes), shapes), "before it has begun nothing changes"
    follower.begin(face({}))
    read = arkit_vector({"jawOpen": 0.2, "mouthSmileLeft": 0.4}).astype(np.float64)
    found = follower.step(face({"jawOpen": 0.6, "mouthSmileLeft": 0.4}), read)
    assert found[INDEX["jawOpen"]] == pytest.approx(0.4, abs=0.06)
    assert found[INDEX["mouthSmileLeft"]] == pytest.approx(0.4), "a smile is the network's"
    still = follower.step(face({}), shapes)
    assert np.abs(still).max() < 0.03
    assert SHARE[INDEX["eyeBlinkLeft"]] == SHARE[INDEX["mouthSmileLeft"]] == 0
    assert SHARE[INDEX["jawOpen"]] == 0.5


class Script:
    """A finder that sees one face after another."""

    def __init__(self, faces: list[DetectedFace]) -> None:
        self._faces = iter(faces)

    def detect(self, rgb: np.ndarray, time_ms: int | None = None) -> list[DetectedFace]:
        return [next(self._faces)]

    def close(self) -> None:
        pass


def test_the_tracker_takes_the_calmest_picture_for_rest() -> None:
    """A word in the first picture is no rest: the face is measured from the quiet one after it."""
    word, quiet = face({"jawOpen": 0.5}), face({})
    faces = [word, *[quiet] * 35, *[face({"jawOpen": 0.6}, {"jawOpen": 0.3})] * 10]
    tracker = FaceTracker(Script(faces), zeros(52), follower=LandmarkFollower(basis()))
    jaws = []
    for i in range(len(faces)):
        cues = tracker.step(VideoFrame(Ns(i * 33_333_333), BLANK))
        assert cues is not None
        (shown,) = (cue for cue in cues if isinstance(cue, ExpressionCue))
        jaws.append(float(shown.arkit[INDEX["jawOpen"]]))
    assert jaws[34] < 0.03
    assert jaws[-1] == pytest.approx(0.45, abs=0.07), "between the network's .3 and the face's .6"
