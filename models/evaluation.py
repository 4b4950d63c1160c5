"""What ``avatar eval`` can judge, by name. Each task is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from avatar.errors import UsageError
from avatar.models import registry
from avatar.models.data.corpus import MANIFEST

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Task:
    """Something that can be judged."""

    module: str
    """Its function named like the task takes the weights' folder and :attr:`options` and gives a dict for JSON."""
    options: tuple[str, ...]
    """Which options of the command it knows."""
    text: str


TASKS: dict[str, Task] = {
    "visemes": Task(
        "avatar.models.visemes.judge.recognised",
        ("data", "corpus", "minutes"),
        "lips recognised from sound against the phonemes that were said",
    ),
    "quiet": Task(
        "avatar.models.visemes.judge.quiet",
        ("data", "corpus", "minutes"),
        "the mouth stays shut in noise, music and silence, and shuts when speech ends",
    ),
    "rendered": Task(
        "avatar.models.visemes.judge.rendered",
        ("corpus", "avatar", "keep"),
        "lips in the rendered video, found by MediaPipe, against the sound",
    ),
    "headpose": Task(
        "avatar.models.headpose.judge",
        ("data", "corpus", "keep"),
        "the head's motion with the voice: planted truth, recorded people, ten minutes live",
    ),
    "emotion": Task(
        "avatar.models.emotion.evaluate",
        ("data", "loso"),
        "emotion heard in recordings whose emotion is known, clip by clip and as a stream",
    ),
    "emotion_methods": Task(
        "avatar.models.emotion.methods",
        ("data",),
        "support vectors and small networks beside the matrix that hears emotion, speakers left out",
    ),
    "emotion_neutral": Task(
        "avatar.models.emotion.neutral",
        ("data",),
        "ten minutes of neutral reading: how much of it is heard as neutral, and how often that changes",
    ),
    "expression": Task(
        "avatar.models.expression.evaluate",
        ("data", "dataset", "expression", "engine", "limit", "units", "report", "keep"),
        "neutral portraits made to smile, against the same people's real smiles, or another expression",
    ),
    "laboratory": Task(
        "avatar.models.laboratory.evaluate",
        ("data", "limit", "keep"),
        "the classical methods: others' smiles, true landmarks, morphs halfway, views, seams, people held out",
    ),
    "recipes": Task(
        "avatar.models.recipes.evaluate",
        ("data", "engine"),
        "the learned recipes on people held out: units asked and read, expressions, pairs, cycles, likelihoods",
    ),
    "smile_photo": Task(
        "avatar.models.expression.second",
        ("data", "engine", "limit", "keep"),
        "the same with the smile as the second photo: how much of it comes back",
    ),
    "generator": Task(
        "avatar.models.expression.generator",
        ("data", "engine", "limit", "keep"),
        "single action units on many portraits: what is measured against what was asked",
    ),
    "feeling": Task(
        "avatar.models.expression.feeling",
        ("data", "avatar", "engine", "limit", "keep"),
        "emotions in the rendered video: action units found by MediaPipe, and lips that still close",
    ),
    "acts": Task(
        "avatar.models.inputs.acts",
        ("avatar", "keep"),
        "the four dialogue acts: strokes on stressed syllables, tracks that differ, a voice that follows the emotion",
    ),
    "camera": Task(
        "avatar.models.inputs.camera",
        ("video",),
        "a face in a video followed: frames, milliseconds, jitter of a still face, blinks, two ways compared",
    ),
    "reenact": Task(
        "avatar.models.inputs.reenact",
        ("video", "engine", "limit", "keep"),
        "a recorded face enacted by its own first frame, and looked at again",
    ),
    "micro": Task(
        "avatar.models.inputs.micro",
        ("video",),
        "small, short movements put into tracked faces: how many are found, by size",
    ),
    "detector": Task(
        "avatar.models.trust.detector",
        ("data", "keep", "minutes"),
        "our engines' output without its marks, told from photographs and video",
    ),
    "watermark": Task(
        "avatar.models.trust.watermark",
        ("data", "engine", "limit", "keep", "minutes"),
        "the invisible mark after codecs, scaling and crops, and on pictures that carry none",
    ),
    "steady": Task(
        "avatar.models.expression.steady",
        ("engine", "avatar", "minutes"),
        "half a minute of speech: the photo at rest, flicker, jitter and jumps",
    ),
}


def evaluate(name: str, options: Mapping[str, Any], progress: Progress = lambda done, of: None) -> dict[str, Any]:
    """Run a task. ``options`` that are None are left to the task's defaults.

    Raises UsageError for an unknown task, an option that it does not know or a library that is not installed.
    """
    task = TASKS.get(name)
    if task is None:
        raise UsageError(f"no task named {name!r}; there are: {', '.join(sorted(TASKS))}")
    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        if key not in task.options:
            raise UsageError(f"eval {name} has no --{key}; it has: {', '.join('--' + o for o in task.options)}")
    for key in ("data", "corpus"):
        path: Path | None = given.get(key)
        if path is not None and not path.exists():
            raise UsageError(f"--{key} {path}: there is no such folder")
        if key == "corpus" and path is not None and not (path / MANIFEST).is_file():
            raise UsageError(
                f"--corpus {path}: no corpus in it; python -m avatar.models.data.corpus --out DIR makes one"
            )
    try:
        run = getattr(import_module(task.module), name)
        result: dict[str, Any] = run(registry.weights_dir(), progress=progress, **given)
    except ModuleNotFoundError as error:
        raise UsageError(f"eval {name}: needs {error.name}; pip install 'vultus[test]'") from error
    return result


def table(result: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """What a task found as tables for people: title, heads, rows of cells, and lines below."""
    module = import_module(TASKS[result["task"]].module)
    made: list[tuple[str, list[str], list[list[str]], list[str]]] = module.tables(result)
    return made
