"""Do the four dialogue acts differ, do their strokes peak with the stressed syllables, and does the voice follow?

Everything is read from the states of ``avatar render --text``: the planned moves have by then been mixed with what the
voice does by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from avatar.analysis import dialogue
from avatar.analysis.dialogue import ACTS, RULES, Act, Stroke
from avatar.analysis.emotion import CLASSES, WEIGHTS_FILE, EmotionEstimator, EmotionReading
from avatar.analysis.features import FrameStream, Resampler
from avatar.analysis.prosody import yin
from avatar.analysis.vad import VAD_FILE, SileroVad, SpeechGate
from avatar.config import Config
from avatar.core import facs
from avatar.core.types import EMOTIONS, F32, SECOND, EmotionLabel, FaceState

FPS = 30
SENTENCES = (
    "You will bring the yellow umbrella to the station",
    "The train to Vienna leaves at seven",
    "We are going to need another bucket, and somebody who can carry it",
    "He told me about the garden behind the library",
)
LABELLED: tuple[tuple[str, Act], ...] = (
    ("Where is the station?", "ask"), ("Do you want some tea?", "ask"), ("You went there alone?", "ask"),
    ("What time is it", "answer"), ("Please open the window.", "request"), ("Could you help me with this?", "request"),
    ("Wait for me at the corner!", "request"), ("Would you close the door, please?", "request"),
    ("It is half past nine.", "answer"), ("Yes, I did.", "answer"), ("No.", "answer"), ("That is wonderful!", "answer"),
    ("It is late because the bridge was closed.", "explain"), ("First fold the paper, then cut it.", "explain"),
    ("There are three ways: by tram, by bus, or on foot.", "explain"),
)  # fmt: skip
"""What most people would take the sentence for; the one without a mark is there because melody alone does not tell."""
_BROWS = [facs.INDEX[n] for n in ("browInnerUp", "browOuterUpLeft", "browDownLeft")]


@dataclass(frozen=True, slots=True)
class Clip:
    """One sentence as one act."""

    states: list[FaceState]
    strokes: tuple[Stroke, ...]


def clip(text: str, act: Act) -> Clip:
    """The states of ``text`` at 30 a second, as the renderer would draw them."""
    from avatar.render import Input, plan
    from avatar.spoken import spoken

    config = Config()
    speech = spoken(text, act)
    made = plan(config, Input(text=text, act=act))
    return Clip(list(made.states), dialogue.plan(speech.marks, speech.clauses, act).strokes)


def track(states: Sequence[FaceState]) -> np.ndarray:
    """(n, 6): yaw, pitch and roll in degrees; inner and outer brow raised, brow lowered."""
    return np.array([(*state.head.euler, *state.arkit[_BROWS]) for state in states])


def peak_errors(made: Clip) -> list[tuple[float, bool]]:
    """Of each main stroke: frames from the head's peak to the stressed vowel's middle, and whether the peak lies in the
    vowel, give or take a frame."""
    head, found = track(made.states)[:, :3], []
    mains = [s for s in made.strokes if s.size == 1.0]
    for stroke in mains:
        shape = RULES[stroke.act].stroke
        axis = int(np.argmax(np.abs((shape.yaw, shape.pitch, shape.roll))))
        turn = _side(made.strokes, stroke)
        sign = np.sign((turn * shape.yaw, shape.pitch, turn * shape.roll)[axis])
        centre = round(stroke.at * FPS)
        first, last = max(0, centre - 6), min(len(head), centre + 7)
        peak = (first + int(np.argmax(sign * head[first:last, axis]))) / FPS
        inside = stroke.syllable.start_s - 1 / FPS <= peak <= stroke.syllable.end_s + 1 / FPS
        found.append(((peak - stroke.at) * FPS, inside))
    return found


def _side(strokes: Sequence[Stroke], stroke: Stroke) -> float:
    """Which side a swaying stroke goes to: they change sides within a clause, which ends with its main one."""
    place = strokes.index(stroke)
    before = 0
    while place - before - 1 >= 0 and strokes[place - before - 1].size < 1.0:
        before += 1
    return -1.0 if RULES[stroke.act].sway and before % 2 else 1.0


def distances(clips: dict[Act, Clip]) -> dict[str, float]:
    """Root mean square difference of two acts' head tracks in degrees, for every pair."""
    out = {}
    for a, b in combinations(ACTS, 2):
        x, y = track(clips[a].states), track(clips[b].states)
        n = min(len(x), len(y))
        out[f"{a}-{b}"] = round(float(np.sqrt(np.mean(np.sum((x[:n, :3] - y[:n, :3]) ** 2, axis=1)))), 2)
    return out


class _Listener(EmotionEstimator):
    """Keeps the encoder's answers, whether it trusts the voice or not."""

    def reset(self) -> None:
        super().reset()
        self.kept: list[np.ndarray] = []
        self.trusted: list[float] = []

    def _weigh(self, answers: F32, newest: F32, trust: float, enough: float) -> EmotionReading:
        self.kept.append(answers)
        self.trusted.append(trust)
        return super()._weigh(answers, newest, trust, enough)


def _heard(weights: Path, samples: np.ndarray, rate: int) -> tuple[np.ndarray, float]:
    """The encoder's mean answers (k,) to a recording, and its mean trust."""
    hops = FrameStream().push(Resampler(rate).process(samples))
    listener, vad, gate = _Listener(weights / WEIGHTS_FILE), SileroVad(weights / VAD_FILE), SpeechGate()
    hertz = yin(np.stack([hop.past for hop in hops]))
    for hop, (f0, confidence) in zip(hops, hertz, strict=True):
        gate.step(hop.level, vad.push(hop.new))
        listener.step(hop, f0, confidence, gate)
    return np.mean(listener.kept, axis=0), float(np.mean(listener.trusted))


