"""An avatar on disk: one folder with the portrait, its landmarks and its papers.

NAME/
  portrait.png     the square crop that the engines draw from, RGB, 512 to 1024 pixels a side
  landmarks.npy    float32 (478, 3): MediaPipe's points in pixels of portrait.png, z in the same scale as x
  avatar.json      title, consent, provenance, what the photo check said
  coefficients.npy float32 (52,): ARKit coefficients that the photo shows
  matte.png        optional: coverage by the person, grey, as large as portrait.png; without it, it is found anew
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from avatar.core.types import F32, U8, freeze
from avatar.errors import ConsentError, PhotoError, UsageError

Consent = Literal["self", "licensed", "synthetic"]
CONSENTS: tuple[Consent, ...] = ("self", "licensed", "synthetic")
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


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
    matte: U8 | None = None
    """(n, n) coverage of ``portrait`` by the person, 0 to 255; None = to be found (:mod:`avatar.portrait.matte`)."""

    def at_size(self, size: int) -> tuple[U8, F32]:
        """The portrait (size, size, 3) and the landmarks (478, 3) in its pixels."""
        scale = size / len(self.portrait)
        # Pixel centres lie on whole numbers, so a change of size moves the origin by half a pixel.
        landmarks = np.asarray(self.landmarks, np.float32) * np.float32(scale)
        landmarks[:, :2] += np.float32(0.5 * scale - 0.5)
        if scale == 1:
            return self.portrait, landmarks
        flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(self.portrait, (size, size), interpolation=flags), np.uint8), landmarks


def check_name(name: str) -> str:
    """Return ``name`` if it is usable as a folder and an address. Raises UsageError."""
    if not NAME_PATTERN.fullmatch(name):
        raise UsageError(f"avatar name {name!r}: use 1 to 40 of a-z, 0-9, - and _, starting with a letter or digit")
    return name


def check_consent(value: str) -> Consent:
    """Return ``value`` if it is a consent statement. Raises ConsentError."""
    for known in CONSENTS:
        if value == known:
            return known
    raise ConsentError(f"consent {value!r}: say who agreed: {', '.join(CONSENTS)}")


def save(bundle: AvatarBundle, folder: Path) -> None:
    """Write the bundle's files into ``folder`` (made where missing). Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    ok, png = cv2.imencode(".png", cv2.cvtColor(bundle.portrait, cv2.COLOR_RGB2BGR))
    if not ok:
        raise PhotoError("the portrait cannot be written as PNG; try another photo")
    (folder / "portrait.png").write_bytes(png.tobytes())
    np.save(folder / "landmarks.npy", bundle.landmarks)
    np.save(folder / "coefficients.npy", bundle.coefficients)
    if bundle.matte is not None:
        (folder / "matte.png").write_bytes(cv2.imencode(".png", bundle.matte)[1].tobytes())
    meta = asdict(bundle)
    for key in ("name", "portrait", "landmarks", "coefficients", "matte"):
        del meta[key]
    (folder / "avatar.json").write_text(json.dumps(meta, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load(folder: Path) -> AvatarBundle:
    """Read a bundle. Raises UsageError where it is not one, ConsentError where nobody agreed."""
    try:
        meta = json.loads((folder / "avatar.json").read_text(encoding="utf-8"))
        pixels = cv2.imdecode(np.frombuffer((folder / "portrait.png").read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        landmarks = np.load(folder / "landmarks.npy", allow_pickle=False).astype(np.float32)
        coefficients = np.load(folder / "coefficients.npy", allow_pickle=False).astype(np.float32)
        matte = _load_matte(folder / "matte.png", None if pixels is None else pixels.shape[:2])
    except (OSError, ValueError) as error:
        raise UsageError(f"avatar {folder.name}: not a readable avatar ({error}); create it again") from error
    if pixels is None or landmarks.shape != (478, 3) or coefficients.shape != (52,) or not isinstance(meta, dict):
        raise UsageError(f"avatar {folder.name}: its files do not fit together; create it again")
    if meta.get("consent") not in CONSENTS:
        raise ConsentError(f"avatar {folder.name} has no consent statement; create it again with --consent")
    return AvatarBundle(
        name=folder.name,
        title=str(meta.get("title", folder.name)),
        portrait=freeze(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)),
        landmarks=freeze(landmarks),
        coefficients=freeze(coefficients),
        consent=meta["consent"],
        created=str(meta.get("created", "")),
        provenance=str(meta.get("provenance", "")),
        warnings=tuple(map(str, meta.get("warnings", ()))),
        matte=matte,
    )


def _load_matte(file: Path, shape: tuple[int, ...] | None) -> U8 | None:
    """The matte, where there is one. Raises OSError, and ValueError where it does not fit the portrait."""
    if not file.is_file():
        return None
    matte = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    if matte is None or matte.shape != shape:
        raise ValueError("matte.png is not as large as the portrait; take it away or put it right")
    return freeze(matte)
