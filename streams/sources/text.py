"""Text to speech with the synthesizer's own phoneme times, so that the lips need no recognition.

espeak-ng (GPL-3, a separate shared library of the package ``espeakng-loader``) speaks about a hundred languages. Other
synthesizers plug in through :class:`Voice`.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from avatar.analysis.phonemes import ClauseMark, PhonemeMark, lip_cues, move_closures
from avatar.core.types import F32, SECOND, AudioChunk, GestureCue, LipCue, Move, Ns, freeze
from avatar.errors import MediaError, UsageError

log = logging.getLogger(__name__)


@dataclass(frozen=True)  # no slots: cached_property needs a dict
class Speech:
    """Sound with the times of its phonemes."""

    samples: F32
    """(n,) mono in [-1, 1]."""
    rate: int
    marks: tuple[PhonemeMark, ...] = ()
    clauses: tuple[ClauseMark, ...] = ()
    moves: tuple[Move, ...] = ()
    """What head, brows, eyes and hands do with it, in order of ``pts`` from 0 on."""

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.rate

    @cached_property
    def loudness(self) -> F32:
        """At 100 a second: 1 = this speech's usual level, 0 = 24 dB below it."""
        hop = self.rate // 100
        n = -(-len(self.samples) // hop)
        x = np.zeros((n + 2) * hop, np.float32)
        x[hop : hop + len(self.samples)] = self.samples
        power = (x.reshape(-1, hop) ** 2).mean(axis=1)
        power = np.convolve(power, np.full(3, 1 / 3), "valid")
        level = 10 * np.log10(power + 1e-10)
        if n == 0:
            return np.zeros(0, np.float32)
        usual = float(np.mean(level[level > np.percentile(level, 95) - 18]))
        return np.clip(1 + (level - usual) / 24, 0, 1.5).astype(np.float32)

    @cached_property
    def lips(self) -> tuple[LipCue, ...]:
        """Lip cues at 100 a second, the first at 0; empty where no phonemes are known."""
        return tuple(lip_cues(self.marks, self.duration, loud=self.loudness)) if self.marks else ()

    def resampled(self, rate: int) -> Speech:
        """The same at another rate."""
        if rate == self.rate:
            return self
        import soxr

        samples = soxr.resample(self.samples, self.rate, rate).astype(np.float32)
        return replace(self, samples=samples, rate=rate)

    def chunks(self, start_pts: Ns, chunk_ms: int = 20, rate: int = 48_000) -> Iterator[AudioChunk]:
        """The sound in pieces on the session's timeline, with the lips where phonemes are known.

        The last piece may be shorter. Where the body moves on after the last word, silence follows until it rests.
        """
        samples = self.resampled(rate).samples
        if self.moves:
            still = max(0, -(-self.moves[-1].pts * rate // SECOND) - len(samples))
            samples = np.concatenate([samples, np.zeros(still, np.float32)])
        moves, m = self.moves, 0
        size = max(1, rate * chunk_ms // 1000)
        lips, k = self.lips, 0
        for first in range(0, len(samples), size):
            piece = freeze(np.ascontiguousarray(samples[first : first + size]))
            end = (first + len(piece)) * SECOND // rate
            begin = k
            while k < len(lips) and lips[k].pts < end:
                k += 1
            cues = tuple(
                LipCue(Ns(start_pts + c.pts), c.visemes, c.mouth, c.voiced, c.confidence) for c in lips[begin:k]
            )
            pts = Ns(start_pts + first * SECOND // rate)
            first_move = m
            while m < len(moves) and moves[m].pts < end:
                m += 1
            planned = tuple(_later(move, start_pts) for move in moves[first_move:m])
            yield AudioChunk(pts, piece, rate, lips=cues if lips else None, moves=planned)


def _later(move: Move, by: Ns) -> Move:
    if isinstance(move, GestureCue):
        return replace(move, pts=Ns(move.pts + by), stroke=Ns(move.stroke + by), end=Ns(move.end + by))
    return replace(move, pts=Ns(move.pts + by))


class Voice(Protocol):
    """A synthesizer."""

    def synthesize(self, text: str, /) -> Speech:
        """Raises UsageError where the text or the voice cannot be spoken."""
        ...


# --- espeak-ng ---------------------------------------------------------------------------------------------------


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _VoiceInfo(ctypes.Structure):
    """The beginning of ``espeak_VOICE``."""

    _fields_ = [("name", ctypes.c_char_p), ("languages", ctypes.c_char_p), ("identifier", ctypes.c_char_p)]


class _Event(ctypes.Structure):
    """``espeak_EVENT`` of speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_EVENT_END, _EVENT_CLAUSE, _EVENT_PHONEME = 0, 5, 7
_SYNCHRONOUS = 2
_PHONEME_EVENTS, _PHONEME_IPA, _DONT_EXIT = 0x01, 0x02, 0x8000
_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4

_TOP = 0.98
"""Of full scale; louder would cut the wave's tops off."""


class _Library:
    """The one espeak-ng engine of this process: it is global, so everything happens under :attr:`lock`."""

    lock = threading.Lock()
    _loaded: _Library | None = None

    @classmethod
    def get(cls) -> _Library:
        """Call with :attr:`lock` held."""
        if cls._loaded is None:
            cls._loaded = cls()
        return cls._loaded

    def __init__(self) -> None:
        import espeakng_loader

        try:
            lib = self.lib = ctypes.CDLL(espeakng_loader.get_library_path())
        except OSError as error:
            raise UsageError(f"espeak-ng cannot be loaded: reinstall espeakng-loader ({error})") from error
        data = espeakng_loader.get_data_path().encode()
        self.rate = lib.espeak_Initialize(_SYNCHRONOUS, 0, data, _PHONEME_EVENTS | _PHONEME_IPA | _DONT_EXIT)
        if self.rate <= 0:
            raise UsageError("espeak-ng has no voice data: reinstall espeakng-loader")
        lib.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
            ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
        lib.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
        self._sound: list[np.ndarray] = []
        self._events: list[tuple[float, str]] = []
        self._clauses: list[int] = []
        self._ends: list[int] = []
        lib.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceInfo))
        lib.espeak_ListVoices.argtypes = [ctypes.c_void_p]
        self._files = self._find_files()
        self._callback = _Callback(self._receive)  # kept: the library holds only the pointer
        lib.espeak_SetSynthCallback(self._callback)

    def _receive(self, wav: Any, count: int, events: Any) -> int:
        if count > 0 and wav:
            self._sound.append(np.ctypeslib.as_array(wav, (count,)).copy())
        i = 0
        while events[i].type != _EVENT_END:
            event = events[i]
            if event.type == _EVENT_PHONEME:
                # The union holds up to eight bytes without a zero at the end, so it is read raw.
                raw = ctypes.string_at(ctypes.addressof(event) + _Event.id.offset, 8).split(b"\0")[0]
                self._events.append((event.audio_position / 1000, raw.decode("utf-8", "ignore")))
            elif event.type == _EVENT_CLAUSE:
                self._clauses.append(len(self._events))
                self._ends.append(event.text_position)
            i += 1
        return 0

    def _seed(self) -> None:
        # The library shakes its dice with the time of day at the start. Seeded, a program that speaks the same texts in
        # the same order gives the same sound; how a text comes out still depends a little on those before it.
        self.lib.espeak_ng_SetRandSeed(ctypes.c_long(1))
        (ctypes.cdll.msvcrt if os.name == "nt" else ctypes.CDLL(None)).srand(1)

    def choose(self, voice: str) -> None:
        language, plus, variant = voice.partition("+")
        # The library knows some languages, "en-gb" among them, only by the file they are in.
        name = self._files.get(language.lower(), language) + plus + variant
        # An empty name or a path is not a voice, although the library makes something of either.
        if not voice or "/" in voice or "\0" in voice or self.lib.espeak_SetVoiceByName(name.encode()) != 0:
            raise UsageError(f'espeak-ng has no voice "{voice}": try "en-us", "de", "es", "cmn" or "en-us+f3"')

    def _find_files(self) -> dict[str, str]:
        """Language -> name of its voice file."""
        out: dict[str, str] = {}
        voices = self.lib.espeak_ListVoices(None)
        i = 0
        while voices[i]:
            info = voices[i].contents
            # A byte of priority, then the name of the language.
            language = (info.languages or b"")[1:].decode("utf-8", "ignore").lower()
            out.setdefault(language, (info.identifier or b"").decode().rpartition("/")[2])
            i += 1
        return out

    def phonemes(self, text: str, voice: str) -> str:
        self.choose(voice)
        rest = ctypes.c_char_p(text.encode("utf-8", "ignore"))
        clauses = []
        while rest.value:
            clauses.append(self.lib.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _PHONEME_IPA).decode())
        return " ".join(clauses)

    def speak(
        self, text: str, voice: str, rate: int, pitch: int, pitch_range: int
    ) -> tuple[F32, list[tuple[float, str]], list[tuple[int, int]]]:
        """Samples, (seconds, phoneme) of each phoneme, and of each clause how many phonemes and characters end it."""
        lib = self.lib
        self.choose(voice)
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, pitch_range)):
            lib.espeak_SetParameter(parameter, value, 0)
        self._seed()
        self._sound, self._events, self._clauses, self._ends = [], [], [], []
        data = text.encode("utf-8", "ignore") + b"\0"
        if lib.espeak_Synth(data, len(data), 0, 1, 0, _UTF8, None, None) != 0:
            raise UsageError("espeak-ng could not speak this text: shorten it")
        lib.espeak_Synchronize()
        sound = np.concatenate(self._sound) if self._sound else np.zeros(0, np.int16)
        clauses = list(zip(self._clauses, self._ends, strict=True))
        return (sound / 32768).astype(np.float32), self._events, clauses


