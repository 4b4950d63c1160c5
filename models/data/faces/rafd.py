"""RaFD: the Radboud Faces Database (Langner, Dotsch, Bijlstra, Wigboldus, Hawk & van Knippenberg, Cognition & Emotion
2010).

Everything is in the name: ``Rafd090_28_Caucasian_male_angry_frontal.jpg`` is camera angle (000, 045, 090, 135, 180),
model, group (``Caucasian``, ``Moroccan``, ``Kid``), gender, expression and gaze (``left``, ``frontal``, ``right``).
Camera 090 is frontal; below it the model's right side is seen, so that the nose points to the picture's right
(:data:`YAW`). 67 models have numbers from 1 to 73. Children are marked as such, and the judges leave them out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, cast

from avatar.errors import DatasetError
from avatar.models.data.faces.files import PICTURES, below, entries
from avatar.models.data.faces.sample import FaceDataset, Sample, View

YAW = {"000": 90.0, "045": 45.0, "090": 0.0, "135": -45.0, "180": -90.0}
"""Camera -> yaw in degrees, positive = the nose towards the picture's right edge."""
LABELS = {
    "angry": "anger", "contemptuous": "contempt", "disgusted": "disgust", "fearful": "fear", "happy": "happiness",
    "neutral": "neutral", "sad": "sadness", "surprised": "surprise",
}  # fmt: skip
GROUPS = ("Caucasian", "Moroccan", "Kid")
_KID, _GENDERS, _GAZES = "Kid", ("female", "male"), ("left", "frontal", "right")
_NAME = re.compile(r"Rafd\d{3}_\d{2}_", re.IGNORECASE)
_SHAPE = "RafdANGLE_MODEL_GROUP_GENDER_EXPRESSION_GAZE.jpg"


class Radboud(FaceDataset):
    """Pictures."""

    name = "rafd"
    published = 67

    @classmethod
    def find(cls, folder: Path) -> Path | None:
        return next((path for path in below(folder) if any(_NAME.match(p.name) for p in entries(path))), None)

    def walk(self) -> Iterator[Sample]:
        for path in entries(self.root):
            if path.suffix.lower() in PICTURES and _NAME.match(path.name):
                yield parse(path)
            elif path.suffix.lower() in PICTURES:
                self.left_out.append(f"{path}: not a name of this set")


def parse(path: Path) -> Sample:
    """Raises DatasetError that says which field is none of the set's."""
    fields = path.stem.split("_")
    if len(fields) != 6:
        raise DatasetError(f"{path}: {len(fields)} fields between the '_'; 6 are expected ({_SHAPE})")
    camera, model, group, gender, expression, gaze = fields
    for value, known in (
        (camera[4:], tuple(YAW)),
        (group, GROUPS),
        (gender, _GENDERS),
        (expression, tuple(LABELS)),
        (gaze, _GAZES),
    ):
        if value not in known:
            raise DatasetError(f"{path}: {value!r} is none of {', '.join(known)}; names are {_SHAPE}")
    return Sample(
        name=path.stem,
        subject=model,
        pictures=(path,),
        expression=LABELS[expression],
        view=View(yaw=YAW[camera[4:]], gaze=cast(Literal["left", "frontal", "right"], gaze)),
        child=group == _KID,
        attributes=(("group", group), ("gender", gender)),
    )
