"""``avatar train headpose`` from one end to the other: what the shipped head was learnt from, and learning it again."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avatar.analysis.features import RATE
from avatar.analysis.head_model import NEUTRAL
from avatar.core.types import F32
from avatar.models.data import corpus as corpora
from avatar.models.headpose.clips import HZ, Clip, Heard, clips_of_videos, hear
from avatar.models.headpose.generated import STYLES, move

log = logging.getLogger(__name__)

SECONDS_A_VOICE = 20.0
PAUSE_S = (0.25, 1.1)
"""Between two sentences of one voice."""


def speech(
    folder: Path, splits: Collection[str], seconds: float = SECONDS_A_VOICE, limit: int = 100
) -> Iterator[tuple[str, F32]]:
    """``(voice, sound (n,) at 16 kHz)`` of the corpus' Kokoro voices: their sentences one after the other, with pauses.

    The parts of a Kokoro corpus that are missing are made, which needs its downloads.
    """
    if not (folder / corpora.MANIFEST).is_file():
        log.info("making the speech in %s", folder)
        corpora.build(folder, parts=("kokoro",))
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in corpora.rows(folder):
        if row["source"] == "kokoro" and row["split"] in splits:
            rows[row["voice"]].append(row)
    for number, voice in enumerate(sorted(rows)[:limit]):
        random = np.random.default_rng((number, 0x70))
        pieces: list[F32] = [np.zeros(RATE // 2, np.float32)]
        spent = 0.0
        for row in rows[voice]:
            sound = corpora.of_row(folder, row).samples
            pause = np.zeros(int(random.uniform(*PAUSE_S) * RATE), np.float32)
            pieces += [sound.astype(np.float32), pause]
            spent += (len(sound) + len(pause)) / RATE
            if spent >= seconds:
                break
        yield voice, np.concatenate(pieces)


HEADS = 2
"""That are generated for each voice."""


def default_speech(corpus: Path | None) -> dict[str, Heard]:
    """What is heard in the training voices."""
    from avatar.models.visemes.build import default_corpus

    return {voice: hear(sound) for voice, sound in speech(corpus or default_corpus(), ("train",))}


def generated(heard: Mapping[str, Heard], emotion: str = NEUTRAL) -> list[Clip]:
    """Heads for voices, in an emotion."""
    return [
        move(each, HEADS * number + i, voice, emotion, rises=False)
        for number, (voice, each) in enumerate(heard.items())
        for i in range(HEADS)
    ]


def _seconds(clips: Sequence[Clip]) -> float:
    return round(sum(len(c.pose) for c in clips) / HZ, 1)


def build(
    target: Path, data: Path | None = None, corpus: Path | None = None, seed: int = 0, only: bool = False
) -> dict[str, Any]:
    """Learn the head model and write it to ``target``. Returns what it was learnt from and its size.

    :param data: a folder of videos with sound and one face each, or of tracks as in the data bundle.
    :param corpus: folder of the labelled speech that heads are generated for.
    :param only: nothing generated, the videos alone.

    Raises UsageError where there is nothing to learn from.
    """
    from avatar.models.headpose.learn import study, with_manner

    recorded = clips_of_videos(data) if data is not None else []
    heard = {} if only and data is not None else default_speech(corpus)
    made_up = generated(heard)
    # One man goes further than people on average: how far the shipped head goes is as published.
    found = study([*recorded, *made_up], seed=seed, sized_by=made_up)
    for emotion in STYLES if heard else ():
        if emotion != NEUTRAL:
            found = with_manner(found, emotion, generated(heard, emotion))
    seconds = {"recorded": _seconds(recorded), "generated": _seconds(made_up)}
    target.parent.mkdir(parents=True, exist_ok=True)
    found.model.save(target)
    made = {
        "seconds": seconds,
        "prosody": {"branches": found.prosody.branches, "states": found.prosody.states},
        "gesture": {"branches": found.gesture.branches, "states": found.gesture.states},
        "pairs": list(found.joint.choice.shape),
        "states": len(found.model.branch),
        "emotions": sorted(found.model.manners),
    }
    log.info("%s", json.dumps(made))
    return made
