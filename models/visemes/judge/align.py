# ruff: noqa: RUF001 - phonetic signs are meant
"""Where the phonemes of a known English text lie in a recording, by forced alignment.

PocketSphinx (Huggins-Daines et al. 2006; BSD licence) aligns with the acoustic model in its wheel, to 10 ms. Words that
its dictionary lacks get espeak-ng's pronunciation. Needs the extra ``test``; the engine itself does not use this.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from avatar.analysis.phonemes import PhonemeMark, is_stop
from avatar.core.types import F32
from avatar.errors import UsageError
from avatar.models.data.labels import arpabet, split_ipa

RATE = 16_000
HOP_S = 0.01

SHIFT_S = 0.0
"""Added to every time of the aligner. None is needed: on five LibriVox clips the sound inside the spans of 47 stops and
16 "m", in dB against the middles of all phonemes, is lowest where the spans are:

    shift of the spans, ms   -40   -30   -20   -10     0    10    20    30    40
    p b t d k g             -4.6  -6.0  -7.4  -8.7  -9.4  -9.0  -7.5  -5.6  -3.9
    m                       -2.0  -2.7  -3.2  -3.4  -3.2  -2.6  -1.7  -0.9  -0.1
"""

LEAST_SCORE = -42.0
"""Per 10 ms, of the aligner's own score: below it the words are not those that are said. Real voices with their own
text have -11 to -15, synthetic ones -26 to -35, wrong texts -42 to -72."""

ARPABET: dict[str, str] = {
    "AA": "ɑː", "AE": "æ", "AH": "ʌ", "AO": "ɔː", "AW": "aʊ", "AY": "aɪ", "B": "b", "CH": "tʃ", "D": "d", "DH": "ð",
    "EH": "ɛ", "ER": "ɚ", "EY": "eɪ", "F": "f", "G": "ɡ", "HH": "h", "IH": "ɪ", "IY": "iː", "JH": "dʒ", "K": "k",
    "L": "l", "M": "m", "N": "n", "NG": "ŋ", "OW": "oʊ", "OY": "ɔɪ", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t",
    "TH": "θ", "UH": "ʊ", "UW": "uː", "V": "v", "W": "w", "Y": "j", "Z": "z", "ZH": "ʒ",
}  # fmt: skip
"""The phones of the CMU dictionary in IPA."""

_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'"})
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*'?")

_HISS = (2, 20, 60)
"""Units of 16 bits that are added: digital silence has no logarithm, and a search that loses the sentence (its beam is
narrow, and a wider one is no better) often keeps it with a little more."""

_PAUSE_S = 0.12
"""A silence inside a sound that lasts longer than this is a pause; a stop's closure is shorter."""
_QUIET = 0.03
"""Of the level that 1 % of the recording exceeds: below it nobody speaks."""


class AlignmentError(UsageError):
    """A recording and a text that do not fit together; one line."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of the text and its phonemes."""

    text: str
    start_s: float
    end_s: float
    marks: tuple[PhonemeMark, ...]
    score: float
    """Fit of sound and word, per 10 ms; see :data:`LEAST_SCORE`."""

    @property
    def trusted(self) -> bool:
        return self.score >= LEAST_SCORE


@dataclass(frozen=True, slots=True)
class _Entry:
    """A word as the aligner has it; times in hops."""

    name: str
    start: int
    end: int
    score: int
    phones: tuple[tuple[str, int, int], ...]


def words_of(text: str) -> list[str]:
    """Lower-case words; hyphens part them, apostrophes inside stay."""
    plain = unicodedata.normalize("NFC", text).translate(_APOSTROPHES).lower()
    return _WORD.findall(plain)


def arpabet_of(ipa: str) -> str:
    """The CMU phones, apart by spaces, nearest to espeak-ng's IPA; symbols without a phone are left out."""
    return " ".join(phones for phones in map(arpabet, split_ipa(ipa)) if phones)


