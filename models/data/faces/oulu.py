"""Oulu-CASIA NIR&VIS facial expressions (Zhao, Huang, Taini, Li & Pietikäinen, Image and Vision Computing 2011).

``{NI,VL}/{Dark,Strong,Weak}/P001/Anger/000.jpeg``: near infra-red or visible light, three illuminations, 80 subjects,
six expressions, each from neutral to its apex. Endings come as .jpeg, .jpg and .JPEG; some folders are missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from avatar.errors import DatasetError
from avatar.models.data.faces.files import below, child, folders, pictures
from avatar.models.data.faces.sample import FaceDataset, Sample, View

CAMERAS = {"NI": "near infra-red", "VL": "visible"}
LIGHTS = ("Dark", "Strong", "Weak")
LABELS = {
    "anger": "anger", "disgust": "disgust", "fear": "fear", "happiness": "happiness", "sadness": "sadness",
    "surprise": "surprise",
}  # fmt: skip
_SUBJECT = re.compile(r"[Pp]\d{3}")


class OuluCasia(FaceDataset):
    """Sequences: onset 0, apex the last picture."""

    name = "oulu-casia"
    published = 80

    @classmethod
    def find(cls, folder: Path) -> Path | None:
        for path in below(folder):
            cameras = [child(path, camera) for camera in CAMERAS]
            if any(camera and any(child(camera, light) for light in LIGHTS) for camera in cameras):
                return path
        return None

    def walk(self) -> Iterator[Sample]:
        for camera in CAMERAS:
            for light in LIGHTS:
                place = child(child(self.root, camera) or Path(), light) if child(self.root, camera) else None
                if place is None:
                    self.left_out.append(f"{self.root}: no folder {camera}/{light}")
                    continue
                for subject in folders(place):
                    if _SUBJECT.fullmatch(subject.name):
                        yield from self._subject(subject, camera, light)

    def _subject(self, folder: Path, camera: str, light: str) -> Iterator[Sample]:
        found = {path.name.lower(): path for path in folders(folder)}
        if unknown := sorted(found.keys() - LABELS.keys()):
            named = found[unknown[0]]
            raise DatasetError(f"{named}: {named.name!r} is no expression of this set ({', '.join(LABELS)})")
        for word, label in LABELS.items():
            shown = pictures(found[word]) if word in found else []
            if not shown:
                self.left_out.append(f"{folder}: no {word}" + (", the folder is empty" if word in found else ""))
                continue
            subject = folder.name.upper()
            yield Sample(
                name=f"{camera}_{light}_{subject}_{label}",
                subject=subject,
                pictures=tuple(shown),
                expression=label,
                view=View(light=f"{CAMERAS[camera]}, {light.lower()}"),
                onset=0,
                apex=len(shown) - 1,
                attributes=(("camera", camera), ("light", light)),
            )
