"""What was learnt of how a head moves with a voice, and its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar

import numpy as np

from avatar.analysis.head_features import FEATURES
from avatar.core.types import F32, freeze
from avatar.errors import ModelFileError

HEAD_FILE = "headpose.npz"
NEUTRAL = "neutral"


@dataclass(frozen=True, eq=False)
class Manner:
    """The gestures and postures of one emotion: G gestures of N states, beside the B prosody patterns of the model."""

    mean: F32
    """(G, N, 3) pitch, yaw, roll of the gestures' states in degrees away from the posture."""
    choice: F32
    """(B, G): how often each gesture goes with a pattern."""
    gain: F32
    """(3,) what averages and smoothing take away of the gestures, given back."""
    posture_sd: F32
    """(3,) degrees of the slow part of the motion, below ``POSTURE_HZ`` of ``models/headpose/clips.py``."""
    posture_seconds: F32
    """(3,) how long a posture lasts."""


@dataclass(frozen=True, eq=False)
class HeadModel:
    """B prosody patterns of N states each, S = B * N in all, and for each emotion what the head does with them."""

    VERSION: ClassVar[int] = 2

    branch: np.ndarray
    """(S,) which pattern a state belongs to, rising."""
    start: np.ndarray
    """(S,) probabilities."""
    transition: np.ndarray
    """(S, S) probabilities, from row to column."""
    prosody_mean: F32
    """(S, P) over :data:`avatar.analysis.head_features.FEATURES`."""
    prosody_sd: F32
    """(S, P)."""
    lasts: F32
    """(S,) hops that a state lasts: the durations by which the head knows where in a pattern it will be."""
    lasts_sd: F32
    """(S,)."""
    manners: Mapping[str, Manner]
    """By emotion; ``neutral`` is always there."""
    curves: F32 = field(default_factory=lambda: np.zeros((0, 6), np.float32))
    """(rows, 6) of how the sizes were chosen: modality (0 prosody, 1 gesture), branches, states, separation of the
    branches, log-likelihood of held-out frames, fitness."""

    @property
    def branches(self) -> int:
        """B."""
        return len(self.manners[NEUTRAL].choice)

    @property
    def states(self) -> int:
        """N."""
        return len(self.branch) // self.branches

    def save(self, path: Path) -> None:
        """Write all arrays to an npz file."""
        arrays = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "manners"}
        for label, manner in self.manners.items():
            arrays |= {f"{label}.{each.name}": getattr(manner, each.name) for each in fields(Manner)}
        with path.open("wb") as file:
            np.savez_compressed(file, version=np.int64(self.VERSION), features=np.array(FEATURES), **arrays)

    @classmethod
    def load(cls, path: Path) -> HeadModel:
        """Read what :meth:`save` wrote. Raises ModelFileError where the file is missing, damaged or of another
        version.
        """
        again = "train it again: avatar train headpose, or avatar calibrate for your own"
        try:
            with np.load(path, allow_pickle=False) as data:
                version = int(data["version"]) if "version" in data else 0
                if version != cls.VERSION or tuple(data["features"]) != FEATURES:
                    raise ModelFileError(
                        f"{path.name}: a head model of version {version}, this program reads {cls.VERSION}; {again}"
                    )
                labels = [key.partition(".")[0] for key in data.files if key.endswith(".mean")]
                manners = {
                    label: Manner(**{each.name: freeze(data[f"{label}.{each.name}"]) for each in fields(Manner)})
                    for label in labels
                }
                plain = {each.name: freeze(data[each.name]) for each in fields(cls) if each.name != "manners"}
                model = cls(**plain, manners=manners)
            model._check()
        except FileNotFoundError as error:
            raise ModelFileError(f"{path}: there is no such head model; {again}") from error
        except ModelFileError:
            raise
        except Exception as error:  # a damaged archive raises whatever its reader trips over
            raise ModelFileError(f"{path.name}: not a head model that can be read ({error}); {again}") from error
        return model

    def _check(self) -> None:
        s, p, b = len(self.branch), len(FEATURES), self.branches
        shapes: dict[str, tuple[np.ndarray, tuple[int, ...]]] = {
            "start": (self.start, (s,)), "transition": (self.transition, (s, s)),
            "prosody_mean": (self.prosody_mean, (s, p)), "prosody_sd": (self.prosody_sd, (s, p)),
            "lasts": (self.lasts, (s,)), "lasts_sd": (self.lasts_sd, (s,)),
        }  # fmt: skip
        for label, manner in self.manners.items():
            g = len(manner.mean)
            wanted = {
                "mean": (g, s // b, 3), "choice": (b, g), "gain": (3,), "posture_sd": (3,), "posture_seconds": (3,),
            }  # fmt: skip
            shapes |= {f"{label}.{name}": (getattr(manner, name), shape) for name, shape in wanted.items()}
            if (manner.choice.sum(1) <= 0).any():
                raise ValueError(f"{label}: a pattern goes with no gesture")
        for name, (array, shape) in shapes.items():
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"{name} is {array.shape}, not {shape}, or holds what is no number")
        if not np.array_equal(self.branch, np.repeat(np.arange(b), s // b)):
            raise ValueError("its branches are out of order")
        if (self.prosody_sd <= 0).any() or (self.lasts <= 0).any():
            raise ValueError("a deviation or a duration is not above 0")
