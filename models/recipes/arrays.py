"""Networks that run in torch alone, as one npz: weights in half precision, tables beside them, and what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from avatar.errors import ModelFileError

Arrays = dict[str, np.ndarray]


def save(target: Path, net: nn.Module, tables: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """All or nothing. ``tables`` keep their precision."""
    kept: dict[str, Any] = {}
    for name, value in net.state_dict().items():
        array = value.detach().cpu().numpy()
        kept[f"net.{name}"] = array.astype(np.float16) if array.dtype == np.float32 else array
    kept |= tables
    part = target.with_name(target.name + ".part")
    with part.open("wb") as file:
        np.savez_compressed(file, about=np.array(json.dumps(dict(about))), **kept)
    part.replace(target)


def load(file: Path, net: nn.Module) -> Arrays:
    """Fill ``net`` and hand out the tables. Raises ModelFileError where the file is missing or of another recipe."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        state = {k.removeprefix("net."): torch.from_numpy(v) for k, v in arrays.items() if k.startswith("net.")}
        net.load_state_dict({k: v.float() if v.dtype == torch.float16 else v for k, v in state.items()})
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelFileError(f"{file}: not the weights of this recipe; make them with avatar train") from error
    net.eval()
    return {k: v for k, v in arrays.items() if not k.startswith("net.")}