class EspeakVoice:
    """espeak-ng. Safe to use from several threads; they speak one after another."""

    MAX_CHARACTERS = 20_000

    def phonemes(self, text: str, voice: str = "en-us") -> str:
        """The phonemes of ``text`` in IPA, words apart by spaces. Raises UsageError where there is no such voice."""
        with _Library.lock:
            return _Library.get().phonemes(text.replace("\0", " "), voice)

    def synthesize(
        self,
        text: str,
        voice: str = "en-us",
        rate: int = 165,
        pitch: int = 50,
        pitch_range: int = 50,
        loudness: float = 0.0,
    ) -> Speech:
        """Speak ``text``.

        :param voice: espeak-ng's name of a language, optionally with a variant: "de", "en-us+f3".
        :param rate: words a minute, 80 to 450.
        :param pitch: 0 to 99.
        :param pitch_range: 0 (monotone) to 99.
        :param loudness: decibels against the voice's own, -20 to 6; as loud as goes without cutting off its tops.

        Raises UsageError where there is nothing to speak or no such voice.
        """
        if not any(c.isalnum() for c in text):
            raise UsageError("there is nothing to speak: give a text with words in it")
        if len(text) > self.MAX_CHARACTERS:
            raise UsageError(f"the text is too long: {len(text)} characters, at most {self.MAX_CHARACTERS} at once")
        with _Library.lock:
            library = _Library.get()
            spoken = text.replace("\0", " ")
            samples, events, clauses = library.speak(
                spoken,
                voice,
                min(450, max(80, rate)),
                min(99, max(0, pitch)),
                min(99, max(0, pitch_range)),
            )
        if len(samples) == 0:
            raise UsageError(f'the voice "{voice}" has no sound for this text: choose a voice of its language')
        gain = 10 ** (min(6.0, max(-20.0, loudness)) / 20)
        if gain != 1:
            samples = samples * np.float32(min(gain, max(1.0, _TOP / float(np.abs(samples).max(initial=1e-3)))))
        ends = [t for t, _ in events[1:]] + [len(samples) / library.rate]
        marks = [PhonemeMark(a, max(a, b), ipa) for (a, ipa), b in zip(events, ends, strict=True)] if events else []
        moved = move_closures(marks, samples, library.rate)
        return Speech(freeze(samples), library.rate, moved, _clauses_of(spoken, moved, clauses))


