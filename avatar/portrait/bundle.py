"""An avatar on disk: one folder with the portrait, its landmarks and its papers.

NAME/
  portrait.png     the square crop that the engines draw from, RGB, 512 to 1024 pixels a side
  landmarks.npy    float32 (478, 3): MediaPipe's points in pixels of portrait.png, z in the same scale as x
  avatar.json      format, title, consent, provenance, what the photo check said
  consent.json     who agreed, what for, when, until when (:mod:`avatar.portrait.consent`)
  coefficients.npy float32 (52,): ARKit coefficients that the photo shows
  glasses.png      where there are glasses: 255 on their frame, of portrait.png's size
  smile.png, smile_landmarks.npy, smile_coefficients.npy   where there is a second photo, a smile: the same of it
  matte.png        optional: coverage by the person, grey, as large as portrait.png; without it, it is found anew

Format 1 had portrait, landmarks, avatar.json and coefficients, and no number in avatar.json; it still loads. Formats
before 3 came without consent.json: `avatar avatars grant NAME` adds it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from avatar.core.types import F32, U8, freeze
from avatar.errors import ConsentError, PhotoError, UsageError
from avatar.portrait import consent as papers
from avatar.portrait.consent import CONSENTS, Consent, ConsentRecord

FORMAT = 3
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True, slots=True)
class Smile:
    """A second photo of the same person, who smiles in it: what is their own about teeth and folds."""

    portrait: U8
    """(m, m, 3), RGB: the square crop of that photo."""
    landmarks: F32
    """(478, 3) in pixels of ``portrait``."""
    coefficients: F32
    """(52,) ARKit coefficients that it shows."""

    def at_size(self, size: int) -> Smile:
        """The same, (size, size, 3)."""
        return Smile(*_at_size(self.portrait, self.landmarks, size), self.coefficients)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report on a photo."""

    name: str
    """What was looked at: ``light``, ``sharpness`` and so on (:data:`avatar.portrait.report.NAMES`)."""
    grade: Literal["good", "fair", "poor"]
    text: str
    """For the user: what the photo shows and, where it is not good, what to do."""


@dataclass(frozen=True, slots=True)
class AvatarBundle:
    """A portrait that is ready to be drawn."""

    name: str
    title: str
    portrait: U8
    """(n, n, 3), RGB."""
    landmarks: F32
    """(478, 3) in pixels of ``portrait``; x right, y down, z smaller = nearer."""
    coefficients: F32
    """(52,) ARKit coefficients of the photo itself, in [0, 1]."""
    consent: Consent
    """Who agreed: the pictured person (self), a licence, or nobody because nobody is pictured (synthetic)."""
    created: str
    """ISO 8601, UTC."""
    provenance: str = ""
    warnings: tuple[str, ...] = ()
    """What the photo check said, one line each."""
    glasses: U8 | None = None
    """(n, n): 255 on the frame of glasses."""
    smile: Smile | None = None
    report: tuple[Finding, ...] = ()
    """How good the photo is, point by point."""
    matte: U8 | None = None
    """(n, n) coverage of ``portrait`` by the person, 0 to 255; None = to be found (:mod:`avatar.portrait.matte`)."""
    record: ConsentRecord | None = None
    """The papers behind ``consent``; None = not written yet."""
    folder: Path | None = None
    """Where it was read from; None = it is kept nowhere."""

    def at_size(self, size: int) -> tuple[U8, F32]:
        """The portrait (size, size, 3) and the landmarks (478, 3) in its pixels."""
        return _at_size(self.portrait, self.landmarks, size)

    def glasses_at(self, size: int) -> U8 | None:
        """(size, size): above 127 on the frame of glasses; None where there are none."""
        if self.glasses is None or size == len(self.glasses):
            return self.glasses
        flags = cv2.INTER_AREA if size < len(self.glasses) else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(self.glasses, (size, size), interpolation=flags), np.uint8)


def _at_size(portrait: U8, landmarks: F32, size: int) -> tuple[U8, F32]:
    scale = size / len(portrait)
    # Pixel centres lie on whole numbers, so a change of size moves the origin by half a pixel.
    landmarks = np.asarray(landmarks, np.float32) * np.float32(scale)
    landmarks[:, :2] += np.float32(0.5 * scale - 0.5)
    if scale == 1:
        return portrait, landmarks
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(portrait, (size, size), interpolation=flags), np.uint8), landmarks


def check_name(name: str) -> str:
    """Return ``name`` if it is usable as a folder and an address. Raises UsageError."""
    if not NAME_PATTERN.fullmatch(name):
        raise UsageError(f"avatar name {name!r}: use 1 to 40 of a-z, 0-9, - and _, starting with a letter or digit")
    return name