def voices(weights: Path, text: str) -> dict[str, dict[str, float]]:
    """What each emotion does to the synthesizer's voice, and what the emotion encoder makes of the sound.

    ``score_change``: the encoder's answer for the asked emotion against the same voice's neutral; ``beyond_others``:
    against its mean over the other emotions asked for; ``trust``: how far it takes the voice for judgeable.
    """
    from avatar.spoken import pitches, spoken

    rows: dict[str, dict[str, float]] = {}
    answers: dict[str, np.ndarray] = {}
    for label in EMOTIONS:
        felt: tuple[EmotionLabel, float] = (label, 1.0)
        speech = spoken(text, "answer", emotion=felt)
        hertz = pitches(speech.samples, speech.rate)
        voiced = 12 * np.log2(hertz[hertz[:, 1] > 0.6, 0] / 100)
        answers[label], trust = _heard(weights, speech.samples, speech.rate)
        rows[label] = {
            "seconds": round(speech.duration, 2),
            "pitch_st": round(float(np.median(voiced)), 2),
            "range_st": round(float(np.subtract(*np.percentile(voiced, (90, 10)))), 2),
            "level_db": round(20 * float(np.log10(np.sqrt(np.mean(speech.samples**2)))), 1),
            "trust": round(trust, 2),
        }
    for label in EMOTIONS:
        if label in CLASSES:
            k = CLASSES.index(label)
            rows[label]["score_change"] = round(float(answers[label][k] - answers["neutral"][k]), 2)
            others = [name for name in EMOTIONS if name not in (label, "neutral")]
            rows[label]["beyond_others"] = round(float(answers[label][k] - np.mean([answers[o][k] for o in others])), 2)
    return rows


def acts(
    weights: Path,
    keep: Path | None = None,
    avatar: str = "lin",
    progress: Callable[[int, int], None] = lambda d, o: None,
) -> dict[str, Any]:
    """Judge the four acts. ``keep``: write a contact strip there."""
    rows: dict[str, dict[str, Any]] = {act: {"errors": [], "inside": []} for act in ACTS}
    apart: dict[str, list[float]] = {}
    first: dict[Act, Clip] = {}
    for k, text in enumerate(SENTENCES):
        clips = {act: clip(text, act) for act in ACTS}
        first = first or clips
        for act, made in clips.items():
            for error, inside in peak_errors(made):
                rows[act]["errors"].append(error)
                rows[act]["inside"].append(inside)
        for pair, value in distances(clips).items():
            apart.setdefault(pair, []).append(value)
        progress(k + 1, len(SENTENCES) + 1)
    guessed = [dialogue.guess(text) == act for text, act in LABELLED]
    result = {
        "task": "acts",
        "rows": {
            act: {
                "strokes": len(row["errors"]),
                "peak_error_frames_max": round(float(np.max(np.abs(row["errors"]))), 2),
                "peak_error_frames_mean": round(float(np.mean(np.abs(row["errors"]))), 2),
                "in_syllable": round(float(np.mean(row["inside"])), 3),
            }
            for act, row in rows.items()
        },
        "distance_deg": {pair: min(values) for pair, values in apart.items()},
        "guessed": f"{sum(guessed)}/{len(guessed)}",
        "voice": voices(weights, " ".join(f"{text}." for text in SENTENCES)),
    }
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        result["sheet"] = str(sheet(first, avatar, keep / "acts.png"))
    return result


def sheet(clips: dict[Act, Clip], avatar: str, path: Path) -> Path:
    """One row an act: before, preparation, the main stroke's peak, after it, the finishing gesture, its end."""
    import cv2

    from avatar.config import Config
    from avatar.labels import labelled, origin_of
    from avatar.models.expression.sheet import write_sheet
    from avatar.parts import find_avatar, make_engine
    from avatar.trust.provenance import session_of

    bundle = find_avatar(avatar)
    engine, asked = make_engine("head", bundle, 256), Config().avatar
    draw, rows = labelled(engine, asked, origin_of(bundle, "head", asked, session_of(bundle.portrait, "acts"))), []
    for act, made in clips.items():
        main = next(s for s in made.strokes if s.size == 1.0)
        end = made.states[-1].pts / SECOND
        moments = (0.0, main.at - 0.4, main.at, main.at + 0.3, main.at + 0.6, min(end, main.at + 0.9))
        pictures = [draw(made.states[min(len(made.states) - 1, max(0, round(t * FPS)))]) for t in moments]
        strip = np.hstack(pictures)
        cv2.putText(strip, act, (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255, 255, 255), 2, cv2.LINE_AA)
        rows.append(strip)
    write_sheet(path, np.vstack(rows))
    return path


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """For people."""
    rows = [[act, *(str(v) for v in row.values())] for act, row in result["rows"].items()]
    heads = ["act", "strokes", "worst, frames", "mean, frames", "in the syllable"]
    apart = [[pair, str(value)] for pair, value in result["distance_deg"].items()]
    keys = ("seconds", "pitch_st", "range_st", "level_db", "trust", "score_change", "beyond_others")
    voice = [[name, *(str(row.get(key, "-")) for key in keys)] for name, row in result["voice"].items()]
    voice_heads = ["emotion", "seconds", "pitch st", "range st", "dB", "trusted", "heard more", "than others"]
    return [
        ("The stroke's peak against the stressed vowel", heads, rows, [f"acts guessed: {result['guessed']}"]),
        ("Two acts apart, degrees", ["pair", "RMS"], apart, []),
        ("The voice", voice_heads, voice, []),
    ]
