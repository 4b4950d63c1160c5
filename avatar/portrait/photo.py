"""Reading a user's photo, whatever it is, into upright RGB.

Pillow reads it, because it tells size, format and number of pictures before it decodes anything, and knows colour
profiles. Every refusal is a :class:`avatar.errors.PhotoError` with one line.
"""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from avatar.core.types import U8
from avatar.errors import PhotoError

log = logging.getLogger(__name__)

MAX_MEGAPIXELS = 40
"""More than this is decoded only where the format can be decoded at a reduced size (JPEG)."""
MAX_JPEG_MEGAPIXELS = 175
MAX_SIDE = 4096
"""Larger pictures are scaled down: a portrait needs 1024 pixels."""
_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "JPEG2000", "PPM")
"""Those that people have photos in. Pillow knows many more, which only widen what a hostile file can reach."""
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientation (tag 274) -> what turns the picture upright. Pillow's rotations are anticlockwise."""
_GREY = 192
"""What shows through transparent pixels."""


def read_photo(source: Path | bytes) -> U8:
    """A photo as (height, width, 3) RGB in sRGB, turned upright by its EXIF orientation, at most 4096 pixels a side.

    Raises PhotoError (codes "missing", "empty", "format", "damaged", "animated", "large").
    """
    if isinstance(source, bytes):
        name, data = "the photo", source
    else:
        name = source.name
        try:
            data = source.read_bytes()
        except FileNotFoundError as error:
            raise PhotoError(f"{source}: there is no such file", "missing") from error
        except OSError as error:
            raise PhotoError(f"{source}: cannot be read ({error.strerror})", "missing") from error
    if not data:
        raise PhotoError(f"{name} is empty (0 bytes); choose another photo", "empty")
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd tags and large pictures; what matters is checked below, before anything is decoded.
            warnings.simplefilter("ignore")
            Image.init()  # else only the commonest formats are registered, and asking for another is a KeyError
            with Image.open(io.BytesIO(data), formats=[f for f in _FORMATS if f in Image.OPEN]) as image:
                return _decode(image, name)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc"):
            raise PhotoError(f"{name} is a HEIC photo; save it as JPEG or PNG first", "format") from error
        if isinstance(error, Image.DecompressionBombError):
            raise PhotoError(
                f"{name} is too large; scale it to {MAX_MEGAPIXELS} megapixels or less", "large"
            ) from error
        raise PhotoError(f"{name} is not a picture that can be read; use JPEG, PNG, WebP, AVIF or TIFF", "format"
                         ) from error  # fmt: skip
    except PhotoError:
        raise
    except Exception as error:  # a damaged file makes decoders raise whatever they like (OSError, RuntimeError, ...)
        raise PhotoError(f"{name} is damaged ({_short(error)}); save or copy it again", "damaged") from error


def _readable() -> list[str]:
    """The formats that this Pillow can open: AVIF and WebP are left out of some builds."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _decode(image: Image.Image, name: str) -> U8:
    # An MPO (a phone's photo with a depth map) and a TIFF hold several pictures that are not an animation.
    if getattr(image, "is_animated", False) and image.format in ("GIF", "PNG", "WEBP", "AVIF"):
        raise PhotoError(f"{name} is an animation; save one picture of it and use that", "animated")
    megapixels = image.width * image.height / 1e6
    reducible = image.format in ("JPEG", "MPO")
    if megapixels > (MAX_JPEG_MEGAPIXELS if reducible else MAX_MEGAPIXELS):
        raise PhotoError(
            f"{name} has {megapixels:.0f} megapixels; scale it to {MAX_MEGAPIXELS} or less, or save it as JPEG", "large"
        )
    profile, orientation = image.info.get("icc_profile"), image.getexif().get(0x0112, 1)
    if reducible and megapixels > MAX_MEGAPIXELS:
        # The decoder leaves out high frequencies; it keeps both sides at or above what is asked for.
        image.draft(None, (MAX_SIDE // 2, MAX_SIDE // 2))
    image.load()
    reduced = max(image.size) / MAX_SIDE
    if reduced > 1 and image.mode not in ("P", "1", "I", "F") and not image.mode.startswith("I;"):
        image = image.resize((round(image.width / reduced), round(image.height / reduced)), Image.Resampling.BOX,
                             reducing_gap=2.0)  # fmt: skip
    image = _to_rgb(image, profile)
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    if max(image.size) > MAX_SIDE:
        image = ImageOps.contain(image, (MAX_SIDE, MAX_SIDE), Image.Resampling.BOX)
    return np.array(image)


def _to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """8 bits of sRGB: 16 bits, palettes, transparency, CMYK and other colour spaces are converted."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        grey = np.asarray(image, np.float32)
        # A 16-bit picture fills 65535; anything else is stretched to its own largest value.
        top = 65535.0 if image.mode != "F" and grey.max() > 255 else max(float(grey.max()), 1e-6)
        return Image.fromarray(np.clip(grey * (255.0 / top), 0, 255).astype(np.uint8)).convert("RGB")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        layer = image.convert("RGBA")
        image = Image.new("RGBA", layer.size, (_GREY, _GREY, _GREY, 255))
        image.alpha_composite(layer)
        image = image.convert("RGB")
    if profile and image.mode in ("RGB", "CMYK", "L"):
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError) as error:
            log.info("colour profile ignored: %s", error)
    return image.convert("RGB")


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:80]
