# ruff: noqa: RUF001 - phonetic signs are meant
"""Phoneme times for recorded speech, by two labellers whose agreement is the trust in each phoneme.

* ``hama`` (Apache-2.0) recognises phonemes of many languages: posteriors every 20 ms, which are peaks, not spans.
* ``pocketsphinx`` (BSD-2) aligns a known sequence of phonemes with its English models at 10 ms. Phonemes of other
  languages get the nearest English model: borders of sounds are found well enough with a neighbour's model, and the
  mark keeps its own sign.

What is said comes from a text, through espeak-ng's pronunciation, or, where no text is known, from hama itself. The
spans are always pocketsphinx's; the trust says whether hama hears the same viseme there.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from avatar.analysis.phonemes import PhonemeMark, visemes_of
from avatar.core.facs import VISEME_INDEX, VISEMES
from avatar.core.types import F32, freeze
from avatar.models.data.closures import snap_closures
from avatar.models.data.corpus import RATE
from avatar.streams.sources.text import EspeakVoice

HAMA_LATE_S = 0.060
"""hama's peaks lie this much behind the middle of the sound that they name."""
HAMA_HOP_S = 0.020
REACH_S = 0.040
"""The two labellers agree where hama's peak is within this of pocketsphinx's span."""
PAD_S = 0.3
TRUST_TEXT, TRUST_HEARD, TRUST_DOUBTED = 1.0, 0.6, 0.2
"""Of a phoneme of a text that hama hears too; of one that only hama names; of one on which they differ."""
QUIET_DB = 28.0
"""Below a recording's loud moments: what is louder is a sound."""
GAP_S = 0.04
"""Shorter sounds between two phonemes need no mark."""
LEAST_AGREEMENT = 0.55
"""An utterance of whose phonemes hama hears fewer than this share says something else than its text."""

# --- phonemes of IPA ---------------------------------------------------------------------------------------------

_AFFRICATES = ("tʃ", "dʒ", "tɕ", "dʑ", "ts", "dz", "pf")
_DIPHTHONGS = ("eɪ", "aɪ", "aʊ", "oʊ", "əʊ", "ɔɪ", "eə", "ɪə", "ʊə")
_PREFIXES = "ˈˌ"
_SUFFIX = re.compile(r"[ːˑʰʲʷˠˤʱʴ\u0300-\u036f˞ˀ˥˦˧˨˩0-9‿]")
_DROPPED = re.compile(r"\([a-z-]*\)|[-_.,;:!?'\"|‖↗↘→↑↓]")

_ARPABET = {
    "p": "P", "b": "B", "m": "M", "t": "T", "d": "D", "n": "N", "k": "K", "ɡ": "G", "g": "G", "ŋ": "NG", "f": "F",
    "v": "V", "θ": "TH", "ð": "DH", "s": "S", "z": "Z", "ʃ": "SH", "ʒ": "ZH", "h": "HH", "ɦ": "HH", "l": "L", "r": "R",
    "ɹ": "R", "j": "Y", "w": "W", "tʃ": "CH", "dʒ": "JH", "tɕ": "CH", "dʑ": "JH", "ts": "T S", "dz": "D Z", "pf": "P F",
    "ɲ": "N", "ɳ": "N", "ɴ": "NG", "ɱ": "M", "ʎ": "L", "ɫ": "L", "ɭ": "L", "ɮ": "L", "ɬ": "L", "x": "HH", "χ": "HH",
    "ħ": "HH", "ç": "SH", "ɕ": "SH", "ʂ": "SH", "ʑ": "ZH", "ʐ": "ZH", "ʝ": "Y", "ɣ": "G", "ɟ": "G", "c": "K", "q": "K",
    "ɢ": "G", "β": "V", "ʋ": "V", "ɸ": "F", "ʁ": "R", "ʀ": "R", "ɻ": "R", "ɾ": "D", "ɽ": "D", "ʈ": "T", "ɖ": "D",
    "ɗ": "D", "ɓ": "B", "ɥ": "W", "ɰ": "W", "ʍ": "W", "i": "IY", "ɪ": "IH", "e": "EY", "ɛ": "EH", "æ": "AE", "a": "AA",
    "ɑ": "AA", "ɒ": "AA", "ɐ": "AH", "ʌ": "AH", "ə": "AH", "ᵊ": "AH", "ɘ": "AH", "ɜ": "ER", "ɚ": "ER", "ɝ": "ER",
    "ɞ": "ER", "ɔ": "AO", "o": "OW", "u": "UW", "ʊ": "UH", "y": "UW", "ʏ": "UH", "ø": "ER", "œ": "ER", "ɯ": "UW",
    "ɤ": "AH", "ɨ": "IH", "ᵻ": "IH", "ʉ": "UW", "ɵ": "UH", "eɪ": "EY", "aɪ": "AY", "aʊ": "AW", "oʊ": "OW", "əʊ": "OW",
    "ɔɪ": "OY", "eə": "EH", "ɪə": "IH", "ʊə": "UH",
}  # fmt: skip
"""The nearest of pocketsphinx's English phonemes."""


