# ruff: noqa: RUF001 - phonetic signs and Chinese punctuation are meant
"""Phonemes of the International Phonetic Alphabet, as espeak-ng and Kokoro write them, to visemes and lip cues."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from avatar.analysis.mouth import shape_track
from avatar.core.facs import VISEME_INDEX, VISEMES
from avatar.core.types import F32, LipCue, Ns, freeze, seconds


@dataclass(frozen=True, slots=True)
class PhonemeMark:
    """One phoneme in a sound."""

    start_s: float
    """Seconds from the beginning of the sound."""
    end_s: float
    ipa: str
    """As the synthesizer writes it; empty for a pause."""


@dataclass(frozen=True, slots=True)
class ClauseMark:
    """One clause in a sound: what is spoken between two pauses."""

    start_s: float
    """Seconds from the beginning of the sound to the first phoneme."""
    end_s: float
    """Where the last phoneme ends."""
    text: str
    """As it was written, with its punctuation."""

    @property
    def ends_sentence(self) -> bool:
        """Whether a sentence ends with it."""
        return self.text.rstrip("\"')]»” ")[-1:] in tuple(".?!…。？！؟।")


_CLASSES = {
    "PP": "pbmɓʘ",
    "FF": "fvɱβʋɸⱱ",
    "TH": "θð",
    "DD": "tdʈɖɗɾɽ",
    "kk": "kɡgxɣŋqχɢcɟʀʁħʕɠʔ",
    "CH": "ʃʒɕʑʂʐ",
    "SS": "sz",
    "nn": "nlɲɳɴʎɭɫɬɮ",
    "RR": "rɹɻɚɝʙ",
    "aa": "aɑæʌɐɒɶ",
    "E": "eɛɜəɘɤᵊɞ",
    "ih": "iɪjɨᵻᵢçɿʅ",
    "oh": "oɔœ",
    "ou": "uʊwyʏøɯɥʉɵʍ",
}
_ONE = {symbol: viseme for viseme, symbols in _CLASSES.items() for symbol in symbols}
_KOKORO = {
    "A": "eɪ", "I": "aɪ", "W": "aʊ", "O": "oʊ", "Y": "ɔɪ", "Q": "əʊ", "ʤ": "dʒ", "ʧ": "tʃ", "ʦ": "ts", "ʨ": "tɕ",
    "ʥ": "dʑ", "T": "ɾ",
}  # fmt: skip
_AFFRICATES = {
    "tʃ": ("CH",), "dʒ": ("CH",), "tɕ": ("CH",), "dʑ": ("CH",), "ʈʂ": ("CH",), "tʂ": ("CH",), "dʐ": ("CH",),
    "ts": ("SS",), "dz": ("SS",), "pf": ("PP", "FF"),
}  # fmt: skip
_NEXT_VOWEL = "h"
_VOWELS = frozenset(("aa", "E", "ih", "oh", "ou"))
STOPS = frozenset("pbtdkɡgʈɖcɟqɢɓɗɠ")
_IGNORED = re.compile(r"[ˈˌːˑ.|‖ʰʲʷˠˤʱʴ\u0300-\u036f˞ˀ0-9˥˦˧˨˩↗↘→↑↓\s()_\-'‿,;:!?…—“”\"]")


_LANGUAGE = re.compile(r"\([a-z-]*\)")


def visemes_of(ipa: str) -> list[str]:
    """The visemes of one phoneme, in order, sharing its time; ["sil"] for a pause. "h" stands for "as the next vowel".

    Symbols that are not known have no shape of their own and are left out.
    """
    # espeak-ng writes a change of language as "(en)".
    text = _IGNORED.sub("", "".join(_KOKORO.get(c, c) for c in _LANGUAGE.sub("", ipa)))
    if not text:
        return ["sil"]
    out: list[str] = []
    i = 0
    while i < len(text):
        pair = text[i : i + 2]
        if pair in _AFFRICATES:
            out.extend(_AFFRICATES[pair])
            i += 2
            continue
        if text[i] in "hɦ":
            # After another sound (the aspiration in Mandarin's "pʰ" written as "ph") it only lengthens that.
            if not out:
                out.append(_NEXT_VOWEL)
        elif text[i] in _ONE:
            out.append(_ONE[text[i]])
        i += 1
    return out or ["sil"]


def is_vowel(ipa: str) -> bool:
    """Whether a phoneme is a vowel or a diphthong."""
    return visemes_of(ipa)[0] in _VOWELS and not _IGNORED.sub("", ipa).startswith(("w", "ʍ", "j", "ɥ"))


def is_stop(ipa: str) -> bool:
    """Whether a phoneme begins with the silence of a closure."""
    text = _IGNORED.sub("", ipa)
    return _KOKORO.get(text[:1], text)[:1] in STOPS


def viseme_spans(marks: Iterable[PhonemeMark]) -> list[tuple[float, float, int]]:
    """(start s, end s, index into VISEMES) of each viseme in order; what lies between two marks is silence."""
    units: list[list] = []
    for mark in marks:
        if mark.end_s <= mark.start_s:
            continue
        names = visemes_of(mark.ipa)
        width = (mark.end_s - mark.start_s) / len(names)
        units += [[mark.start_s + k * width, mark.start_s + (k + 1) * width, name] for k, name in enumerate(names)]
    following = "E"
    for unit in reversed(units):
        if unit[2] in _VOWELS:
            following = unit[2]
        elif unit[2] == _NEXT_VOWEL:
            unit[2] = following
    return [(a, b, VISEME_INDEX[name]) for a, b, name in units]


def viseme_track(marks: Iterable[PhonemeMark], duration: float, rate: int = 100) -> F32:
    """(n, 15): the share of each viseme in the 1 / rate seconds around moment i / rate; every row sums to 1."""
    n = max(0, round(duration * rate))
    out = np.zeros((n, len(VISEMES)), np.float32)
    for start, end, viseme in viseme_spans(marks):
        # In units of frames, frame i covering [i - 1/2, i + 1/2).
        a, b = start * rate + 0.5, end * rate + 0.5
        first, last = max(0, int(a)), min(n, int(np.ceil(b)))
        if last > first:
            i = np.arange(first, last)
            out[first:last, viseme] += np.clip(np.minimum(b, i + 1) - np.maximum(a, i), 0, 1)
    total = out.sum(axis=1, keepdims=True)
    out /= np.maximum(total, 1)
    out[:, VISEME_INDEX["sil"]] += 1 - out.sum(axis=1)
    return out


def lip_cues(marks: Sequence[PhonemeMark], duration: float, rate: int = 100, loud: F32 | None = None) -> list[LipCue]:
    """Lip cues from exact phoneme times, ``rate`` a second, the first at time 0.

    :param duration: seconds of sound.
    :param loud: loudness at 100 a second, 1 = usual; all 1 where not given.
    """
    track = viseme_track(marks, duration)
    level = np.ones(len(track), np.float32)
    if loud is not None:
        level[: len(loud)] = loud[: len(track)]
    mouth = shape_track(track, level)
    voiced = track[:, 0] < 0.5
    cues = []
    for k in range(max(0, round(duration * rate))):
        i = min(len(track) - 1, round(k * 100 / rate))
        cues.append(LipCue(Ns(seconds(k / rate)), freeze(track[i].copy()), freeze(mouth[i].copy()), bool(voiced[i])))
    return cues


def move_closures(marks: Sequence[PhonemeMark], samples: F32, rate: int) -> tuple[PhonemeMark, ...]:
    """Give the silence before a stop's burst to the stop.

    espeak-ng counts the closure of p, b, t, d, k, g as the end of the phoneme before it. The silent run that ends where
    a stop is said to begin (120 ms at most) becomes the beginning of that stop.
    """
    step = max(1, rate // 200)
    n = len(samples) // step
    if n == 0:
        return tuple(marks)
    level = np.sqrt(np.mean(samples[: n * step].reshape(n, step).astype(np.float64) ** 2, axis=1))
    threshold = 0.03 * float(np.percentile(level, 99))
    out = list(marks)
    for i in range(1, len(out)):
        mark, before = out[i], out[i - 1]
        if not is_stop(mark.ipa) or not before.ipa.strip():
            continue
        k = first = min(n, round(mark.start_s * rate / step))
        lowest = max(round((before.start_s + 0.02) * rate / step), first - round(0.12 * rate / step))
        while k - 1 >= lowest and level[k - 1] < threshold:
            k -= 1
        if k < first:
            start = k * step / rate
            out[i], out[i - 1] = replace(mark, start_s=start), replace(before, end_s=start)
    return tuple(out)
