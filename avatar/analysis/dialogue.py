# ruff: noqa: RUF001 - phonetic signs and Chinese punctuation are meant
"""Dialogue acts: what head, brows, eyes and hands do with a sentence that asks, requests, answers or explains.

The three parts of a conversational gesture (basic, emphasizing, finishing) are those of Kim, Lee, Kim, Park & Bien,
"Automatic generation of conversational robot gestures for human-friendly steward robot", RO-MAN 2007 (KAIST). Strokes
peak with the stressed syllable (Loehr, "Temporal, structural, and pragmatic synchrony between intonation and gesture",
2012); brows rise on questions and emphasis (Ekman 1979); who explains looks away at first and back at the end, who asks
keeps looking (Kendon 1967). The degrees are ours.

:data:`RULES` is the whole policy; below it stands only how it is laid over the phonemes' times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from avatar.analysis.phonemes import ClauseMark, PhonemeMark, is_vowel
from avatar.core import facs
from avatar.core.types import ExpressionCue, Gaze, GazeCue, GestureCue, Move, Ns, Pose, PoseCue, freeze, seconds

Act = Literal["ask", "request", "answer", "explain"]
ACTS: tuple[Act, ...] = get_args(Act)


@dataclass(frozen=True, slots=True)
class Shape:
    """A place to go to: the head in degrees (axes of :mod:`avatar.core.geometry`), action units in [0, 1]."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    units: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rule:
    """How an act is shown."""

    posture: Shape
    """While the clause is spoken."""
    stroke: Shape
    """Added at the peak of the stressed syllable."""
    finish: Shape
    """In place of the posture when the clause has been said."""
    beats: tuple[str, ...]
    """Of the arms with the strokes, in turn."""
    last: str
    """Of the arms at the end."""
    hold: float
    """Seconds that the end is held: who asks waits for an answer."""
    others: float = 0.0
    """Strokes on the clause's other stresses, as a share of the main one; 0 = none."""
    sway: bool = False
    """Yaw and roll of the strokes change sides."""
    aside: tuple[float, float] = (0.0, 0.0)
    """Degrees of yaw and pitch that the eyes look away until the main stress; (0, 0) = at the partner all the time."""


# fmt: off
RULES: Mapping[Act, Rule] = {
    # Leans in with a tilted head and raised brows, lifts both at the stress, then waits with wide eyes.
    "ask": Rule(
        posture=Shape(pitch=2.0, roll=6.0, units={1: 0.4, 2: 0.4}),
        stroke=Shape(pitch=5.5, units={1: 0.5, 2: 0.6}),
        finish=Shape(pitch=4.0, roll=11.0, units={1: 0.75, 2: 0.85, 5: 0.4}),
        beats=("palm_up_right",), last="palms_up", hold=0.7,
    ),
    # Head bowed, eyes at the partner from below, inner brows up; bows at the stress and again, deeper, at the end.
    "request": Rule(
        posture=Shape(pitch=-6.0, roll=-3.0, units={1: 0.7, 4: 0.2}),
        stroke=Shape(pitch=-5.5, units={1: 0.3}),
        finish=Shape(pitch=-14.0, roll=-3.0, units={1: 0.9, 4: 0.3}),
        beats=("palms_together",), last="bow", hold=0.4,
    ),
    # Upright and level; one clear nod on the stress, one at the end, brows down to rest.
    "answer": Rule(
        posture=Shape(pitch=3.5),
        stroke=Shape(pitch=-9.0, units={2: 0.15}),
        finish=Shape(pitch=-4.0, units={6: 0.3, 7: 0.2}),
        beats=("beat_right",), last="hand_down", hold=0.2, others=0.5,
    ),
    # Turned a little away, brows together, eyes away while it is thought out; sways from stress to stress; turns back.
    "explain": Rule(
        posture=Shape(yaw=10.0, pitch=1.0, units={4: 0.5}),
        stroke=Shape(yaw=5.0, pitch=-2.5, roll=3.0, units={1: 0.3, 2: 0.5}),
        finish=Shape(yaw=-4.0, pitch=-2.0, units={2: 0.3}),
        beats=("beat_left", "beat_right"), last="palms_open", hold=0.4, others=0.8, sway=True, aside=(13.0, 5.0),
    ),
}
"""Act -> rule. The readable table of this module; degrees and intensities at a strength of 1."""
# fmt: on

BODY_GESTURES: tuple[str, ...] = tuple(
    dict.fromkeys(name for rule in RULES.values() for name in (*rule.beats, rule.last))
)
"""Every name that :attr:`avatar.core.types.FaceState.gesture` may have from here."""

