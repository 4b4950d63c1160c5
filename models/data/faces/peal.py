"""CAS-PEAL-R1 (Gao, Cao, Shan, Chen, Zhou, Zhang & Zhao, IEEE Transactions on Systems, Man and Cybernetics A 2008).

``FRONTAL/{Accessory,Aging,Background,Distance,Expression,Lighting,Normal}/*.tif`` and ``POSE/000001/*.tif``, grey.
A name has twelve fields between ``_``, as in ``FY_000001_IEU+00_PM+00_EN_A0_D0_T0_BB_M0_R1_S0``:

== ======================================================== == =====================================================
1  gender F, M and age Y, M, O                              7  distance D0 to D2
2  subject, six digits                                      8  session T0 to T2
3  light: E ambient, F fluorescent, L incandescent;         9  background B blue, R red, D dark, Y yellow, W white
   U, M, D from above, level, below; azimuth                10 M: not described
4  pose: U, M, D looking up, level, down; azimuth           11 R1: may be published for some subjects (one name has D)
5  expression N, L, F, S, C, O                              12 S: not described
6  accessory A0 to A6
== ======================================================== == =====================================================

Beside the pictures lies ``FaceFP_2.txt``: a name without ending, then x and y of the eye on the picture's left and of
the one on its right. The lists under ``Evaluation Prototype`` name pictures with backslashes and without ending.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Literal

from avatar.errors import DatasetError
from avatar.models.data.faces.files import PICTURES, below, child, entries, folders, lines, numbers
from avatar.models.data.faces.sample import FaceDataset, Sample, View

EYES = "FaceFP_2.txt"
PARTS = ("Accessory", "Aging", "Background", "Distance", "Expression", "Lighting", "Normal")
LABELS = {
    "N": "neutral", "L": "happiness", "F": "frown", "S": "surprise", "C": "eyes closed", "O": "mouth open",
}  # fmt: skip
_LIGHTS = {"E": "ambient", "F": "fluorescent", "L": "incandescent"}
_HEIGHTS = {"U": "above", "M": "level", "D": "below"}
_PITCH: dict[str, Literal["up", "level", "down"]] = {"U": "up", "M": "level", "D": "down"}
_FIELDS = (
    ("gender and age", r"[FM][YMO]"),
    ("subject", r"\d{6}"),
    ("light", r"I[EFL][UMD][+-]\d\d"),
    ("pose", r"P[UMD][+-]\d\d"),
    ("expression", r"E[NLFSCO]"),
    ("accessory", r"A[0-6]"),
    ("distance", r"D[0-2]"),
    ("session", r"T[0-2]"),
    ("background", r"B[BRDYW]"),
    ("M", r"[A-Z]\d"),
    ("publication", r"[RD]\d"),
    ("S", r"[A-Z]\d"),
)
_NAME = re.compile(r"[FM][YMO]_\d{6}_I")
Eyes = tuple[tuple[float, float], tuple[float, float]]


class CasPeal(FaceDataset):
    """Pictures."""

    name = "cas-peal"
    published = 1040

    @classmethod
    def find(cls, folder: Path) -> Path | None:
        for path in below(folder):
            frontal = child(path, "FRONTAL")
            if (frontal is not None and any(child(frontal, part) for part in PARTS)) or _posed(child(path, "POSE")):
                return path
        return None

    def walk(self) -> Iterator[Sample]:
        frontal, pose = child(self.root, "FRONTAL"), child(self.root, "POSE")
        for place in (*(folders(frontal) if frontal else ()), *(folders(pose) if pose else ())):
            yield from self._folder(place)

    def _folder(self, place: Path) -> Iterator[Sample]:
        eyes = read_eyes(place / EYES) if (place / EYES).is_file() else {}
        found = [path for path in entries(place) if path.suffix.lower() in PICTURES]
        if found and not eyes:
            self.left_out.append(f"{place}: no {EYES}: its pictures come without eye points")
        for path in found:
            yield parse(path, eyes.get(path.stem))
        known = {path.stem for path in found}
        if missing := [name for name in eyes if name not in known]:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            self.left_out.append(f"{place / EYES}: no picture {missing[0]}{more}")

    def listed(self, name: str) -> Iterator[Sample]:
        """The samples of a list of the evaluation prototype: ``training``, ``gallery``, or a probe set by its name
        (``accessory``, ``expression`` ...). Raises DatasetError naming the list and the line."""
        path = self._list(name)
        known: dict[Path, dict[str, Path]] = {}
        eyes: dict[Path, dict[str, Eyes]] = {}
        for number, line in lines(path):
            parts = PureWindowsPath(line).parts
            folder = self.root
            for part in parts[:-1]:
                inner = child(folder, part)
                if inner is None:
                    raise DatasetError(f"{path}, line {number}: {line}: there is no folder {part} in {folder}")
                folder = inner
            if folder not in known:
                known[folder] = {p.stem: p for p in entries(folder) if p.suffix.lower() in PICTURES}
                eyes[folder] = read_eyes(folder / EYES) if (folder / EYES).is_file() else {}
            name_of = re.sub(r"\.(tiff?|bmp|jpe?g|png)$", "", parts[-1], flags=re.IGNORECASE)
            if name_of not in known[folder]:
                raise DatasetError(f"{path}, line {number}: {line}: there is no such picture")
            yield parse(known[folder][name_of], eyes[folder].get(name_of))

    def _list(self, name: str) -> Path:
        base = child(self.root, "Evaluation Prototype")
        if base is None:
            raise DatasetError(f"{self.root}: no folder 'Evaluation Prototype' in it; the lists are there")
        found = {p.stem.lower().removesuffix(" set").removeprefix("probe set_"): p for p in base.rglob("*.txt")}
        if name.lower() not in found:
            raise DatasetError(f"{base}: no list named {name!r}; there are: {', '.join(sorted(found)) or 'none'}")
        return found[name.lower()]


def _posed(pose: Path | None) -> bool:
    if pose is None:
        return False
    return any(_NAME.match(path.name) for inner in folders(pose)[:1] for path in entries(inner))


def read_eyes(path: Path) -> dict[str, Eyes]:
    """Name -> eye on the picture's left, eye on its right. Raises DatasetError naming file and line."""
    found: dict[str, Eyes] = {}
    for number, line in lines(path):
        name, *rest = line.split()
        left_x, left_y, right_x, right_y = numbers(path, number, " ".join(rest), 4)
        if left_x >= right_x:
            raise DatasetError(f"{path}, line {number}: the first eye ({left_x:g}) is not left of the second one")
        found[name] = (left_x, left_y), (right_x, right_y)
    return found


