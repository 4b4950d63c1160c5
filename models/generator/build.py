"""``avatar train generator``: samples, training, ONNX files; and the same again without some people, for the judge.

The judge of expressions (``avatar eval expression``) may not show an engine people whom it has learnt from. So besides
the files that ship, which have seen everybody, there is one set for each fold, which has not seen that fold's people;
the judge takes it for them.
"""

from __future__ import annotations

import logging
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from avatar.errors import UsageError
from avatar.models import registry
from avatar.models.disjoint import FOLDS, fold_of, note, place
from avatar.models.expression import folders
from avatar.models.onnx_file import save

log = logging.getLogger(__name__)

STEPS = 5000


def build(
    data: Path, target: Path, minutes: float | None = None, resume: bool = False, seed: int = 0
) -> dict[str, Any]:
    """Train the corrector and write its two files, ``target`` and the portrait's beside it, and those of the folds.

    :param data: the bundle, with faces/london, faces/t2i and talking/obama.
    :param minutes: at most, of each of the trainings, which run side by side. :param resume: go on from the
        checkpoints, with the samples as they are.

    Raises UsageError where the bundle lacks something.
    """
    for part in ("faces/london", "faces/t2i", "talking/obama"):
        if not (data / part / "index.csv").is_file():
            raise UsageError(f"train generator: {data} has no {part}/index.csv; give the data bundle")
    work = Path(platformdirs.user_cache_dir("vultus")) / "generator"
    work.mkdir(parents=True, exist_ok=True)
    samples = work / "samples.npz"
    if not (resume and samples.is_file()):
        from avatar.models.generator.samples import make

        log.info("drawing samples into %s", samples)
        make(data, samples, registry.weights_dir())
    people = [person.name for person in folders.people(data / "faces" / "london")]
    runs: dict[str, tuple[Path, list[str]]] = {"all": (target, [])}
    for fold in range(FOLDS):
        unseen = [person for person in people if fold_of(person) == fold]
        runs[f"without{fold}"] = place(target, fold), unseen
    context = multiprocessing.get_context("spawn")  # a fork would take torch's threads along
    processes = [
        context.Process(target=_one, args=(samples, work / name, out, without, minutes, resume, seed), name=name)
        for name, (out, without) in runs.items()
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    failed = [process.name for process in processes if process.exitcode]
    if failed:
        raise UsageError(f"train generator: the run {failed[0]} did not finish; -v says why")
    return {"bytes": target.stat().st_size, "folds": FOLDS}


def _one(
    samples: Path, folder: Path, target: Path, without: list[str], minutes: float | None, resume: bool, seed: int
) -> None:
    """One training, in a process of its own."""
    logging.basicConfig(level=logging.INFO, format=f"%(levelname)s {folder.name}: %(message)s")
    from avatar.models.generator.samples import key_of
    from avatar.models.generator.train import Sampler, Trainer, sheet

    with np.load(samples) as file:
        made = {name: file[name] for name in file.files}
    trainer = Trainer(made, folder, {key_of(person) for person in without}, seed)
    if resume and trainer.checkpoint.is_file():
        trainer.resume()
    trainer.run(STEPS, minutes)
    write(trainer, target, without)
    sheet(*trainer.averaged(), Sampler(made, set(), 7), folder / "samples.png")


def write(trainer: Any, target: Path, without: list[str]) -> None:
    """The networks as files; ``without`` goes into the metadata."""
    from avatar.engines.corrector import PORTRAIT_FILE
    from avatar.models.generator.export import corrector_bytes, portrait_bytes

    portrait, net = trainer.averaged()
    target.parent.mkdir(parents=True, exist_ok=True)
    about = {"steps": trainer.steps, "without": without}
    for path, content in (
        (target, corrector_bytes(net, about)),
        (target.parent / PORTRAIT_FILE, portrait_bytes(portrait)),
    ):
        save(path, content)
        if without:
            note(path, without)