RATE = 100
PREPARE, RETRACT = 0.22, 0.34
"""Seconds from rest to a stroke's peak, and back."""
SETTLE = 0.4
"""Seconds from one posture to the next."""
RISE, FALL = 0.25, 0.45
"""Of a finishing gesture."""
APART = 0.45
"""Seconds between two strokes, at least."""
CLEAR = 0.2
"""A finishing gesture does not begin before this much after the last peak."""
PRESENCE = 0.85
"""How far an act owns the head and brows; the rest is left to what the voice does by itself, so nothing is stiff."""
BETWEEN = 0.6
"""Share of the finishing gesture at the end of a clause that is not the sentence's last."""
QUESTION_RISE = 1.5
"""Semitones of final rise that make a question of a text without a mark at its end."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """One emphasis."""

    at: float
    """Seconds: the middle of the stressed vowel, where the movement peaks."""
    syllable: PhonemeMark
    """The stressed vowel."""
    act: Act
    size: float
    """1 = the clause's main stress."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the body does with a text."""

    acts: tuple[Act, ...]
    """Of each clause."""
    strokes: tuple[Stroke, ...]
    moves: tuple[Move, ...]
    """In order of ``pts``; they may go on for a second after the sound."""


# --- which act -----------------------------------------------------------------------------------------------------

_PLEASE = ("please", "kindly", "could you", "would you", "can you", "will you", "bitte", "por favor", "s'il vous plaît")
_REASONS = ("because", "therefore", "so that", "which means", "for example", "first", "then", "weil", "porque")

_STATEMENT = frozenset(
    ("i", "you", "he", "she", "it", "we", "they", "this", "that", "these", "those", "there", "here", "the", "a", "an",
     "my", "your", "our", "yes", "no", "what", "how", "who", "oh")
)  # fmt: skip
"""An exclamation that begins with one of these tells something; others ask for it (sit down!)."""


def guess(text: str, rise: float | None = None) -> Act:
    """The act of a sentence by its punctuation, a few words, and its melody.

    :param rise: semitones by which the voice rises at the end, where it is known.
    """
    sentence = " ".join(text.lower().split())
    mark = sentence.rstrip("\"')]»” ")[-1:]
    asks = mark in ("?", "？", "؟")
    if any(word in sentence for word in _PLEASE):
        return "request"
    if asks:
        return "ask"
    if mark in ("!", "！") and len(sentence.split()) > 1 and sentence.split()[0].strip(",") not in _STATEMENT:
        return "request"
    if mark not in tuple(".。…") and rise is not None and rise >= QUESTION_RISE:
        return "ask"
    if any(sentence.startswith(w + " ") or f" {w} " in sentence for w in _REASONS):
        return "explain"
    if any(c in sentence for c in ":;—") or len(sentence.split()) > 14:
        return "explain"
    return "answer"


def acts_of(clauses: Sequence[ClauseMark], act: Act | None, rises: Sequence[float] | None = None) -> tuple[Act, ...]:
    """The act of each clause; without one, that of the sentence which the clause belongs to."""
    if act is not None:
        return (act,) * len(clauses)
    found: list[Act] = []
    begin = 0
    for i, clause in enumerate(clauses):
        if clause.ends_sentence or i == len(clauses) - 1:
            sentence = " ".join(c.text for c in clauses[begin : i + 1])
            found += [guess(sentence, rises[i] if rises else None)] * (i + 1 - begin)
            begin = i + 1
    return tuple(found)


# --- when ----------------------------------------------------------------------------------------------------------


def stresses(marks: Sequence[PhonemeMark], clause: ClauseMark) -> list[PhonemeMark]:
    """The stressed vowels of a clause in order; of a language whose stress is not written, its longest vowel."""
    inside = [m for m in marks if clause.start_s <= m.start_s < clause.end_s and m.ipa.strip()]
    stressed = [m for m in inside if "ˈ" in m.ipa]
    if stressed:
        return stressed
    vowels = [m for m in inside if is_vowel(m.ipa)]
    return [max(vowels, key=lambda m: m.end_s - m.start_s)] if vowels else []


def _strokes(marks: Sequence[PhonemeMark], clause: ClauseMark, act: Act) -> list[Stroke]:
    """The main one lies on the clause's last stress, where English and its relatives have the nucleus."""

    def stroke(mark: PhonemeMark, size: float) -> Stroke:
        return Stroke(0.5 * (mark.start_s + mark.end_s), mark, act, size)

    found = stresses(marks, clause)
    if not found:
        return []
    made = [stroke(found[-1], 1.0)]
    for mark in reversed(found[:-1]):
        if RULES[act].others and made[0].at - stroke(mark, 1.0).at >= APART:
            made.insert(0, stroke(mark, RULES[act].others))
    return made


# --- laid over time --------------------------------------------------------------------------------------------------


class _Track:
    """Head (n, 3) in degrees and coefficients (n, 52), RATE a second."""

    def __init__(self, duration: float) -> None:
        n = math.ceil(duration * RATE) + 1
        self.t = np.arange(n) / RATE
        self.head: NDArray[np.float64] = np.zeros((n, 3))
        self.face: NDArray[np.float64] = np.zeros((n, len(facs.ARKIT)))
        self.eyes: NDArray[np.float64] = np.zeros((n, 2))

    def add(self, shape: Shape, weight: NDArray[np.float64], mirror: float = 1.0) -> None:
        self.head += weight[:, None] * np.array((mirror * shape.yaw, shape.pitch, mirror * shape.roll))
        self.face += weight[:, None] * facs.from_action_units(shape.units)