def parse(path: Path, eyes: Eyes | None = None) -> Sample:
    """Raises DatasetError that says which of the twelve fields is wrong."""
    fields = path.stem.split("_")
    if len(fields) != len(_FIELDS):
        raise DatasetError(f"{path}: {len(fields)} fields between the '_'; a name of this set has {len(_FIELDS)}")
    for number, (value, (what, shape)) in enumerate(zip(fields, _FIELDS, strict=True), 1):
        if re.fullmatch(shape, value) is None:
            raise DatasetError(f"{path}: field {number} ({what}) is {value!r}; {shape} is expected")
    light, pose = fields[2][1:], fields[3][1:]
    return Sample(
        name=f"{path.parent.name}/{path.stem}",  # the frontal pose is there twice, in Normal and in POSE
        subject=fields[1],
        pictures=(path,),
        expression=LABELS[fields[4][1]],
        # The sign of the pose's azimuth: with +, both eyes lie further right, as when the nose points there.
        view=View(
            yaw=float(pose[1:]),
            pitch=_PITCH[pose[0]],
            light=f"{_LIGHTS[light[0]]}, {_HEIGHTS[light[1]]}, {light[2:]}",
        ),
        eyes=eyes,
        attributes=(
            ("gender", fields[0][0]),
            ("age", fields[0][1]),
            ("accessory", fields[5][1:]),
            ("distance", fields[6][1:]),
            ("session", fields[7][1:]),
            ("background", fields[8][1:]),
            ("part", path.parent.name),
        ),
    )
