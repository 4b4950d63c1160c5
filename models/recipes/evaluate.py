"""``avatar eval recipes``: what each learned recipe does on people whom it has not learnt from.

Each recipe judges its own file (:meth:`.base.Recipe.judge`). One that has not been trained here is said to be missing;
a figure that falls short of its goal is printed as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from avatar.errors import UsageError
from avatar.models.recipes import data as pictures

Progress = Callable[[int, int], None]

RECIPES: Mapping[str, tuple[str, str]] = {
    "unit_reader": ("avatar.models.recipes.reader", "Reader"),
    "pix2pix": ("avatar.models.recipes.pix2pix", "Pix2Pix"),
    "cyclegan": ("avatar.models.recipes.cyclegan", "CycleGan"),
    "stargan": ("avatar.models.recipes.stargan", "Stargan"),
    "exprgan": ("avatar.models.recipes.exprgan", "Exprgan"),
    "ganimation": ("avatar.models.recipes.ganimation", "Ganimation"),
    "dcgan": ("avatar.models.recipes.dcgan", "Dcgan"),
    "pixelrnn": ("avatar.models.recipes.pixelrnn", "PixelRecipe"),
    "interfacegan": ("avatar.models.recipes.interfacegan", "InterfaceGan"),
}
"""Name -> module and class; the file is what ``avatar train NAME`` writes."""
GOALS: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "ganimation": {"icc_mean": (0.7, 1.0), "leakage_mean": (0.0, 0.1), "mask_mean": (0.2, 0.95)},
    "stargan": {"icc_mean": (0.7, 1.0), "leakage_mean": (0.0, 0.1)},
    "interfacegan": {f"boundary_{name}": (0.95, 1.0) for name in ("smile", "old", "glasses", "right")},
    "exprgan": {"icc_mean": (0.7, 1.0), "leakage_mean": (0.0, 0.1), "intensity_spearman": (0.9, 1.0)},
}
"""Figure -> lowest and highest value that is wanted."""


def recipes(
    weights: Path,
    data: Path | None = None,
    engine: str = "all",
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """The figures ``rows.NAME``. Needs torch (the recipes' modules do).

    :param data: the bundle; its ``faces/t2i`` are drawn once. :param engine: names of recipes, or all.

    Raises UsageError where the data cannot be used or a recipe is not known.
    """
    if data is None:
        raise UsageError("eval recipes: give --data DIR, the bundle that holds faces/t2i")
    names = list(RECIPES) if engine == "all" else engine.split(",")
    if strange := [name for name in names if name not in RECIPES]:
        raise UsageError(f"no recipe named {strange[0]!r}; there are: {', '.join(RECIPES)}")
    faces = pictures.faces(data, progress)
    rows: dict[str, Any] = {}
    for number, name in enumerate(names):
        progress(number, len(names))
        files = sorted(weights.glob(f"{name}.*"))
        if not files:
            rows[name] = {"missing": f"not trained here; avatar train {name} --data DIR"}
            continue
        rows[name] = _recipe(name).judge(files[0], faces)
        if name == "unit_reader":
            rows[name] |= _ceiling(files[0], pictures.alone(data, progress))
        rows[name]["goals"] = _goals(name, rows[name])
    progress(len(names), len(names))
    return {"task": "recipes", "rows": rows, "people_held_out": len(set(faces.part("held").person.tolist()))}


def _ceiling(reader: Path, singles: pictures.Faces) -> dict[str, Any]:
    """What the judge says of the drawn truth of single units: nothing that it judges can be read as better."""
    from avatar.models.recipes.editing_judge import drawn

    found = drawn(singles.part("held"), reader)
    return {f"drawn_{key}" if key != "units" else key: value for key, value in found.items()}


def _recipe(name: str) -> Any:
    module, kind = RECIPES[name]
    try:
        return getattr(import_module(module), kind)
    except ModuleNotFoundError as error:
        raise UsageError(f"eval recipes: needs {error.name}; pip install 'vultus[train]'") from error


def _goals(name: str, row: Mapping[str, Any]) -> dict[str, bool]:
    """Whether each goal is met; pictures must beat the copy and the mean change."""
    met = {
        key: row.get(key) is not None and low <= row[key] <= high for key, (low, high) in GOALS.get(name, {}).items()
    }
    if "psnr_made" in row:
        met["beats_copy_and_mean"] = row["psnr_made"] > max(row["psnr_copy"], row["psnr_mean"])
    if "psnr_found" in row:
        met["beats_copy_and_mean"] = row["psnr_found"] > max(row["psnr_copy"], row["psnr_mean"])
    if "bits" in row:
        met["below_the_pixels'_own_histograms"] = row["bits"] < row["bits_by_pixel"]
    return met


def tables(result: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """Title, heads, rows and notes: a table a recipe."""
    made: list[tuple[str, list[str], list[list[str]], list[str]]] = []
    for name, row in result["rows"].items():
        if "missing" in row:
            made.append((f"{name}: {row['missing']}", ["figure", "value"], [], []))
            continue
        lines = [[key, f"{value:g}"] for key, value in row.items() if isinstance(value, int | float)]
        notes = [str(value) for key, value in row.items() if key.endswith("note")]
        notes += [f"{'reached' if met else 'NOT REACHED'}: {goal}" for goal, met in row["goals"].items()]
        made.append((name, ["figure", "value"], lines, notes))
        if "units" in row:
            heads = ["AU", *next(iter(row["units"].values()))]
            cells = [
                [unit, *(f"{found.get(head, float('nan')):g}" for head in heads[1:])]
                for unit, found in row["units"].items()
            ]
            made.append((f"{name}: units", heads, cells, []))
    return made