def split_ipa(word: str) -> list[str]:
    """The phonemes of an IPA word: affricates and diphthongs whole, stress with what follows it, signs that modify a
    sound with what they follow."""
    word = _DROPPED.sub("", word).replace("\u0361", "")
    out: list[str] = []
    prefix, i = "", 0
    while i < len(word):
        if word[i] in _PREFIXES:
            prefix, i = word[i], i + 1
            continue
        if _SUFFIX.match(word[i]):
            if out:
                out[-1] += word[i]
            i += 1
            continue
        size = 2 if word[i : i + 2] in _AFFRICATES + _DIPHTHONGS else 1
        out.append(prefix + word[i : i + size])
        prefix, i = "", i + size
    return out


def arpabet(phoneme: str) -> str:
    """The English phonemes nearest to one of :func:`split_ipa`, "" where there is none."""
    return _ARPABET.get(_SUFFIX.sub("", phoneme.lstrip(_PREFIXES)), "")


# --- hama --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heard:
    """What hama hears."""

    visemes: F32
    """(n, 15) probability of a peak of each viseme, every 20 ms; most frames are between peaks and sum to little."""
    words: tuple[tuple[tuple[str, float], ...], ...]
    """Phonemes in words with the moments (s) of their peaks, lateness taken off."""


class Recogniser:
    """hama's phoneme recogniser. Raises ModuleNotFoundError without ``hama``."""

    def __init__(self) -> None:
        from hama.asr import ASRModel

        self._model = ASRModel()
        tokens = self._model.decoder_tokens
        self._tokens = [t.replace("\u0361", "") for t in tokens]
        self._shape = np.zeros((len(tokens), len(VISEMES)), np.float32)
        for i, token in enumerate(self._tokens):
            if any(c in _ARPABET for c in token) and not token.startswith("<"):
                # A diphthong's second half follows anyway; what counts is where it begins.
                name = visemes_of(token)[0]
                if name in VISEME_INDEX and name != "sil":
                    self._shape[i, VISEME_INDEX[name]] = 1.0
                elif name == "h":
                    self._shape[i, VISEME_INDEX["E"]] = 1.0

    def hear(self, samples: F32) -> Heard:
        """:param samples: 16 kHz."""
        feeds = {"waveform": samples.reshape(1, -1), "waveform_lengths": np.array([len(samples)], np.int64)}
        log_probabilities, lengths = self._model.session.run(["log_probs", "out_lengths"], feeds)
        scores = np.asarray(log_probabilities[0][: int(np.ravel(lengths)[0])], np.float64)
        p = np.exp(scores - scores.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return Heard(freeze((p @ self._shape).astype(np.float32)), self._words(p))

    def _words(self, p: np.ndarray) -> tuple[tuple[tuple[str, float], ...], ...]:
        words: list[list[tuple[str, float]]] = [[]]
        last = -1
        for frame, best in enumerate(p.argmax(axis=1)):
            token = self._tokens[best]
            if best != last and token == "<wb>":
                words.append([])
            elif best != last and not token.startswith("<"):
                moment = (frame + 0.5) * HAMA_HOP_S - HAMA_LATE_S
                words[-1] += [(one, moment) for one in split_ipa(token) if arpabet(one)]
            last = best
        return tuple(tuple(word) for word in words if word)


# --- pocketsphinx ------------------------------------------------------------------------------------------------


class Aligner:
    """pocketsphinx' forced alignment of phonemes. Raises ModuleNotFoundError without ``pocketsphinx``."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder

        # Its own dictionary is large and not needed: every word is added with its phonemes.
        with tempfile.TemporaryDirectory() as folder:
            words = Path(folder) / "words.dict"
            words.write_text("a AH\n")
            self._decoder: Any = Decoder(lm=None, dict=str(words), loglevel="FATAL")
        self._known: set[str] = {"a"}

    def align(self, samples: F32, words: Sequence[Sequence[str]]) -> tuple[PhonemeMark, ...]:
        """Marks of the phonemes of ``words``, in order; () where the sound cannot hold them.

        :param samples: 16 kHz; :param words: phonemes of :func:`split_ipa`. A pause may lie between two words.
        """
        phones = [[(p, arpabet(p)) for p in word if arpabet(p)] for word in words]
        phones = [word for word in phones if word]
        names = []
        for word in phones:
            sounds = " ".join(a for _, a in word)
            name = "w" + sounds.lower().replace(" ", "_")
            if name not in self._known:
                self._decoder.add_word(name, sounds, True)
                self._known.add(name)
            names.append(name)
        if not names:
            return ()
        spans = self._spans(samples, " ".join(names))
        out: list[PhonemeMark] = []
        at = 0
        for word in phones:
            for phoneme, sounds in word:
                count = len(sounds.split())
                if at + count > len(spans):
                    return ()
                out.append(PhonemeMark(spans[at][0], spans[at + count - 1][1], phoneme))
                at += count
        return tuple(out)

    def _spans(self, samples: F32, text: str) -> list[tuple[float, float]]:
        peak = float(np.abs(samples).max(initial=1e-6))
        # Silence at either end: without it the burst of a last stop is taken for its closure.
        pad = np.random.default_rng(0).normal(0, 2.0, round(PAD_S * RATE))
        data = (
            np.round(np.concatenate([pad, samples * (0.7 * 32767 / max(peak, 1e-6)), pad])).astype(np.int16).tobytes()
        )
        decoder = self._decoder
        try:
            decoder.set_align_text(text)
            for again in (False, True):
                if again:
                    decoder.set_alignment()
                decoder.start_utt()
                decoder.process_raw(data, full_utt=True)
                decoder.end_utt()
            alignment = decoder.get_alignment()
        except RuntimeError:
            return []
        if alignment is None:
            return []
        limit = len(samples) / RATE
        spans = [
            (phone.start / 100 - PAD_S, (phone.start + phone.duration) / 100 - PAD_S)
            for word in alignment
            for phone in word
            if phone.name not in ("SIL", "+SPN+", "+NSN+")
        ]
        return [(min(max(a, 0.0), limit), min(max(b, 0.0), limit)) for a, b in spans]


# --- both --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Labels:
    """Marks of a recording and the trust in each."""

    marks: tuple[PhonemeMark, ...]
    trusts: F32
    agreement: float
    """Share of the phonemes that hama hears where they are said to be."""


class Labeller:
    """hama and pocketsphinx together."""

    @cached_property
    def recogniser(self) -> Recogniser:
        return Recogniser()

    @cached_property
    def aligner(self) -> Aligner:
        return Aligner()

    @cached_property
    def _espeak(self) -> EspeakVoice:
        return EspeakVoice()

    def label(self, samples: F32, text: str | None, language: str) -> Labels | None:
        """The phonemes of a recording.

        :param samples: 16 kHz; :param text: what is said, None where it is not known; :param language: of the text, as
            espeak-ng names it.

        None where nothing is heard, or something else than the text.
        """
        heard = self.recogniser.hear(samples)
        if text is None:
            words = [[p for p, _ in word] for word in heard.words]
        else:
            words = [split_ipa(word) for word in self._espeak.phonemes(_speakable(text), language).split()]
        marks = self.aligner.align(samples, words)
        if not marks:
            return None
        marks = snap_closures(marks, samples, RATE)
        trusts = agreement(marks, heard.visemes, TRUST_HEARD if text is None else TRUST_TEXT)
        share = float(np.mean(trusts > TRUST_DOUBTED))
        return Labels(*with_gaps(marks, trusts, samples), share) if share >= LEAST_AGREEMENT else None


def agreement(marks: Sequence[PhonemeMark], heard: F32, best: float) -> F32:
    """(len(marks),) the trust in each mark: between TRUST_DOUBTED and ``best``, by whether its viseme is heard there.

    A mark that is no lip closure although one is clearly heard in its middle is doubted too.

    :param heard: :attr:`Heard.visemes`.
    """
    out = np.zeros(len(marks), np.float32)
    closed = VISEME_INDEX["PP"]
    for i, mark in enumerate(marks):
        near = _frames(heard, mark.start_s - REACH_S, mark.end_s + REACH_S)
        names = [n for n in visemes_of(mark.ipa) if n in VISEME_INDEX]
        wanted = [VISEME_INDEX[n] for n in names] or [VISEME_INDEX["E"]]
        p = float(near[:, _alike(wanted)].sum(axis=1).max(initial=0.0))
        if closed not in wanted:
            neighbours = marks[max(0, i - 1) : i + 2]
            if not any("PP" in visemes_of(m.ipa) for m in neighbours):
                inside = _frames(heard, mark.start_s, mark.end_s)
                p = min(p, 1 - float(inside[:, closed].max(initial=0.0)))
        out[i] = TRUST_DOUBTED + (best - TRUST_DOUBTED) * float(np.clip((p - 0.1) / 0.5, 0, 1))
    return freeze(out)


def with_gaps(marks: Sequence[PhonemeMark], trusts: F32, samples: F32) -> tuple[tuple[PhonemeMark, ...], F32]:
    """Marks and trusts with a pause of no trust wherever something sounds and no phoneme is named.

    It was not heard, or it is breath or noise; either way nobody knows that the mouth is at rest there.
    """
    hop = RATE // 100
    n = len(samples) // hop
    power = (samples[: n * hop].reshape(n, hop).astype(np.float64) ** 2).mean(axis=1)
    level = 10 * np.log10(power + 1e-10)
    sounding = level > np.percentile(level, 95) - QUIET_DB if n else np.zeros(0, bool)
    covered = np.zeros(n, bool)
    for mark in marks:
        covered[max(0, round(mark.start_s * 100)) : max(0, round(mark.end_s * 100))] = True
    doubtful = np.flatnonzero(np.diff(np.concatenate([[False], sounding & ~covered, [False]]).astype(np.int8)))
    gaps = [PhonemeMark(a / 100, b / 100, "") for a, b in doubtful.reshape(-1, 2).tolist() if b - a >= GAP_S * 100]
    rows = [*zip(marks, trusts.tolist(), strict=True), *((gap, 0.0) for gap in gaps)]
    rows.sort(key=lambda row: row[0].start_s)
    return tuple(mark for mark, _ in rows), freeze(np.array([trust for _, trust in rows], np.float32))


_VOWELS = tuple(VISEME_INDEX[v] for v in ("aa", "E", "ih", "oh", "ou"))


def _alike(wanted: Sequence[int]) -> list[int]:
    """Visemes that count as the same: languages draw the borders between vowels in different places."""
    return sorted({*wanted, *(_VOWELS if any(w in _VOWELS for w in wanted) else ())})


def _frames(heard: F32, start_s: float, end_s: float) -> F32:
    """hama's frames whose peaks belong into a span."""
    first = int(np.floor((start_s + HAMA_LATE_S) / HAMA_HOP_S))
    last = int(np.ceil((end_s + HAMA_LATE_S) / HAMA_HOP_S))
    return heard[max(0, first) : max(0, last)]


def _speakable(text: str) -> str:
    """Without what is not said: comments in brackets, signs of sounds."""
    return re.sub(r"\[[^]]*\]|\([^)]*\)|<[^>]*>|\*[^*]*\*", " ", text)
