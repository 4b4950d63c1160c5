"""What ``avatar train`` can make, by name. Each recipe is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from avatar.errors import UsageError
from avatar.models import registry

Recipe = Callable[..., Any]

MODELS: dict[str, tuple[str, bool, Callable[[], Path]]] = {
    "head_basis": ("avatar.models.head_basis", True, lambda: registry.weights_dir() / "head_basis.npz"),
    "generator": ("avatar.models.generator", True, lambda: registry.weights_dir() / "generator.onnx"),
    "emotion": ("avatar.models.emotion.build", True, lambda: registry.weights_dir() / "emotion.npz"),
    "glasses": ("avatar.models.glasses.learning", True, lambda: registry.weights_dir() / "glasses.onnx"),
    "folds": ("avatar.models.folds", True, lambda: registry.weights_dir() / "folds.npz"),
    "headpose": ("avatar.models.headpose", False, lambda: registry.weights_dir() / "headpose.npz"),
    "visemes": ("avatar.models.visemes", False, lambda: registry.weights_dir() / "visemes.onnx"),
    "matte": ("avatar.models.matte", False, lambda: registry.weights_dir() / "matte.onnx"),
    "detector": ("avatar.models.trust.detector", True, lambda: registry.weights_dir() / "detector.npz"),
    "visemes_mfcc": (
        "avatar.models.visemes.judge.train_prototypes",
        False,
        lambda: registry.weights_dir() / "visemes_mfcc.npz",
    ),
    "map": ("avatar.models.laboratory.mapping", True, lambda: registry.weights_dir() / "map.npz"),
    "eri": ("avatar.models.laboratory.eri", True, lambda: registry.weights_dir() / "eri.npz"),
    "geometry": ("avatar.models.laboratory.geometry", True, lambda: registry.weights_dir() / "geometry.npz"),
    "coefficients": (
        "avatar.models.laboratory.coefficients",
        True,
        lambda: registry.weights_dir() / "coefficients.npz",
    ),
    "statistical": ("avatar.models.laboratory.statistical", True, lambda: registry.weights_dir() / "statistical.npz"),
    "retrieve": ("avatar.models.laboratory.retrieve", True, lambda: registry.weights_dir() / "retrieve.npz"),
    "pix2pix": ("avatar.models.recipes.pix2pix", True, lambda: registry.weights_dir() / "pix2pix.onnx"),
    "cyclegan": ("avatar.models.recipes.cyclegan", True, lambda: registry.weights_dir() / "cyclegan.onnx"),
    "exprgan": ("avatar.models.recipes.exprgan", True, lambda: registry.weights_dir() / "exprgan.onnx"),
    "ganimation": ("avatar.models.recipes.ganimation", True, lambda: registry.weights_dir() / "ganimation.onnx"),
    "stargan": ("avatar.models.recipes.stargan", True, lambda: registry.weights_dir() / "stargan.onnx"),
    "unit_reader": ("avatar.models.recipes.reader", True, lambda: registry.weights_dir() / "unit_reader.onnx"),
    "dcgan": ("avatar.models.recipes.dcgan", True, lambda: registry.weights_dir() / "dcgan.npz"),
    "pixelrnn": ("avatar.models.recipes.pixelrnn", True, lambda: registry.weights_dir() / "pixelrnn.npz"),
    "interfacegan": (
        "avatar.models.recipes.interfacegan",
        True,
        lambda: registry.weights_dir() / "interfacegan.npz",
    ),
    "avatars": ("avatar.models.data.composites", True, registry.avatars_dir),
}
"""Name -> module with ``build``, whether it needs ``--data``, where its result belongs."""


def train(name: str, data: Path | None, out: Path | None, **options: Any) -> dict[str, Any]:
    """Make a model again.

    :param options: what some recipes can be told besides (``corpus``, ``minutes``, ``resume``); None = not told.

    Raises UsageError for an unknown name or option, missing data or a missing training library.
    """
    if name not in MODELS:
        raise UsageError(f"no model named {name!r}; there are: {', '.join(sorted(MODELS))}")
    module, needs_data, place = MODELS[name]
    if needs_data and (data is None or not data.is_dir()):
        raise UsageError(f"train {name}: give the folder of its data with --data DIR")
    target = out or place()
    try:
        build: Recipe = import_module(module).build
        known = signature(build).parameters
        told = {key: value for key, value in options.items() if value is not None}
        if strange := sorted(set(told) - set(known)):
            raise UsageError(f"train {name}: --{strange[0]} means nothing for this model")
        if "data" in known and not needs_data and data is not None:
            told["data"] = data
        made = build(data, target, **told) if needs_data else build(target, **told)
    except ModuleNotFoundError as error:
        raise UsageError(f"train {name}: needs {error.name}; pip install 'vultus[train]'") from error
    return {"model": name, "file": str(target), **(made if isinstance(made, dict) else {})}
