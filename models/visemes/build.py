"""``avatar train visemes`` from one end to the other: corpus, features, network, ONNX file, thresholds."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from avatar.errors import UsageError
from avatar.models import registry
from avatar.models.data import corpus as corpora
from avatar.models.onnx_file import save

log = logging.getLogger(__name__)

MINUTES = 75.0
SETTLING = 0.15
"""Share of the time for the last phase."""
VAL_SECONDS = 300.0
"""Of speech by which the thresholds are chosen, for each kind."""


def default_corpus() -> Path:
    """Where the corpus is kept when nobody says where."""
    return Path(platformdirs.user_cache_dir("vultus")) / "viseme_corpus"


def build(
    target: Path, corpus: Path | None = None, minutes: float = MINUTES, resume: bool = False, data: Path | None = None
) -> dict[str, Any]:
    """Train the viseme network and write it to ``target``. Returns the figures that it was chosen by.

    :param corpus: folder of the corpus; made where there is none, which takes hours.
    :param minutes: of training proper. :param resume: go on from the last checkpoint.
    :param data: a folder with more real speech for a corpus that has to be made.

    Raises UsageError where the corpus has nothing to train on.
    """
    folder = corpus or default_corpus()
    if not (folder / corpora.MANIFEST).is_file():
        log.info("making the corpus in %s", folder)
        corpora.build(folder, data=data)
    work = folder.parent / f"{folder.name}-training"
    checkpoint = train(folder, work, minutes, resume)
    return finish(folder, checkpoint, target)


def train(folder: Path, work: Path, minutes: float, resume: bool = False, seed: int = 1) -> Path:
    """Features and training; returns the checkpoint. ``work`` keeps both."""
    from avatar.models.visemes.dataset import load, prepare
    from avatar.models.visemes.model import Shape
    from avatar.models.visemes.sampler import mean_shape
    from avatar.models.visemes.train import Trainer

    prepare(folder, work / "features")
    items = load(folder, work / "features")
    if not any(item.language for item in items):
        raise UsageError(f"{folder} has no speech to train on: make it with python -m avatar.models.data.corpus")
    trainer = Trainer(items, mean_shape(items), Shape(), work, seed)
    if resume and trainer.checkpoint.is_file():
        trainer.resume()
    log.info("%d utterances, %.1f minutes", len(items), sum(len(item.mel) for item in items) / 6000)
    trainer.run((1 - SETTLING) * minutes, workers())
    trainer.settle(SETTLING * minutes, workers())
    return trainer.checkpoint


def workers() -> int:
    """Processes that train: as many as there are cores, three at most; one where processes cannot be forked."""
    return min(3, os.cpu_count() or 1) if "fork" in multiprocessing.get_all_start_methods() else 1


def validation(folder: Path, seconds: float = VAL_SECONDS, seed: int = 3) -> list[corpora.Utterance]:
    """Utterances of voices kept for choosing thresholds: of each kind of speech as many as last ``seconds``, sources in
    turn."""
    from avatar.models.visemes.dataset import split_of
    from avatar.models.visemes.sampler import kind_of

    chosen = [row for row in corpora.rows(folder) if row["marks"] and split_of(row) == "val"]
    chosen = [chosen[i] for i in np.random.default_rng(seed).permutation(len(chosen))]
    out: list[corpora.Utterance] = []
    sources = {row["source"] for row in chosen}
    for source in sorted(sources):
        share = seconds / sum(kind_of(s) == kind_of(source) for s in sources)
        for row in (row for row in chosen if row["source"] == source):
            if share <= 0:
                break
            share -= row["seconds"]
            out.append(corpora.of_row(folder, row))
    return out


def finish(folder: Path, checkpoint: Path, target: Path) -> dict[str, Any]:
    """The checkpoint's averaged network as the file that ships, thresholds included. Returns them."""
    from avatar.models.visemes.export import onnx_bytes
    from avatar.models.visemes.train import load_net
    from avatar.models.visemes.tune import choose

    net, shape = load_net(checkpoint)
    about: dict[str, Any] = {
        "shape": [round(float(v), 3) for v in shape],
        "press_bias": {str(k): 0.0 for k in net.shape.heads},
    }
    save(target, onnx_bytes(net, about))
    items: Sequence[corpora.Utterance] = validation(folder)
    if items:
        about["press_bias"] = choose(registry.weights_dir(), target, list(items))
        save(target, onnx_bytes(net, about))
    else:
        log.warning("%s has no voices for validation: thresholds are left at one half", folder)
    return {"bytes": target.stat().st_size, "press_bias": json.dumps(about["press_bias"])}