class Aligner:
    """Aligns English sentences. Not shared between threads.

    Raises UsageError where PocketSphinx is not installed.
    """

    def __init__(self) -> None:
        try:
            from pocketsphinx import Decoder
        except ImportError as error:
            raise UsageError("alignment needs PocketSphinx: pip install 'vultus[test]'") from error
        self._decoder: Any = Decoder(lm=None, loglevel="FATAL")
        self._espeak: Any = None

    def align(self, samples: F32, rate: int, text: str) -> list[Word]:
        """The words of ``text`` in the recording ``samples`` (n,) in [-1, 1], times in seconds from its start.

        Raises AlignmentError where the text has no words or cannot be what is said.
        """
        words = words_of(text)
        if not words:
            raise AlignmentError("its text has no words")
        sound = to_model_rate(samples, rate)
        if len(sound) < 0.06 * RATE * len(words):
            raise AlignmentError(f"{len(words)} words cannot be said in {len(sound) / RATE:.2f} s")
        peak = float(np.abs(sound).max())
        if peak < 1e-4:
            raise AlignmentError("it is silent")
        self._learn(words)
        found = _words(self._entries(words, sound / peak), sound)
        length = sum(word.end_s - word.start_s for word in found)
        if sum(word.score * (word.end_s - word.start_s) for word in found) < LEAST_SCORE * length:
            raise AlignmentError("its text is not what is said in it")
        return found

    def marks(self, samples: F32, rate: int, text: str) -> tuple[PhonemeMark, ...]:
        """The phonemes alone, in order; what lies between them is silence."""
        return tuple(mark for word in self.align(samples, rate, text) for mark in word.marks)

    def _entries(self, words: Sequence[str], sound: F32) -> list[_Entry]:
        """As the aligner has them, pauses included."""
        for hiss in _HISS:
            noise = np.random.default_rng(0).integers(-hiss, hiss + 1, len(sound))
            pcm = (np.round(sound * (0.7 * 32767)) + noise).astype(np.int16).tobytes()
            if found := self._attempt(words, pcm):
                return found
        raise AlignmentError("its text does not fit its sound")

    def _attempt(self, words: Sequence[str], pcm: bytes) -> list[_Entry]:
        """Empty where the search loses the sentence."""
        decoder = self._decoder
        try:
            decoder.set_align_text(" ".join(words))
            for second in (False, True):  # words first, then the phones inside them
                if second:
                    decoder.set_alignment()
                decoder.start_utt()
                decoder.process_raw(pcm, full_utt=True)
                decoder.end_utt()
                if not second and decoder.hyp() is None:
                    raise RuntimeError
            found = decoder.get_alignment()
            if found is None:
                raise RuntimeError
            return [
                _Entry(
                    w.name,
                    w.start,
                    w.start + w.duration,
                    w.score,
                    tuple((p.name, p.start, p.start + p.duration) for p in w),
                )
                for w in found
            ]
        except RuntimeError:
            return []

    def _learn(self, words: Sequence[str]) -> None:
        for word in words:
            if self._decoder.lookup_word(word) is not None:
                continue
            if self._espeak is None:
                from avatar.streams.sources.text import EspeakVoice

                self._espeak = EspeakVoice()
            phones = arpabet_of(self._espeak.phonemes(word, "en-us"))
            if not phones:
                raise AlignmentError(f'its word "{word}" cannot be pronounced')
            self._decoder.add_word(word, phones, True)


def to_model_rate(samples: F32, rate: int) -> F32:
    """(n,) at 16 kHz."""
    if rate == RATE:
        return samples
    import soxr

    return soxr.resample(samples, rate, RATE).astype(np.float32)


def _words(entries: Sequence[_Entry], sound: F32) -> list[Word]:
    """Words with marks: variants like "a(2)" under their own name, pauses and fillers left out."""
    quiet = _quiet(sound)
    end_of_sound = len(sound) / RATE
    out: list[Word] = []
    for entry in entries:
        if entry.name[:1] in "<[+":
            continue
        marks: list[PhonemeMark] = []
        for phone, first, last in entry.phones:
            ipa = ARPABET.get(phone.rstrip("012"), "")
            for a, b in _spoken(quiet, first, last, is_stop(ipa)):
                t0, t1 = max(0.0, a * HOP_S + SHIFT_S), min(end_of_sound, b * HOP_S + SHIFT_S)
                if ipa and t1 > t0:
                    marks.append(PhonemeMark(t0, t1, ipa))
        name = re.sub(r"\(\d+\)$", "", entry.name)
        start, end = entry.start * HOP_S + SHIFT_S, entry.end * HOP_S + SHIFT_S
        out.append(Word(name, start, end, tuple(marks), entry.score / max(1, entry.end - entry.start)))
    return out


def _quiet(sound: F32) -> np.ndarray:
    """(hops,) bool: nothing is heard there."""
    n = round(RATE * HOP_S)
    whole = np.pad(sound, (0, -len(sound) % n)).reshape(-1, n).astype(np.float64)
    level = np.sqrt((whole**2).mean(axis=1))
    loud = float(np.percentile(level, 99))
    # In noise the floor is high: silence is what is near the floor then.
    return level < max(_QUIET * loud, min(1.5 * float(np.percentile(level, 5)), 0.1 * loud))


def _spoken(quiet: np.ndarray, first: int, last: int, stop: bool) -> list[tuple[int, int]]:
    """The parts of a phone's hops [first, last) that are not pauses: the aligner gives a pause without a breath in it
    to the sound before it, or to the stop after it."""
    longest = round(_PAUSE_S / HOP_S)
    here = quiet[first : min(last, len(quiet))]
    edges = np.flatnonzero(np.diff(np.concatenate(([0], here.astype(np.int8), [0]))))
    keep = np.ones(max(0, last - first), bool)
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        if b - a <= longest:
            continue
        # A stop keeps the end of the silence that its burst ends.
        keep[a : b - longest // 2 if stop and b < len(here) else b] = False
    edges = np.flatnonzero(np.diff(np.concatenate(([0], keep.astype(np.int8), [0]))))
    return [(first + int(a), first + int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