def _clauses_of(text: str, marks: Sequence[PhonemeMark], ends: Sequence[tuple[int, int]]) -> tuple[ClauseMark, ...]:
    """The clauses of a spoken text. :param ends: of each, how many marks and characters there are to its end."""
    out: list[ClauseMark] = []
    mark = character = 0
    for next_mark, next_character in ends:
        sounded = [m for m in marks[mark:next_mark] if m.ipa.strip() and m.end_s > m.start_s]
        # A mark that the library counts to what follows ends this clause all the same.
        while next_character < len(text) and not text[next_character - 1 : next_character + 1].strip().isalnum():
            if text[next_character].isspace():
                break
            next_character += 1
        words = text[character:next_character].strip()
        if sounded and words:
            out.append(ClauseMark(sounded[0].start_s, sounded[-1].end_s, words))
        mark, character = next_mark, next_character
    return tuple(out)


# --- speech from a file ------------------------------------------------------------------------------------------


def load_speech(path: Path) -> Speech:
    """A sound file and, where ``NAME.json`` lies beside it, its phonemes (``{"marks": [[start s, end s, ipa], ...]}``).

    Raises MediaError where the sound cannot be read.
    """
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise MediaError(f"{path} has no sound in it: give a sound file")
            stream = container.streams.audio[0]
            resampler = av.AudioResampler(format="flt", layout="mono")
            parts = [
                frame.to_ndarray().reshape(-1)
                for decoded in (*container.decode(stream), None)
                for frame in resampler.resample(decoded)
            ]
            rate = stream.rate
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"{path} cannot be read as sound: {error}") from error
    samples = np.concatenate(parts).astype(np.float32) if parts else np.zeros(0, np.float32)
    side = path.with_suffix(".json")
    marks: tuple[PhonemeMark, ...] = ()
    if side.is_file():
        try:
            rows = json.loads(side.read_text(encoding="utf-8"))["marks"]
            marks = tuple(PhonemeMark(float(a), float(b), str(ipa)) for a, b, ipa in rows)
        except (ValueError, KeyError, TypeError) as error:
            raise MediaError(f"{side} does not hold phoneme marks: remove it or make it again ({error})") from error
    return Speech(freeze(samples), rate, marks)