def save(bundle: AvatarBundle, folder: Path) -> None:
    """Write the bundle's files into ``folder`` (made where missing). Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_png(folder / "portrait.png", cv2.cvtColor(bundle.portrait, cv2.COLOR_RGB2BGR))
    np.save(folder / "landmarks.npy", bundle.landmarks)
    np.save(folder / "coefficients.npy", bundle.coefficients)
    if bundle.glasses is not None:
        _write_png(folder / "glasses.png", bundle.glasses)
    if bundle.smile is not None:
        _write_png(folder / "smile.png", cv2.cvtColor(bundle.smile.portrait, cv2.COLOR_RGB2BGR))
        np.save(folder / "smile_landmarks.npy", bundle.smile.landmarks)
        np.save(folder / "smile_coefficients.npy", bundle.smile.coefficients)
    if bundle.matte is not None:
        _write_png(folder / "matte.png", bundle.matte)
    meta = {
        "format": FORMAT,
        "title": bundle.title,
        "consent": bundle.consent,
        "created": bundle.created,
        "provenance": bundle.provenance,
        "warnings": list(bundle.warnings),
        "report": [asdict(finding) for finding in bundle.report],
    }
    record = bundle.record
    if record is None or record.kind != bundle.consent:
        record = ConsentRecord.given(bundle.consent, granted=bundle.created)
    papers.write(record, folder / papers.FILE)
    (folder / "avatar.json").write_text(json.dumps(meta, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_png(path: Path, pixels: U8) -> None:
    ok, png = cv2.imencode(".png", pixels)
    if not ok:
        raise PhotoError("the portrait cannot be written as PNG; try another photo")
    path.write_bytes(png.tobytes())


def load(folder: Path) -> AvatarBundle:
    """Read a bundle. Raises UsageError where it is not one, ConsentError without a valid consent record."""
    try:
        meta = json.loads((folder / "avatar.json").read_text(encoding="utf-8"))
        portrait, landmarks, coefficients = _read_face(folder, "portrait", "")
        smile = Smile(*_read_face(folder, "smile", "smile_")) if (folder / "smile.png").is_file() else None
        glasses = None
        if (folder / "glasses.png").is_file():
            glasses = _read_png(folder / "glasses.png", cv2.IMREAD_GRAYSCALE)
        matte = _read_matte(folder / "matte.png", portrait.shape[:2])
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"avatar {folder.name}: not a readable avatar ({error}); create it again") from error
    if not isinstance(meta, dict) or (glasses is not None and glasses.shape != portrait.shape[:2]):
        raise UsageError(f"avatar {folder.name}: its files do not fit together; create it again")
    if not isinstance(made_as := meta.get("format", 1), int) or made_as > FORMAT:
        raise UsageError(f"avatar {folder.name}: a newer version made it; update this one, or create it again")
    if meta.get("consent") not in CONSENTS:
        raise ConsentError(f"avatar {folder.name} has no consent statement; create it again with --consent")
    record = papers.required(folder)
    return AvatarBundle(
        name=folder.name,
        title=str(meta.get("title", folder.name)),
        portrait=portrait,
        landmarks=landmarks,
        coefficients=coefficients,
        consent=record.kind,
        created=str(meta.get("created", "")),
        provenance=str(meta.get("provenance", "")),
        warnings=tuple(map(str, meta.get("warnings", ()))),
        glasses=None if glasses is None else freeze(glasses),
        smile=smile,
        report=tuple(_findings(meta.get("report", ()))),
        matte=matte,
        record=record,
        folder=folder,
    )


def _read_matte(path: Path, shape: tuple[int, ...]) -> U8 | None:
    """The matte, where there is one. Raises OSError, and ValueError where it does not fit the portrait."""
    if not path.is_file():
        return None
    matte = _read_png(path, cv2.IMREAD_GRAYSCALE)
    if matte.shape != shape:
        raise ValueError("matte.png is not as large as the portrait; take it away or put it right")
    return freeze(matte)


def _read_png(path: Path, flags: int) -> U8:
    data = np.frombuffer(path.read_bytes(), np.uint8)
    pixels = cv2.imdecode(data, flags) if len(data) else None  # OpenCV takes nothing for a mistake of the program's
    if pixels is None:
        raise ValueError(f"{path.name} is no picture")
    return np.asarray(pixels, np.uint8)


def _read_npy(path: Path) -> F32:
    """Raises OSError, ValueError."""
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.float32)
    except OSError:
        raise
    except Exception as error:  # numpy's reader lets through whatever a damaged header makes it trip over
        raise ValueError(f"{path.name} is damaged") from error


def _read_face(folder: Path, picture: str, prefix: str) -> tuple[U8, F32, F32]:
    """Portrait, landmarks and coefficients of one photo. Raises OSError, ValueError."""
    pixels = _read_png(folder / f"{picture}.png", cv2.IMREAD_COLOR)
    landmarks, coefficients = (
        _read_npy(folder / f"{prefix}landmarks.npy"),
        _read_npy(folder / f"{prefix}coefficients.npy"),
    )
    if landmarks.shape != (478, 3) or coefficients.shape != (52,) or pixels.shape[0] != pixels.shape[1]:
        raise ValueError("its files do not fit together")
    return freeze(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)), freeze(landmarks), freeze(coefficients)


def _findings(rows: Any) -> Iterator[Finding]:
    """The report as it was written; a line that is none is left out."""
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and row.get("grade") in ("good", "fair", "poor"):
            yield Finding(str(row.get("name", "")), row["grade"], str(row.get("text", "")))