def _bump(t: NDArray[np.float64], begin: float, peak: float, leave: float, end: float) -> NDArray[np.float64]:
    """0 before ``begin``, 1 from ``peak`` to ``leave``, 0 after ``end``; raised cosines between."""
    up = np.clip((t - begin) / max(1e-3, peak - begin), 0, 1)
    down = np.clip((end - t) / max(1e-3, end - leave), 0, 1)
    return np.asarray(0.25 * (1 - np.cos(np.pi * up)) * (1 - np.cos(np.pi * down)), np.float64)


def plan(
    marks: Sequence[PhonemeMark],
    clauses: Sequence[ClauseMark],
    act: Act | None = None,
    rises: Sequence[float] | None = None,
    strength: float = 1.0,
) -> Plan:
    """What head, brows, eyes and hands do with a spoken text.

    :param marks: the phonemes' times. :param clauses: in order.
    :param act: of the whole text; None = guessed for each sentence.
    :param rises: semitones of each clause's final rise, for guessing.
    :param strength: 0 = nothing, 1 = as in the table.
    """
    if not clauses:
        return Plan((), (), ())
    acts = acts_of(clauses, act, rises)
    last = RULES[acts[-1]]
    track = _Track(clauses[-1].end_s + RISE + last.hold + FALL)
    strokes: list[Stroke] = []
    gestures: list[GestureCue] = []
    for i, (clause, kind) in enumerate(zip(clauses, acts, strict=True)):
        rule, begins = RULES[kind], 0.0 if i == 0 else clauses[i].start_s
        made = _strokes(marks, clause, kind)
        final = clause.ends_sentence or i == len(clauses) - 1
        done = max(clause.end_s - RISE / 2, made[-1].at + CLEAR) if made else clause.end_s
        following = clauses[i + 1].start_s if i + 1 < len(clauses) else math.inf
        _add_clause(track, rule, begins, done, following, final)
        for k, stroke in enumerate(made):
            turn = -1.0 if rule.sway and k % 2 else 1.0
            begin = max(0.0, stroke.at - PREPARE)
            track.add(rule.stroke, stroke.size * _bump(track.t, begin, stroke.at, stroke.at, stroke.at + RETRACT), turn)
            name = rule.beats[k % len(rule.beats)]
            gestures.append(GestureCue(seconds(begin), name, seconds(stroke.at), seconds(stroke.at + RETRACT)))
        if any(rule.aside) and made:
            track.eyes += _bump(track.t, begins, begins + 0.06, made[-1].at - 0.1, made[-1].at - 0.04)[
                :, None
            ] * np.array(rule.aside)
        if final:
            peak = done + RISE
            gestures.append(GestureCue(seconds(done), rule.last, seconds(peak), seconds(peak + rule.hold + FALL)))
        strokes += made
    return Plan(acts, tuple(strokes), _cues(track, gestures, clauses[-1].end_s, last.hold, strength))


def _add_clause(track: _Track, rule: Rule, begins: float, done: float, following: float, final: bool) -> None:
    """Posture, and the finishing gesture in its place."""
    half = SETTLE / 2
    share = 1.0 if final else BETWEEN
    posture = _bump(track.t, begins - half, begins + half, done, done + RISE)
    leave = min(done + RISE + rule.hold, following)
    end = _bump(track.t, done, done + RISE, max(done + RISE, leave), max(done + RISE, leave) + FALL)
    track.add(rule.posture, posture + (1 - share) * end)
    track.add(rule.finish, share * end)


def _cues(track: _Track, gestures: Sequence[GestureCue], said: float, hold: float, strength: float) -> tuple[Move, ...]:
    end = said + RISE + hold
    present = PRESENCE * _bump(track.t, -1e-3, 0.25, end, end + FALL)
    out: list[Move] = []
    for i, t in enumerate(track.t):
        pts, sure = Ns(round(t * 1e9)), float(present[i])
        yaw, pitch, roll = strength * track.head[i]
        arkit = np.clip(strength * track.face[i], 0, 1).astype(np.float32)
        eyes = np.radians(strength * track.eyes[i])
        out.append(PoseCue(pts, Pose.degrees(yaw, pitch, roll), sure))
        out.append(ExpressionCue(pts, freeze(arkit), sure))
        # The head's pitch is taken back by the eyes: who bows still looks at the partner.
        out.append(GazeCue(pts, Gaze(float(eyes[0]), float(eyes[1]) - 0.5 * math.radians(pitch)), sure))
    return tuple(sorted((*out, *gestures), key=lambda cue: cue.pts))
