"""Face states from a JSON Lines file (:mod:`avatar.streams.wire`), and the sound that belongs to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from avatar.core.types import SECOND, AudioChunk, FaceState, LipCue, Ns
from avatar.errors import MediaError, UsageError
from avatar.streams.sources.media_file import audio_blocks
from avatar.streams.sources.paced import CHUNK, PacedAudioSource, chunk_at, resampled
from avatar.streams.wire import state_from_json

SOUNDS = (".wav", ".flac", ".ogg")


def sound_beside(path: Path) -> Path | None:
    """The sound of a states file: the one beside it that differs in its ending only. Its first sample is heard at the
    time of the first state."""
    return next((sound for ending in SOUNDS if (sound := path.with_suffix(ending)).is_file()), None)


def read_states(path: str | Path) -> Iterator[FaceState]:
    """The states of a file in order of time. Empty lines are skipped.

    Raises MediaError that names file and line: not JSON, an unknown key, a time that goes back, no state at all.
    """
    path = Path(path)
    last: FaceState | None = None
    try:
        # utf-8-sig: some editors put a byte order mark in front
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                state = _state(line, f"{path.name}, line {number}")
                if last is not None and state.pts < last.pts:
                    raise MediaError(f"{path.name}, line {number}: t goes back; sort the lines by time")
                last = state
                yield state
    except OSError as error:
        raise MediaError(f"{path} cannot be read ({error.strerror}); check the name") from error
    except UnicodeDecodeError:
        raise MediaError(f"{path.name} is not text; give a JSON Lines file of states") from None
    if last is None:
        raise MediaError(f"{path.name} holds no state; give one JSON object a line")


def _state(line: str, where: str) -> FaceState:
    try:
        return state_from_json(json.loads(line))
    except (json.JSONDecodeError, RecursionError) as error:
        what = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deep"
        raise MediaError(f"{where}: not JSON ({what}); write one object a line") from None
    except UsageError as error:
        raise MediaError(f"{where}: {error}") from None


class StatesSource(PacedAudioSource):
    """A states file as a live input: the sound beside it (:func:`sound_beside`), or silence, and the states' mouths as
    the script of that sound. Everything else of the face goes on living as it does with any voice.

    :param path: a states file.
    """

    name: ClassVar[str] = "states_file"

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self._path = Path(path)

    def check(self) -> None:
        next(read_states(self._path))

    def chunks(self) -> Iterator[AudioChunk]:
        states = list(read_states(self._path))
        sound = sound_beside(self._path)
        pieces = resampled(audio_blocks(sound)) if sound is not None else self._silence(states[-1].pts - states[0].pts)
        cues = [_lips(state, states[0].pts) for state in states]
        at = 0
        for chunk in pieces:
            begin = at
            while at < len(cues) and cues[at].pts < chunk.end:
                at += 1
            yield replace(chunk, lips=tuple(cues[begin:at]))

    @staticmethod
    def _silence(duration: int) -> Iterator[AudioChunk]:
        for i in range(duration * 50 // SECOND + 1):
            yield chunk_at(i, np.zeros(CHUNK, np.float32))


def _lips(state: FaceState, zero: Ns) -> LipCue:
    return LipCue(Ns(state.pts - zero), state.visemes, state.arkit, state.voiced)
