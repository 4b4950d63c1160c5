"""Faces in a picture: 478 points, 52 coefficients and the pose of the head, by MediaPipe's Face Landmarker.

Point numbers are those of MediaPipe's face mesh; 468-472 and 473-477 are the irises (Kartynnik et al. 2019,
Ablavatski et al. 2020). The coefficients are its blend shape network's, put into the order of
:data:`avatar.core.facs.ARKIT`; it has no ``tongueOut``, which stays 0.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from avatar.core import facs
from avatar.core.geometry import matrix_to_euler
from avatar.core.types import F32, U8, freeze
from avatar.errors import ModelFileError

IRIS_RIGHT, IRIS_LEFT = 468, 473
"""Centres of the irises; sides are the subject's."""

FACE_OVAL: tuple[int, ...] = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""The face's outline in order, from the middle of the forehead towards the subject's left."""

POINTS = 478


@dataclass(frozen=True, slots=True)
class DetectedFace:
    """One face in a picture."""

    landmarks: F32
    """(478, 3) in pixels: x right, y down, z in the same scale, smaller = nearer."""
    coefficients: F32
    """(52,) in [0, 1], order :data:`avatar.core.facs.ARKIT`."""
    yaw: float
    """Degrees; axes and signs as in :mod:`avatar.core.geometry`."""
    pitch: float
    roll: float
    translation: tuple[float, float, float]
    """Millimetres from a virtual camera with 63 degrees of view: x right, y up, z towards the viewer (so negative).
    The face model's own size is assumed, so distances are only roughly true."""

    @property
    def eye_distance(self) -> float:
        """Distance of the iris centres in pixels."""
        return float(np.hypot(*(self.landmarks[IRIS_LEFT, :2] - self.landmarks[IRIS_RIGHT, :2])))

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the face's outline, in pixels."""
        outline = self.landmarks[list(FACE_OVAL), :2]
        (left, top), (right, bottom) = outline.min(0), outline.max(0)
        return float(left), float(top), float(right), float(bottom)

    def coefficient(self, name: str) -> float:
        """One coefficient by its ARKit name. Raises KeyError."""
        return float(self.coefficients[facs.INDEX[name]])


class LandmarkDetector:
    """MediaPipe's Face Landmarker on single pictures or on a video. Not shared between threads.

    A video's pictures must come with rising times; a face is then followed from one to the next instead of being
    searched for, and MediaPipe smooths its points.

    :param model: the file ``face_landmarker_v2.task``.
    :param mode: "image" or "video".
    :param faces: how many faces to look for at most.

    Raises ModelFileError where the file cannot be used or the library cannot be loaded.
    """

    def __init__(self, model: Path, mode: Literal["image", "video"] = "image", faces: int = 3) -> None:
        if not model.is_file():
            raise ModelFileError(f"model file {model} is missing; run: avatar models fetch")
        self._mode = mode
        self._last_ms = -1
        # The library announces itself and its graph on standard error, past Python.
        with _LOADING, _quiet_stderr():
            try:
                import mediapipe
                from mediapipe.tasks.python import BaseOptions, vision

                options = vision.FaceLandmarkerOptions(
                    base_options=BaseOptions(model_asset_path=str(model)),
                    running_mode=vision.RunningMode.VIDEO if mode == "video" else vision.RunningMode.IMAGE,
                    num_faces=faces,
                    output_face_blendshapes=True,
                    output_facial_transformation_matrixes=True,
                )
                self._net: Any = vision.FaceLandmarker.create_from_options(options)
            except OSError as error:  # libEGL or libGLESv2 is not installed
                raise ModelFileError(
                    f"MediaPipe cannot be loaded ({error}); on Debian: apt-get install libegl1 libgles2"
                ) from error
            except (RuntimeError, ValueError) as error:
                reason = (str(error).splitlines() or [""])[0][:120]
                raise ModelFileError(
                    f"model file {model.name} cannot be used ({reason}); run: avatar models fetch"
                ) from error
            self._wrap = mediapipe.Image
            self._format = mediapipe.ImageFormat.SRGB
            self._run(np.zeros((64, 64, 3), np.uint8), 0)  # the first run says more, and is slow

    def detect(self, rgb: U8, time_ms: int | None = None) -> list[DetectedFace]:
        """Faces in ``rgb`` (height, width, 3), largest first.

        :param time_ms: the picture's time, needed in a video. A time that does not rise is moved on by 1 ms.
        """
        height, width = rgb.shape[:2]
        result = self._run(rgb, time_ms)
        faces = [
            _face(points, shapes, matrix, width, height)
            for points, shapes, matrix in zip(
                result.face_landmarks, result.face_blendshapes, result.facial_transformation_matrixes, strict=True
            )
        ]
        return sorted(faces, key=lambda face: -face.eye_distance)

    def close(self) -> None:
        """Release the library's threads and memory. Safe to call twice."""
        net, self._net = getattr(self, "_net", None), None
        if net is not None:
            net.close()

    def __enter__(self) -> LandmarkDetector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, rgb: U8, time_ms: int | None) -> Any:
        if self._net is None:
            raise ValueError("the detector is closed")
        picture = self._wrap(image_format=self._format, data=np.ascontiguousarray(rgb))
        if self._mode == "image":
            return self._net.detect(picture)
        if time_ms is None:
            raise ValueError("a video's picture needs its time")
        self._last_ms = max(self._last_ms + 1, time_ms)
        return self._net.detect_for_video(picture, self._last_ms)


def _face(points: Any, shapes: Any, matrix: Any, width: int, height: int) -> DetectedFace:
    landmarks = np.array([(p.x * width, p.y * height, p.z * width) for p in points], np.float32)
    coefficients = np.zeros(len(facs.ARKIT), np.float32)
    for shape in shapes:
        if shape.category_name in facs.INDEX:  # all but "_neutral"
            coefficients[facs.INDEX[shape.category_name]] = min(1.0, max(0.0, shape.score))
    matrix = np.asarray(matrix, np.float64)
    yaw, pitch, roll = matrix_to_euler(matrix[:3, :3])
    x, y, z = (10.0 * float(v) for v in matrix[:3, 3])  # centimetres
    return DetectedFace(freeze(landmarks), freeze(coefficients), yaw, pitch, roll, (x, y, z))


_LOADING = threading.Lock()


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Send the process's standard error elsewhere for a moment; on failure of the body it is still shown nowhere,
    since the exception carries what matters."""
    try:
        saved = os.dup(2)
    except OSError:  # closed, as in a windowed program: nothing to silence
        yield
        return
    try:
        with tempfile.TemporaryFile() as sink:
            os.dup2(sink.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
