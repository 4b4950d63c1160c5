"""Which data sets can be read, what they ask of their users and where to apply; and which one a folder holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from avatar.errors import DatasetError, UsageError
from avatar.models.data.faces.casme3 import CasMe3
from avatar.models.data.faces.ck import CohnKanade
from avatar.models.data.faces.oulu import OuluCasia
from avatar.models.data.faces.peal import CasPeal
from avatar.models.data.faces.rafd import Radboud
from avatar.models.data.faces.sample import FaceDataset


@dataclass(frozen=True, slots=True)
class Entry:
    """A set as `avatar datasets` lists it."""

    reader: type[FaceDataset]
    title: str
    holds: str
    licence: str
    """In one line; the agreement that one signs counts."""
    apply: str
    """Where, and who may."""
    layout: str

    @property
    def name(self) -> str:
        return self.reader.name


CATALOGUE: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            CohnKanade,
            "CK+ (extended Cohn-Kanade)",
            "593 sequences of 123 people, 327 labelled with one of 7 emotions, FACS codes, 68 landmarks",
            "research only, by agreement; only some subjects may be shown in print; not to be passed on",
            "Affect Analysis Group, University of Pittsburgh: https://www.pitt.edu/~jeffcohn/ (faculty or researchers)",
            "cohn-kanade-images/S005/001/*.png beside Emotion/ FACS/ Landmarks/",
        ),
        Entry(
            Radboud,
            "RaFD (Radboud Faces Database)",
            "8,040 pictures of 67 models: 8 expressions, 3 gazes, 5 cameras; children among the models",
            "non-commercial scientific research, by request from a research institution; not to be passed on",
            "Radboud University Nijmegen: https://rafd.socsci.ru.nl",
            "Rafd090_28_Caucasian_male_angry_frontal.jpg, all in one folder",
        ),
        Entry(
            CasMe3,
            "CAS(ME)^3, part A",
            "micro-expressions of 94 people with onset, apex, offset, action units and emotion; depth beside colour",
            "academic research, by agreement signed by staff; not to be passed on",
            "Institute of Psychology, Chinese Academy of Sciences: http://casme.psych.ac.cn",
            "spNO.1/a/color/*.jpg or Part_A_ME_clip/frame/spNO.1_a_166/*.jpg, and the label sheet (.xlsx)",
        ),
        Entry(
            OuluCasia,
            "Oulu-CASIA NIR&VIS",
            "six expressions of 80 people in near infra-red and visible light, three illuminations",
            "research only, by agreement; not to be passed on",
            "Center for Machine Vision and Signal Analysis, University of Oulu: https://www.oulu.fi/cmvs",
            "{NI,VL}/{Dark,Strong,Weak}/P001/Anger/*.jpeg",
        ),
        Entry(
            CasPeal,
            "CAS-PEAL-R1",
            "30,900 grey pictures of 1,040 people: pose, expression, accessories, light",
            "research only, by agreement; only some subjects may be shown in print; not to be passed on",
            "ICT-ISVISION Joint Laboratory, Chinese Academy of Sciences: http://www.jdl.ac.cn/peal",
            "FRONTAL/{Normal,Expression,...}/*.tif and POSE/000001/*.tif with FaceFP_2.txt",
        ),
    )
}


def recognise(folder: Path) -> FaceDataset | None:
    """The set that ``folder`` is laid out as; None for any other folder. Raises UsageError where it fits several."""
    found = [entry.reader(root) for entry in CATALOGUE.values() if (root := entry.reader.find(folder)) is not None]
    if len(found) > 1:
        names = ", ".join(reader.name for reader in found)
        raise UsageError(f"{folder}: holds several data sets ({names}); give one's own folder, or say --dataset NAME")
    return found[0] if found else None


def open_dataset(folder: Path, name: str) -> FaceDataset:
    """Raises UsageError for an unknown name, DatasetError where ``folder`` is not laid out as that set."""
    entry = CATALOGUE.get(name.lower())
    if entry is None:
        raise UsageError(f"no data set named {name!r}; there are: {', '.join(CATALOGUE)}")
    root = entry.reader.find(folder)
    if root is None:
        raise DatasetError(f"{folder}: not laid out as {entry.title}; expected is {entry.layout}")
    return entry.reader(root)
