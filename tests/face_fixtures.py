"""Folders in the exact layouts of the data sets of faces, with made pictures: no picture of any set is in them.

Every writer marks its folder with :data:`avatar.models.data.faces.sample.MADE`. ``paint(person, smiling)`` makes a
picture; the default is a few grey squares, which readers do not look at.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from avatar.core.types import U8
from avatar.models.data.faces.sample import MADE

Paint = Callable[[str, float], U8]


def squares(person: str, smile: float) -> U8:
    """(24, 24, 3), different for each person and degree."""
    value = (sum(person.encode()) * 7 + int(smile * 100)) % 200 + 30
    return np.full((24, 24, 3), value, np.uint8)


def put(path: Path, pixels: U8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ok, data = cv2.imencode(".jpg" if path.suffix.lower() in (".jpg", ".jpeg") else path.suffix, pixels[..., ::-1])
    assert ok
    path.write_bytes(data.tobytes())
    return path


def text(path: Path, words: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(words)
    return path


def mark(root: Path) -> Path:
    return text(root / MADE, "Pictures made for tests.\n").parent


def ck(root: Path, people: tuple[str, ...] = ("S005", "S010"), paint: Paint = squares) -> Path:
    """Sequence 001 happy and coded, 002 without a label (its folders are empty), 003 without any label folder; litter
    of two systems among them, and a sequence folder that holds nothing but litter."""
    for person in people:
        for sequence in ("001", "002", "003"):
            folder = root / "cohn-kanade-images" / person / sequence
            for frame in range(1, 12 if sequence == "001" else 4):
                smile = (frame - 1) / 10 if sequence == "001" else 0.0
                put(folder / f"{person}_{sequence}_{frame:08}.png", paint(person, smile))
                points = "\n".join(f"   {10 + i:.7e}   {20 + i / 2:.7e} " for i in range(68))
                stem = f"{person}_{sequence}_{frame:08}"
                text(root / "Landmarks" / person / sequence / f"{stem}_landmarks.txt", points + "\n")
            (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
        (root / "cohn-kanade-images" / person / ".DS_Store").write_bytes(b"\0Bud1")
        (root / "cohn-kanade-images" / person / "004").mkdir()
        (root / "cohn-kanade-images" / person / "004" / ".DS_Store").write_bytes(b"\0Bud1")
        stem = f"{person}_001_00000011"
        text(root / "Emotion" / person / "001" / f"{stem}_emotion.txt", "   5.0000000e+00\n")
        (root / "Emotion" / person / "002").mkdir()
        text(root / "FACS" / person / "001" / f"{stem}_facs.txt", _FACS)
        (root / "FACS" / person / "002").mkdir()
    return mark(root)


_FACS = "   6.0000000e+00   2.0000000e+00\n   1.2000000e+01   4.0000000e+00\n   2.5000000e+01   0.0000000e+00\n"


def rafd(root: Path, paint: Paint = squares) -> Path:
    """Two adults and a child with all gazes, and a side view."""
    for model, group, gender in (("28", "Caucasian", "male"), ("45", "Moroccan", "male"), ("63", "Kid", "female")):
        for expression in ("neutral", "happy", "contemptuous"):
            smile = float(expression == "happy")
            for gaze in ("left", "frontal", "right"):
                put(root / f"Rafd090_{model}_{group}_{gender}_{expression}_{gaze}.jpg", paint(model, smile))
        put(root / f"Rafd000_{model}_{group}_{gender}_happy_frontal.jpg", paint(model, 1.0))
    (root / "Thumbs.db").write_bytes(b"")
    return mark(root)


CASME3_COLUMNS = ("Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion")


def casme3_sheet(path: Path, rows: list[tuple[object, ...]], shaded: tuple[int, ...] = ()) -> Path:
    """``shaded``: positions in ``rows`` whose cells are filled with grey; white fills count as none."""
    import openpyxl
    from openpyxl.styles import PatternFill

    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(CASME3_COLUMNS)
    for row in rows:
        sheet.append(row)
    for cell in sheet[2]:
        cell.fill = PatternFill("solid", fgColor="FFFFFFFF")
    for position in shaded:
        for cell in sheet[position + 2]:
            cell.fill = PatternFill("solid", fgColor="FFD9D9D9")
    book.save(path)
    return path


def casme3(root: Path, paint: Paint = squares) -> Path:
    """One long video, one clip, a row whose pictures are missing, a shaded one and an empty one."""
    rows: list[tuple[object, ...]] = [
        ("spNO.1", "a", 3, 6, 9, "6+12", "I", "happy"),
        ("spNO.10", "b", 166, 175, 180, "L4+R7", "III", "disgust"),
        ("spNO.2", "c", 1, 2, 3, 4.0, "VII", "Others"),
        ("spNO.1", "a", 11, 12, 13, "4", "III", "fear"),
        (None,) * 8,
        ("spNO.1", "a", 14, 15, 16, None, None, None),
    ]
    casme3_sheet(root / "annotation" / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", rows, shaded=(3,))
    for frame in range(1, 20):
        put(root / "part_A" / "spNO.1" / "a" / "color" / f"{frame}.jpg", paint("spNO.1", float(frame == 6)))
        put(root / "part_A" / "spNO.1" / "a" / "depth" / f"{frame}.png", paint("spNO.1", 0.0))
    for frame in range(166, 181):
        put(root / "Part_A_ME_clip" / "frame" / "spNO.10_b_166" / f"{frame}.jpg", paint("spNO.10", 0.0))
    return mark(root)


def oulu(root: Path, paint: Paint = squares) -> Path:
    """Endings in three spellings, NI without Weak, P002 without Fear, an empty Sadness."""
    base = root / "OriginalImg"
    for camera, lights in (("NI", ("Dark", "Strong")), ("VL", ("Dark", "Strong", "Weak"))):
        for light in lights:
            for person in ("P001", "P002"):
                for expression in ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise"):
                    folder = base / camera / light / person / expression
                    if person == "P002" and expression == "Fear":
                        continue
                    folder.mkdir(parents=True, exist_ok=True)
                    if person == "P002" and expression == "Sadness":
                        continue
                    ending = {"Anger": "JPEG", "Fear": "jpg"}.get(expression, "jpeg")
                    for frame in range(3):
                        smile = frame / 2 if expression == "Happiness" else 0.0
                        put(folder / f"{frame:03}.{ending}", paint(person, smile))
    return mark(root)


PEAL = "{who}_{id:06}_I{light}_P{pose}_E{face}_A{worn}_D0_T0_BB_M0_R1_S0"


def peal_name(number: int = 1, who: str = "FY", **given: object) -> str:
    parts = {"light": "EU+00", "pose": "M+00", "face": "N", "worn": 0} | given
    return PEAL.format(who=who, id=number, **parts)


def peal(root: Path, paint: Paint = squares) -> Path:
    """Two people in FRONTAL and POSE, with eye points, a list with backslashes, and the name with D for R."""
    frontal: dict[str, list[str]] = {"Normal": [], "Expression": [], "Lighting": []}
    for number, who in ((1, "FY"), (2, "MM")):
        frontal["Normal"].append(peal_name(number, who))
        frontal["Expression"] += [peal_name(number, who, face=face) for face in "LFSCO"]
        frontal["Lighting"].append(peal_name(number, who, light="FM-45"))
    frontal["Lighting"].append(peal_name(1, light="LD+90").replace("_R1_", "_D1_"))
    for part, names in frontal.items():
        for name in names:
            put(root / "FRONTAL" / part / f"{name}.tif", paint(name[3:9], float("_EL_" in name)))
        eyes = "".join(f"{name}\t 141 222 217 220\r\n" for name in names)
        text(root / "FRONTAL" / part / "FaceFP_2.txt", eyes)
    for pose in ("M-45", "M+00", "U+22"):
        name = peal_name(1, pose=pose)
        put(root / "POSE" / "000001" / f"{name}.tif", paint("000001", 0.0))
    text(root / "POSE" / "000001" / "FaceFP_2.txt", f"{peal_name(1, pose='M-45')} 99 249 157 245\n")
    lists = root / "Evaluation Prototype"
    gallery = "".join(f"FRONTAL\\Normal\\{name}\r\n" for name in frontal["Normal"])
    text(lists / "Gallery" / "Gallery.txt", gallery)
    text(lists / "Training Set" / "Training Set.txt", gallery)
    text(lists / "Probe Sets" / "Probe Set_Expression.txt", f"FRONTAL\\Expression\\{frontal['Expression'][0]}\n")
    return mark(root)


WRITERS: dict[str, Callable[..., Path]] = {
    "ck+": ck,
    "rafd": rafd,
    "casme3": casme3,
    "oulu-casia": oulu,
    "cas-peal": peal,
}
