"""A camera's pictures to coefficients, head pose, gaze and blinks of the largest face."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from avatar.analysis.micro import Magnifier, Micro, MicroSpotter
from avatar.core import facs
from avatar.core.geometry import from_euler, matrix_to_euler, to_matrix
from avatar.core.types import (
    F32,
    MILLISECOND,
    SECOND,
    U8,
    BlinkCue,
    Cue,
    ExpressionCue,
    Gaze,
    GazeCue,
    Ns,
    Pose,
    PoseCue,
    VideoFrame,
    freeze,
)
from avatar.portrait.landmarks import DetectedFace, LandmarkDetector

MAX_WIDTH = 640
"""Wider pictures are scaled down first: the networks look at 256 pixels of the face."""
CALIBRATION = SECOND
"""How long the face at rest is learned from."""
GAP = SECOND // 2
"""After a face was lost for this long, smoothing starts anew."""

HELD, RELEASE = 200 * MILLISECOND, 600 * MILLISECOND
"""How long the synchronizer holds a camera's last cues, and lets them go."""
RETURN = 300 * MILLISECOND
"""How long a face takes to come in again."""

MIRRORED = np.array(
    [facs.INDEX[name.replace("Left", "*").replace("Right", "Left").replace("*", "Right")] for name in facs.ARKIT]
)
"""(52,) place of each coefficient's opposite."""

_LID_SHUT = 0.6
"""MediaPipe's eyeBlink on shut eyes is 0.6 to 0.75, never 1."""
_MAX_REST = 0.4
"""More than this of a coefficient is an expression, not a resting face."""
_REST_QUANTILE = 0.3
"""Of the first second: below the median, so that a word or a blink during it does not count as rest."""
_BLINK = [facs.INDEX["eyeBlinkLeft"], facs.INDEX["eyeBlinkRight"]]
_LOOK = [i for i, name in enumerate(facs.ARKIT) if name.startswith("eyeLook")]


def resting(shapes: Sequence[F32] | NDArray[np.floating]) -> NDArray[np.float64]:
    """The face at rest (52,) out of coefficients (n, 52): a low quantile, since a word or a blink is no rest."""
    ordered = np.sort(np.asarray(shapes, np.float64), axis=0)
    found = np.minimum(_quantile(ordered, _REST_QUANTILE), _MAX_REST)
    # The eyes look to and fro around the middle, so theirs is the median.
    found[_LOOK] = _quantile(ordered, 0.5)[_LOOK]
    return found


