"""What `avatar calibrate` has learnt about the people who use this installation: each two files in the store.

``calibration.json`` says what it is, when and by which version it was made, and holds the voice and the resting face;
``head.npz`` is the head model. Both are for their owner's eyes only (mode 0600). Neither holds sound or pictures.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from avatar.analysis.calibration import AXES, Habits
from avatar.analysis.head_model import HeadModel
from avatar.analysis.speaker import Speaker
from avatar.core import facs
from avatar.core.types import freeze
from avatar.errors import AvatarError, ModelFileError, UsageError
from avatar.portrait.bundle import NAME_PATTERN
from avatar.store import Store
from avatar.store.takeover import CHOSEN_KEY

FORMAT = "vultus calibration"
FORMAT_VERSION = 1
ABOUT = "How one person moves the head while speaking, their pitch and their resting face. No sound, no pictures."
DEFAULT = "default"
"""In place of a name: the head that everybody gets."""
RESERVED = (DEFAULT, "auto", "none")
_JSON, _HEAD = "calibration.json", "head.npz"
_AGAIN = "calibrate again, or remove it with: avatar calibrate --delete --name"


@dataclass(frozen=True, slots=True, eq=False)  # arrays do not compare; one is the same as itself only
class Calibration:
    """One person's."""

    name: str
    made: str
    """Date and time, ISO 8601 with the offset from UTC."""
    program: str
    """Name and version of the program that made it."""
    speaker: Speaker
    habits: Habits
    head: HeadModel


class Calibrations:
    """Calibrations by name, and which one is in use.

    :param store: keeps them; every method that asks it raises StorageError where it does not answer.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def names(self) -> list[str]:
        """Sorted; those that cannot be read are among them, so that they can be removed."""
        return self.store.index().names("calibration")

    def stamp(self, name: str) -> str | None:
        """Changes when the calibration does; None where there is none of that name."""
        found = self.store.index().find("calibration", name)
        return None if found is None else found.digest

    def place(self, name: str) -> str:
        """For users: where a calibration is kept."""
        found = self.store.index().find("calibration", name)
        return str(self.store.root if found is None else self.store.place(found))

    def load(self, name: str) -> Calibration:
        """Raises UsageError for an unknown name, ModelFileError for one that is damaged or of another version."""
        file = self._known(name) / _HEAD
        about = self.about(name)
        try:
            if hashlib.sha256(file.read_bytes()).hexdigest() != about["head"]["sha256"]:
                raise ValueError("its head model is another file than the one that was written")
            neutral = facs.arkit_vector(about["neutral"])
            voice = about["voice"]
            speaker = Speaker(float(voice["pitch_log2_hz"]), float(voice["deviation_octaves"]), freeze(neutral))
            habits = _habits(about["habits"])
            made, program = str(about["made"]), str(about["program"])
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelFileError(f"calibration {name} is damaged ({error}); {_AGAIN} {name}") from error
        try:
            model = HeadModel.load(file)
        except ModelFileError as error:
            reason = str(error).partition(";")[0]  # its advice is for another model
            raise ModelFileError(f"calibration {name}: {reason}; {_AGAIN} {name}") from error
        return Calibration(name, made, program, speaker, habits, model)

    def about(self, name: str) -> dict[str, Any]:
        """What its description says, checked for being one of this version. Raises as :meth:`load`."""
        file = self._known(name) / _JSON
        try:
            about = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelFileError(f"calibration {name}: its description cannot be read; {_AGAIN} {name}") from error
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise ModelFileError(f"calibration {name}: its description is of something else; {_AGAIN} {name}")
        if about.get("format_version") != FORMAT_VERSION:
            raise ModelFileError(
                f"calibration {name} was made by another version ({about.get('program', 'unknown')}); {_AGAIN} {name}"
            )
        return about

    def save(
        self, name: str, made: str, program: str, speaker: Speaker, habits: Habits, write_head: Callable[[Path], object]
    ) -> Path:
        """Keep a calibration, in place of one of the same name; it appears complete or not at all. Returns a folder
        with a copy of its files.

        :param write_head: writes the head model to the path it is given.

        Raises UsageError for an unusable name, StorageError.
        """
        check_name(name)
        with self.store.scratch() as scratch:
            write_head(scratch / _HEAD)
            head = (scratch / _HEAD).read_bytes()
        about = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "about": ABOUT,
            "name": name,
            "made": made,
            "program": program,
            "head": {"file": _HEAD, "sha256": hashlib.sha256(head).hexdigest()},
            "voice": {"pitch_log2_hz": speaker.pitch, "deviation_octaves": speaker.deviation},
            "neutral": {k: round(float(v), 4) for k, v in zip(facs.ARKIT, speaker.neutral, strict=True)},
            "habits": asdict(habits),
        }
        with self.store.change() as change:
            change.put("calibration", name, {_HEAD: head, _JSON: (json.dumps(about, indent=1) + "\n").encode()})
        return self.store.folder("calibration", name)

    def delete(self, name: str) -> None:
        """Remove a calibration; the default head is in use again if it was. Raises UsageError, StorageError."""
        self._check_known(name)
        used = self._chosen() == name
        with self.store.change() as change:
            change.remove("calibration", name)
            if used:
                change.set(CHOSEN_KEY, DEFAULT)

    # --- which one is in use -----------------------------------------------------------------------------------

    def choose(self, name: str) -> None:
        """Use this one from now on; ``DEFAULT`` for none. Raises UsageError, StorageError."""
        if name != DEFAULT:
            self._check_known(name)
        with self.store.change() as change:
            change.set(CHOSEN_KEY, name)

    @property
    def chosen(self) -> str | None:
        """Name of the one in use; None for the default head."""
        name = self._chosen()
        return name if name in self.names() else None

    def _chosen(self) -> str:
        return self.store.index().settings.get(CHOSEN_KEY, DEFAULT)

    def _check_known(self, name: str) -> None:
        check_name(name)
        if name not in self.names():
            known = ", ".join(self.names()) or "none yet; make one with: avatar calibrate"
            raise UsageError(f"no calibration is called {name}; known: {known}")

    def _known(self, name: str) -> Path:
        self._check_known(name)
        return self.store.folder("calibration", name)


def check_name(name: str) -> None:
    """Raises UsageError for a name that cannot be one of a calibration."""
    if name in RESERVED or not NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a calibration; use a-z, 0-9, - and _, and none of {', '.join(RESERVED)}"
        )


def find(store: Calibrations, name: str) -> tuple[Calibration | None, str]:
    """The calibration that a configuration asks for, and what is wrong with it.

    :param name: "auto" = the chosen one, "none" = no one, else its name.

    A chosen one that cannot be used gives ``(None, line)``: the engine goes on with the default head. One asked for by
    name raises UsageError or ModelFileError.
    """
    if name == "none":
        return None, ""
    if name != "auto":
        return store.load(name), ""
    try:
        chosen = store.chosen
        return (None if chosen is None else store.load(chosen)), ""
    except AvatarError as error:
        return None, f"{error}. The default head is used."


def _habits(given: dict[str, Any]) -> Habits:
    seconds, speech, share, fps = (float(given[k]) for k in ("seconds", "speech_seconds", "face_share", "fps"))
    deviation, extent, speed = (
        {axis: float(given[key][axis]) for axis in AXES} for key in ("deviation", "extent", "speed")
    )
    every = [seconds, speech, share, fps, *deviation.values(), *extent.values(), *speed.values()]
    if not np.isfinite(every).all():
        raise ValueError("a figure is none")
    return Habits(seconds, speech, share, fps, deviation, extent, speed)
