"""The tree is what it says it is: packages, links, import rules, file lengths."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"avatar": ROOT / "avatar", "avatar.streams": ROOT / "streams", "avatar.models": ROOT / "models"}
LINKS = ("streams", "models", "configs")

# Package -> the packages of ours that it may import (docs/architecture.md).
# fmt: off
RULES = {
    "avatar.core": {"avatar.core"},
    "avatar.sync": {"avatar.core", "avatar.sync"},
    "avatar.analysis": {
        "avatar.core",
        "avatar.analysis",
        "avatar.errors",
        "avatar.network",
        "avatar.portrait.landmarks",
    },
    "avatar.portrait": {
        "avatar.core",
        "avatar.portrait",
        "avatar.errors",
        "avatar.network",
        "avatar.storage",
        "avatar.store",
    },
    "avatar.store": {"avatar.store", "avatar.errors", "avatar.storage"},
    "avatar.engines": {"avatar.core", "avatar.portrait", "avatar.engines", "avatar.errors", "avatar.network"},
    "avatar.pipeline": {"avatar.core", "avatar.sync", "avatar.pipeline", "avatar.errors", "avatar.metrics"},
    "avatar.trust": {
        "avatar.core",
        "avatar.trust",
        "avatar.errors",
        "avatar.storage",
        "avatar.engines.badge",
        "avatar.engines.watermark",
        "avatar.portrait.consent",
    },
    "avatar.streams": {"avatar.core", "avatar.pipeline", "avatar.streams", "avatar.errors", "avatar.analysis.phonemes"},
}
# fmt: on
WIRING = {
    "assembly",
    "parts",
    "ends",
    "cli",
    "control",
    "doctor",
    "render",
    "calibrate",
    "own_head",
    "labels",
    "guided",
}
WIRING |= {"outputs", "head_export", "programs", "spoken"}
WIRING |= {"worker", "serve", "cost"}  # of avatar/scale: what puts sessions together
WHOLE = ("avatar.commands", "avatar.testing", "avatar.bench")


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in OURS.items():
        for path in folder.rglob("*.py"):
            relative = path.relative_to(folder).with_suffix("")
            if package == "avatar" and relative.parts[0] in LINKS:
                continue
            found[".".join((package, *relative.parts)).removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hints = {
        id(n)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for n in ast.walk(block)
    }
    names = set()
    for node in ast.walk(tree):
        if id(node) in hints:
            continue
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{a.name}" for a in node.names}
    return {n for n in names if n == "avatar" or n.startswith("avatar.")}


def test_pyproject_lists_every_package():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    in_tree = {name for name, path in modules().items() if path.name == "__init__.py"} | {"avatar.configs"}
    assert listed == in_tree


@pytest.mark.parametrize("name", LINKS)
def test_the_links_lead_to_the_folders(name):
    assert (ROOT / "avatar" / name).resolve() == ROOT / name


@pytest.mark.parametrize("name", ["streams", "models", "configs"])
def test_a_second_import_name_is_refused(name):
    run = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=ROOT, capture_output=True, text=True)
    assert f"import avatar.{name}, not {name}" in run.stderr


@pytest.mark.parametrize("package", RULES)
def test_a_package_imports_only_what_its_place_allows(package):
    wrong = []
    for name, path in modules().items():
        if name != package and not name.startswith(package + "."):
            continue
        for target in imports(path):
            if not any(
                target == ok or target.startswith(ok + ".") or ok.startswith(target + ".") for ok in RULES[package]
            ):
                wrong.append(f"{name} imports {target}")
    assert not wrong


def test_only_the_wiring_knows_streams_and_models():
    wrong = []
    for name, path in modules().items():
        inner = name.startswith(("avatar.streams", "avatar.models"))
        if inner or name.split(".")[-1] in WIRING or name.startswith(WHOLE):
            continue
        wrong += [f"{name}: {t}" for t in imports(path) if t.startswith(("avatar.streams", "avatar.models"))]
    assert not wrong


def test_no_file_needs_a_map():
    long = {}
    for folder in ("avatar", "streams", "models", "tests"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".js", ".css") and not path.is_symlink():
                lines = len(path.read_text(encoding="utf-8").splitlines())
                if lines > 500:
                    long[str(path.relative_to(ROOT))] = lines
    assert not long


def test_importing_the_package_is_quick_and_needs_no_device():
    code = (
        "import sys, avatar; sys.exit(any(m in sys.modules for m in ('mediapipe', 'sounddevice', 'torch', 'aiortc')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_weights_are_small_and_no_pickle():
    total = 0
    for path in (ROOT / "models" / "weights").rglob("*.*"):
        assert path.suffix in (".npz", ".onnx", ".npy") or path.name.endswith(".people.json"), path.name
        assert path.stat().st_size <= 6 * 2**20, path.name
        total += path.stat().st_size
    assert total <= 40 * 2**20


def test_every_file_of_a_fold_says_whom_it_has_not_seen():
    """One without its list would be mixed with shipped siblings: two halves of a network that never met."""
    folds = [path for path in (ROOT / "models" / "weights" / "without").rglob("*") if path.suffix in (".npz", ".onnx")]
    assert folds
    assert all(path.with_name(path.name + ".people.json").is_file() for path in folds)


def test_test_files_have_names_of_their_own():
    """Two of one name cannot be collected together: the folders of the tests are no packages."""
    names = [path.stem for path in (ROOT / "tests").rglob("*.py")]
    assert {name for name in names if names.count(name) > 1} <= {"conftest", "__init__"}