def _quantile(ordered: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Of rows (n, k) that rise down each column, with straight lines between them, as numpy's, which takes four times
    as long: too long for every picture of a camera's first second."""
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return np.asarray(ordered[low] + (at - low) * (ordered[high] - ordered[low]))


class OneEuro:
    """A low-pass filter on a vector whose cut-off rises with speed: still when still, prompt when moving.

    Casiez, Roussel & Vogel, "1 EUR Filter", CHI 2012.

    :param slow: cut-off at rest, Hz.
    :param gain: Hz of cut-off for each unit a second of speed.
    """

    SPEED_CUTOFF = 2.0
    """Hz; of the estimate of the speed."""

    def __init__(self, slow: float, gain: float) -> None:
        self._slow, self._gain = slow, gain
        self.reset()

    def reset(self) -> None:
        self._value: NDArray[np.float64] | None = None
        self._speed: NDArray[np.float64] | float = 0.0
        self._time = 0

    def step(self, t: Ns, value: NDArray[np.floating]) -> NDArray[np.float64]:
        """The smoothed ``value`` at ``t``. A time that does not rise gives the last value again."""
        new = np.asarray(value, np.float64)
        if self._value is None:
            self._value, self._speed, self._time = new, np.zeros_like(new), t
            return new
        dt = (t - self._time) / SECOND
        if dt <= 0:
            return self._value
        self._speed = self._speed + self._share(self.SPEED_CUTOFF, dt) * ((new - self._value) / dt - self._speed)
        cutoff = self._slow + self._gain * np.abs(self._speed)
        self._value = self._value + self._share(cutoff, dt) * (new - self._value)
        self._time = t
        return self._value

    @staticmethod
    def _share(cutoff: NDArray[np.float64] | float, dt: float) -> NDArray[np.float64] | float:
        turn = 2 * math.pi * cutoff * dt
        return turn / (turn + 1)


class FaceFinder(Protocol):
    """What finds the points, coefficients and pose of a face: :class:`avatar.analysis.face_nets.FaceNets`, or
    MediaPipe's own way, :class:`avatar.portrait.landmarks.LandmarkDetector`."""

    def detect(self, rgb: U8, time_ms: int | None = None, /) -> list[DetectedFace]: ...

    def close(self) -> None: ...


class FaceTracker:
    """A stage from camera pictures to cues.

    The face and the pose during the first second count as rest: what is emitted is the difference. So a camera that
    looks up at its user, or a face whose corners of the mouth hang, gives a neutral avatar. While no face is seen
    nothing is emitted, and the synchronizer holds the last cues and lets them fade; when the face is back it comes in
    as smoothly as it went.

    :param finder: what looks at the pictures, or the file ``face_landmarker_v2.task`` for MediaPipe's own way. Raises
        ModelFileError where it cannot be used.
    :param neutral: (52,) this user's face at rest where it is known (:class:`avatar.analysis.speaker.Speaker`): then
        nobody has to look neutral in the first second.
    :param mirror: the avatar does what a mirror would show: turns to its right where the user turns left.
    :param micro_gain: how much movements of up to 200 ms that are too small to notice are enlarged; 1 = not.
    """

    def __init__(
        self, finder: FaceFinder | Path, neutral: F32 | None = None, mirror: bool = False, micro_gain: float = 1.0
    ) -> None:
        self._detector = LandmarkDetector(finder, mode="video", faces=1) if isinstance(finder, Path) else finder
        self._fed = -1
        self.neutral = neutral
        """Taken up by the next :meth:`calibrate` or :meth:`reset`."""
        self.mirror = mirror
        self.spotted: deque[Micro] = deque(maxlen=64)
        """Micro-expressions of this face, the newest last; they are known about 200 ms after their peak."""
        self._spotter, self._magnifier = MicroSpotter(), Magnifier(micro_gain)
        self.reset()

    def reset(self) -> None:
        """Forget the face, its rest included. The network stays loaded."""
        self._shift: int | None = None
        self._seen: Ns | None = None
        self._missed = False
        self._shape_filter = self.shape_smoothing()
        self._pose_filter = self.pose_smoothing()
        self._return = _Return()
        self._spotter.reset()
        self._magnifier.reset()
        self.calibrate()

    @staticmethod
    def shape_smoothing() -> OneEuro:
        """Of coefficients: a lid moves by 1 in a tenth of a second, so a blink passes nearly unchanged."""
        return OneEuro(slow=4.0, gain=8.0)

    @staticmethod
    def pose_smoothing() -> OneEuro:
        """Of degrees and millimetres: a head turns by 100 degrees a second."""
        return OneEuro(slow=3.0, gain=0.3)

    def calibrate(self) -> None:
        """Learn the face at rest anew from the next second."""
        self._rest = _Rest(self.neutral)

    def close(self) -> None:
        """Release the network. Safe to call twice."""
        self._detector.close()

    def step(self, frame: VideoFrame, /) -> tuple[Cue, ...] | None:
        """Cues for one picture: ExpressionCue, PoseCue, GazeCue and BlinkCue, or None where no face is seen."""
        faces = self._detector.detect(narrow(frame.pixels), self._milliseconds(frame.pts))
        if not faces:
            self._missed = True
            return None
        if self._seen is not None and (self._missed or not 0 <= frame.pts - self._seen <= GAP):
            self._shape_filter.reset()
            self._pose_filter.reset()
            self._return.lost()
        self._seen, self._missed = frame.pts, False
        return self._cues(frame.pts, faces[0])

    def _milliseconds(self, pts: Ns) -> int:
        """The detector's time: it rises whatever the session's time does, and keeps the distances between pictures."""
        ms = pts // MILLISECOND
        if self._shift is None or ms + self._shift < self._fed - 1000:  # the session's time began anew
            self._shift = self._fed + 40 - ms
        self._fed = max(self._fed + 1, ms + self._shift)
        return self._fed

    def _cues(self, pts: Ns, face: DetectedFace) -> tuple[Cue, ...]:
        angles = np.array((face.yaw, face.pitch, face.roll))
        self._rest.learn(pts, face.coefficients, angles, face.translation)
        raw = self._rest.shapes(face.coefficients)
        self.spotted.extend(self._spotter.step(pts, raw))
        shapes = self._shape_filter.step(pts, self._magnifier.step(pts, raw))
        pose = self._pose_filter.step(pts, np.array((*self._rest.angles(angles), *self._rest.place(face.translation))))
        shapes, pose, presence = self._return.step(pts, shapes, pose)
        arkit = np.clip(shapes, 0, 1).astype(np.float32)
        if self.mirror:
            arkit, pose = arkit[MIRRORED], pose * (-1, 1, -1, -1, 1, 1)
        yaw, pitch = facs.eye_look(arkit)
        # Beyond about 40 degrees the far half of the face is a guess.
        confidence = presence * float(np.clip((60 - abs(face.yaw)) / 20, 0.1, 1.0))
        left, right = float(arkit[_BLINK[0]]), float(arkit[_BLINK[1]])
        head = Pose(from_euler(pose[0], pose[1], pose[2]), (float(pose[3]), float(pose[4]), float(pose[5])))
        return (
            ExpressionCue(pts, freeze(arkit), confidence),
            PoseCue(pts, head, presence),
            # Behind a lid that is half shut the iris is not seen.
            GazeCue(pts, Gaze(yaw, pitch), confidence * float(np.clip(1.5 - 2 * max(left, right), 0, 1))),
            BlinkCue(pts, left, right, confidence),
        )


class _Return:
    """A face that comes back does not jump.

    After a short loss the face is still held where it was: the difference to where it is now fades. After a long one
    the synchronizer has let go of it: it comes in again by its confidence.
    """

    def __init__(self) -> None:
        self._last: Ns | None = None
        self._shown: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self._carry: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self._presence = 1.0
        self._since = 0
        self._back = False

    def lost(self) -> None:
        """There were pictures without the face since the last step."""
        self._back = True

    def step(
        self, pts: Ns, shapes: NDArray[np.float64], pose: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """Shapes (52,), pose (6,) and presence in [0, 1] to be shown."""
        gap = 0 if self._last is None else max(0, pts - self._last)
        self._last = pts
        if self._back and self._shown is not None:
            held = float(np.clip(1 - (gap - HELD) / RELEASE, 0, 1))
            self._presence, self._since = min(self._presence, held), 0
            self._carry = (self._shown[0] - shapes, self._shown[1] - pose) if held > 0 else None
        else:
            self._presence, self._since = min(1.0, self._presence + gap / RETURN), self._since + gap
        self._back = False
        left = float(np.clip(1 - self._since / RETURN, 0, 1))
        if self._carry is not None and left > 0:
            fade = left * left * (3 - 2 * left)
            shapes, pose = shapes + fade * self._carry[0], pose + fade * self._carry[1]
        self._shown = shapes, pose
        return shapes, pose, self._presence


class _Rest:
    """The face at rest: a low quantile of the coefficients and the median pose of the first second.

    :param known: (52,) coefficients at rest from a longer look at the same person. Rest is then the lower of both, for
        an expression can only add to it; where the eyes rest depends on the camera's place, so that is learnt anew.
    """

    def __init__(self, known: F32 | None = None) -> None:
        self._begin: Ns | None = None
        self._shapes: list[F32] = []
        self._poses: list[NDArray[np.float64]] = []
        self._known = None if known is None else known.astype(np.float64)
        self._neutral: NDArray[np.float64] = np.zeros(len(facs.ARKIT))
        self._pose: NDArray[np.float64] = np.zeros(6)
        self._back: NDArray[np.float64] = np.eye(3)

    def learn(self, pts: Ns, shapes: F32, angles: NDArray[np.float64], translation: tuple[float, float, float]) -> None:
        if self._begin is None:
            self._begin = pts
        if not 0 <= pts - self._begin <= CALIBRATION:
            return
        self._shapes.append(shapes)
        self._poses.append(np.array((*angles, *translation)))
        self._neutral = resting(self._shapes)
        if self._known is not None:
            look = self._neutral[_LOOK]
            self._neutral = np.minimum(self._neutral, self._known)
            self._neutral[_LOOK] = look
        self._pose = _quantile(np.sort(self._poses, axis=0), 0.5)
        self._back = to_matrix(from_euler(*self._pose[:3])).T

    def shapes(self, raw: F32) -> NDArray[np.float64]:
        """Coefficients (52,) relative to rest, rescaled so that the full expression still reaches 1."""
        full = np.ones(len(facs.ARKIT))
        full[_BLINK] = _LID_SHUT
        out = (raw - self._neutral) / np.maximum(full - self._neutral, 0.2)
        out[_LOOK] = self._look(raw)
        return np.clip(out, 0, 1)

    def _look(self, raw: F32) -> NDArray[np.float64]:
        # A gaze left of a resting gaze that is right of the middle is a gaze to the left: so through the angles.
        yaw, pitch = np.subtract(facs.eye_look(raw), facs.eye_look(self._neutral))
        look = np.zeros(len(facs.ARKIT), np.float32)
        facs.set_eye_look(look, float(yaw), float(pitch))
        return look[_LOOK].astype(np.float64)

    def angles(self, angles: NDArray[np.float64]) -> tuple[float, float, float]:
        """Yaw, pitch and roll relative to the resting head, about the resting head's own axes."""
        return matrix_to_euler(self._back @ to_matrix(from_euler(*angles)))

    def place(self, translation: tuple[float, float, float]) -> NDArray[np.float64]:
        """Millimetres from the resting place."""
        return np.array(translation) - self._pose[3:]


def narrow(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture (height, width, 3) at no more than :data:`MAX_WIDTH`."""
    height, width = pixels.shape[:2]
    if width <= MAX_WIDTH:
        return pixels
    return cv2.resize(pixels, (MAX_WIDTH, round(height * MAX_WIDTH / width)), interpolation=cv2.INTER_AREA)
