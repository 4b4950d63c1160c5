"""What the eyes and ears of ``avatar eval`` are tried on: speech of voices that training never heard."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from avatar.analysis.phonemes import PhonemeMark, visemes_of
from avatar.core.types import F32
from avatar.errors import AvatarError, MediaError, UsageError
from avatar.models.data.closures import snap_closures
from avatar.models.visemes.judge.align import Aligner, AlignmentError, Word, words_of
from avatar.models.visemes.judge.metrics import Truth
from avatar.models.visemes.judge.metrics import closures as closures_of
from avatar.models.visemes.texts import TEST
from avatar.streams.sources.text import EspeakVoice, Speech

log = logging.getLogger(__name__)

ODD_VARIANTS = ("whisper", "whisperf", "klatt3", "klatt6", "croak", "robosoft3", "UniRobot", "Demonic")
"""Voices of espeak-ng that no person sounds like: listed apart."""

LIBRIVOX = Path("/usr/share/pocketsphinx/test/data/librivox")
"""Five sentences of one reader (Debian's package ``pocketsphinx-testdata``), which training leaves out."""

SOUNDS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".mpg", ".mp4", ".avi", ".mov", ".mkv")
ALIGN_UNITS = 25_000
"""Of GRID's ``.align`` files in a second: 25 pictures times 1000."""
_SILENT = frozenset(("sil", "sp", "spn", "silence", "<sil>", ""))
_SPAN_TOLERANCE_S = 0.12
"""By which a word's own span and the aligner's may differ; both are good to some tens of milliseconds."""
_MARGIN_S = 0.08
_LEAST_TRUSTED = 0.5


@dataclass(frozen=True)  # no slots: cached_property needs a dict
class Clip:
    """An utterance with its phonemes."""

    name: str
    voice: str
    language: str
    samples: F32
    """(n,) mono in [-1, 1]."""
    rate: int
    marks: tuple[PhonemeMark, ...]
    trusts: tuple[float, ...] | None = None
    """One a mark, in [0, 1]; None = all are sure."""

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    @cached_property
    def truth(self) -> Truth:
        return Truth.of(self.samples, self.rate, self.marks, self.trusts)


# --- made here ------------------------------------------------------------------------------------------------------


def espeak_clips(variants: Sequence[str], per_sentence: int, seed: int = 7) -> Iterator[Clip]:
    """The held-out sentences, each by ``per_sentence`` of the voices, at several speeds; the same ones every time."""
    random = np.random.default_rng(seed)
    espeak = EspeakVoice()
    k = 0
    for language, sentences in TEST.items():
        for sentence in sentences:
            for _ in range(per_sentence):
                voice = f"{language}+{variants[k % len(variants)]}"
                k += 1
                rate, pitch = int(random.integers(135, 215)), int(random.integers(35, 66))
                speech = espeak.synthesize(sentence, voice, rate=rate, pitch=pitch)
                yield _known(f"{voice} {rate}", voice, language, speech)


def _known(name: str, voice: str, language: str, speech: Speech) -> Clip:
    """Speech whose phonemes the synthesizer told: it counts the breath after p as p, when the lips are open again."""
    marks = snap_closures(speech.marks, speech.samples, speech.rate)
    return Clip(name, voice, language, speech.samples, speech.rate, marks)


def said(texts: Sequence[str], voice: str = "en-us") -> list[Clip]:
    """Texts as the engine itself speaks them; each clip is named after its text."""
    return [_known(text, voice, "en-us", EspeakVoice().synthesize(text, voice)) for text in texts]


def spoken(voices: Sequence[str]) -> list[Clip]:
    """Held-out English sentences by the voices given, one each."""
    return [
        replace(said([text], voice)[0], name=f"{voice}: {text}")
        for voice, text in zip(voices, TEST["en-us"], strict=False)
    ]


def demo_clips(count: int, pause_s: float = 0.4) -> list[Clip]:
    """The sentences of the demo (Kokoro's af_heart, exact times) with most p, b, m."""
    from avatar.models import registry
    from avatar.streams.sources.text import load_speech

    speech = load_speech(registry.samples_dir() / "demo.ogg")
    heard = [mark for mark in speech.marks if mark.ipa.strip()]
    groups: list[list[PhonemeMark]] = [[]]
    for before, mark in zip([heard[0], *heard], heard, strict=False):
        if mark.start_s - before.end_s > pause_s:
            groups.append([])
        groups[-1].append(mark)
    groups.sort(key=lambda group: -sum(is_bilabial(mark.ipa) for mark in group))
    out = []
    for number, group in enumerate(groups[:count]):
        t = max(0.0, group[0].start_s - pause_s / 2)
        a, b = round(t * speech.rate), round((group[-1].end_s + pause_s / 2) * speech.rate)
        marks = tuple(PhonemeMark(m.start_s - t, m.end_s - t, m.ipa) for m in group)
        name = f"demo {number}: {''.join(m.ipa for m in group)}"
        out.append(Clip(name, "kokoro-af_heart", "en-us", speech.samples[a:b], speech.rate, marks))
    return out


def is_bilabial(ipa: str) -> bool:
    return "PP" in visemes_of(ipa)


# --- the corpus -----------------------------------------------------------------------------------------------------


def corpus_clips(folder: Path, wanted: Callable[[str], bool], closures: int, seed: int = 7) -> list[Clip]:
    """Test utterances of the sources that are ``wanted``, voices in turn, until they hold ``closures`` p, b, m.

    Raises MediaError where there is no corpus.
    """
    from avatar.models.data import corpus

    if not (folder / corpus.MANIFEST).is_file():
        raise MediaError(f"--corpus {folder} holds no corpus: make one with python -m avatar.models.data.corpus")
    by_voice: dict[str, list[dict[str, Any]]] = {}
    for row in corpus.rows(folder):
        if row["split"] == "test" and row["marks"] and wanted(row["source"]):
            by_voice.setdefault(row["voice"], []).append(row)
    random = np.random.default_rng(seed)
    shuffled = [[rows[i] for i in random.permutation(len(rows))] for _, rows in sorted(by_voice.items())]
    out: list[Clip] = []
    found = 0
    for row in (row for rows in zip_longest(*shuffled) for row in rows if row is not None):
        if found >= closures:
            break
        # Sounds are read as they are needed: a corpus has thousands.
        sound = corpus.read_sound(folder / row["file"])
        marks = tuple(PhonemeMark(float(a), float(b), str(ipa)) for a, b, ipa in row["marks"])
        trusts = tuple(float(t) for t in row.get("trusts") or [row.get("trust", 1.0)] * len(marks))
        clip = Clip(row["file"], row["voice"], row["language"], sound, corpus.RATE, marks, trusts)
        out.append(clip)
        found += len(closures_of(clip.truth))
    return out


def trained_on(folder: Path | None) -> set[str]:
    """Voices that the corpus gives to training; those of espeak-ng as "espeak-VARIANT"."""
    if folder is None:
        return set()
    from avatar.models.data import corpus

    return {row["voice"] for row in corpus.rows(folder) if row["split"] == "train"}


def kokoro_clips(folder: Path | None, closures: int) -> list[Clip]:
    """Kokoro's test voices. Raises UsageError where there is no corpus."""
    return corpus_clips(_corpus(folder, "Kokoro's voices"), lambda source: source.startswith("kokoro"), closures)


def corpus_people(folder: Path, closures: int) -> list[Clip]:
    """The corpus' test speakers who are people."""
    return corpus_clips(folder, lambda source: not source.startswith(("espeak", "kokoro")), closures)


def real_clips(folder: Path | None, aligner: Aligner, closures: int) -> list[Clip]:
    """People: the corpus' test speakers, and the reader of ``pocketsphinx-testdata`` aligned here, where the corpus has
    not trained on that reader. Raises UsageError where there is neither."""
    out: list[Clip] = []
    read_by_corpus = False
    if folder is not None:
        out = corpus_people(folder, closures)
        from avatar.models.data import corpus

        read_by_corpus = any("librivox" in row["source"] for row in corpus.rows(folder))
    try:
        return out if read_by_corpus else librivox_clips(aligner) + out
    except UsageError:
        if out:
            return out
        raise


def _corpus(folder: Path | None, what: str) -> Path:
    if folder is None:
        raise UsageError(f"{what} come from a corpus: make one with avatar.models.data.corpus and give --corpus DIR")
    return folder


# --- recordings with text -------------------------------------------------------------------------------------------


def librivox_clips(aligner: Aligner, folder: Path = LIBRIVOX) -> list[Clip]:
    """The reader of ``pocketsphinx-testdata``. Raises UsageError where the package is not installed."""
    script = folder / "transcription"
    if not script.is_file():
        raise UsageError("no recordings: apt-get install pocketsphinx-testdata (Debian), or give --corpus DIR")
    out = []
    for text, name in re.findall(r"<s> (.*?) </s> \((.*?)\)", script.read_text(encoding="utf-8")):
        samples, rate = read_sound(folder / f"{name}.wav")
        out.append(text_clip(aligner, name, "librivox-austen", samples, rate, text))
    return out


def read_sound(path: Path) -> tuple[F32, int]:
    """Any sound file, mono. Raises MediaError with one line."""
    from avatar.streams.sources.media_file import read_audio

    samples, rate = read_audio(path)
    if len(samples) < 0.2 * rate:
        raise MediaError(f"{path.name}: shorter than 0.2 s")
    return samples, rate


def text_clip(aligner: Aligner, name: str, voice: str, samples: F32, rate: int, text: str) -> Clip:
    """A recording of an English sentence. Raises AlignmentError."""
    return _clip(name, voice, samples, rate, aligner.align(samples, rate, text))


def _clip(name: str, voice: str, samples: F32, rate: int, words: Iterable[Word]) -> Clip:
    marks: list[PhonemeMark] = []
    trusts: list[float] = []
    for word in words:
        marks += word.marks
        trusts += [1.0 if word.trusted else 0.0] * len(word.marks)
    if sum(trusts) < _LEAST_TRUSTED * len(trusts) or not marks:
        raise AlignmentError("less than half of its words could be found in its sound")
    return Clip(name, voice, "en-us", samples, rate, tuple(marks), tuple(trusts))


# --- a folder of somebody's own -------------------------------------------------------------------------------------


def parse_align(text: str) -> list[tuple[float, float, str]]:
    """GRID's word spans: lines of start, end (25,000 a second) and word, to (start s, end s, word).

    Raises AlignmentError for anything else.
    """
    out: list[tuple[float, float, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        parts = line.split()
        if not parts:
            continue
        try:
            start, end = (float(p) / ALIGN_UNITS for p in parts[:2])
        except ValueError:
            raise AlignmentError(f"line {number} of its .align is not: start end word") from None
        if len(parts) < 2 or not 0 <= start <= end or (out and start < out[-1][0]):
            raise AlignmentError(f"line {number} of its .align has times that do not rise")
        out.append((start, end, " ".join(parts[2:]).lower()))
    if not any(word not in _SILENT for _, _, word in out):
        raise AlignmentError("its .align has no words")
    return out


def span_clip(
    aligner: Aligner, name: str, voice: str, samples: F32, rate: int, spans: Sequence[tuple[float, float, str]]
) -> Clip:
    """A recording whose words' times are known: the phonemes inside them by alignment of the whole, word by word where
    that disagrees with the spans; words that cannot be confirmed are not judged by. Raises AlignmentError."""
    length = len(samples) / rate
    spoken = [(a, b, words_of(w)) for a, b, w in spans if w not in _SILENT and words_of(w)]
    if spans[-1][1] > length + 0.3 or spoken[-1][1] < 0.2 * length:
        raise AlignmentError(f"its .align ends at {spans[-1][1]:.2f} s, its sound at {length:.2f} s")
    try:
        found = aligner.align(samples, rate, " ".join(w for _, _, tokens in spoken for w in tokens))
    except AlignmentError:
        found = []
    words: list[Word] = []
    at = 0
    for start, end, tokens in spoken:
        part = found[at : at + len(tokens)]
        at += len(tokens)
        if not (part and _agrees(part, start, end)):
            part = _alone(aligner, samples, rate, start, end, tokens) or []
        words += part or [Word(" ".join(tokens), start, end, (PhonemeMark(start, end, ""),), -np.inf)]
    return _clip(name, voice, samples, rate, words)


def _agrees(part: Sequence[Word], start: float, end: float) -> bool:
    return abs(part[0].start_s - start) <= _SPAN_TOLERANCE_S and abs(part[-1].end_s - end) <= _SPAN_TOLERANCE_S


def _alone(
    aligner: Aligner, samples: F32, rate: int, start: float, end: float, tokens: Sequence[str]
) -> list[Word] | None:
    """The words of one span by the sound of that span."""
    first = max(0, round((start - _MARGIN_S) * rate))
    cut = samples[first : round((end + _MARGIN_S) * rate)]
    try:
        part = aligner.align(cut, rate, " ".join(tokens))
    except AlignmentError:
        return None
    shift = first / rate
    moved = [
        Word(
            w.text,
            w.start_s + shift,
            w.end_s + shift,
            tuple(PhonemeMark(m.start_s + shift, m.end_s + shift, m.ipa) for m in w.marks),
            w.score,
        )
        for w in part
    ]
    return moved if _agrees(moved, start, end) else None


@dataclass(frozen=True, slots=True)
class Recording:
    """A sound file and what is known about its words."""

    sound: Path
    spans: Path | None = None
    text: str = ""


def find_recordings(folder: Path) -> list[Recording]:
    """Sound files under ``folder`` with an ``.align`` or ``.txt`` of the same name, beside them or elsewhere in the
    folder; or with a line "NAME sentence" in a ``.txt`` beside them. Sorted by name.

    Raises UsageError where there is no such folder or nothing in it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: give one with *.wav and *.align or *.txt in it")
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    by_stem: dict[str, list[Path]] = {}
    for path in files:
        if path.suffix.lower() in (".align", ".txt"):
            by_stem.setdefault(path.stem, []).append(path)
    scripts = {path.parent: _script(path.parent, files) for path in files if path.suffix.lower() in SOUNDS}
    out: dict[tuple[Path, str], Recording] = {}
    for sound in (p for p in files if p.suffix.lower() in SOUNDS):
        sides = sorted(by_stem.get(sound.stem, ()), key=lambda p: (_distance(p, sound), p.suffix.lower() != ".align"))
        sides = [p for p in sides if _distance(p, sound) < 2 or len(sides) == 1]
        key = (sound.parent, sound.stem)  # GRID has the sound of a clip beside its video
        if key in out and sound.suffix.lower() != ".wav":
            continue
        if sides and sides[0].suffix.lower() == ".align":
            out[key] = Recording(sound, spans=sides[0])
        elif sides:
            out[key] = Recording(sound, text=_sentence(_read(sides[0])))
        elif sound.stem in scripts[sound.parent]:
            out[key] = Recording(sound, text=scripts[sound.parent][sound.stem])
    if not out:
        raise UsageError(
            f"{folder} has no sound files with text: put NAME.align (GRID) or NAME.txt (a sentence) beside NAME.wav"
        )
    return [out[key] for key in sorted(out)]


def _distance(side: Path, sound: Path) -> int:
    """0 = in the same folder, 1 = in folders of the same name (align/s1 beside s1), 2 = elsewhere."""
    return 0 if side.parent == sound.parent else 1 if side.parent.name == sound.parent.name else 2


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig", errors="replace")


def _sentence(text: str) -> str:
    """The sentence in a text file; of one that begins with "Text:" (as LRS has them) that line alone."""
    first = text.strip().splitlines()[0] if text.strip() else ""
    return first[5:].strip() if first.lower().startswith("text:") else " ".join(text.split())


def _script(folder: Path, files: Sequence[Path]) -> dict[str, str]:
    """Lines "NAME sentence" of the text files in a folder (LibriSpeech's ``*.trans.txt``), by name."""
    sounds = {p.stem for p in files if p.parent == folder and p.suffix.lower() in SOUNDS}
    out: dict[str, str] = {}
    for path in files:
        if path.parent == folder and path.suffix.lower() == ".txt" and path.stem not in sounds:
            for line in _read(path).splitlines():
                name, _, sentence = line.strip().partition(" ")
                if name in sounds and sentence:
                    out[name] = sentence
    return out


def folder_clips(folder: Path, minutes: float, seed: int = 7) -> tuple[list[Clip], list[str], int]:
    """Clips of a folder, one line for each file left out, and how many recordings there are.

    Of more than ``minutes`` of sound some recordings are drawn, the same ones every time. Raises UsageError where
    nothing at all can be used.
    """
    found = find_recordings(folder)
    order = np.random.default_rng(seed).permutation(len(found)) if len(found) > 1 else np.zeros(1, int)
    aligner = Aligner()
    clips: list[Clip] = []
    skipped: list[str] = []
    seconds = 0.0
    for i in order:
        if seconds >= 60 * minutes:
            break
        recording = found[int(i)]
        name = str(recording.sound.relative_to(folder))
        try:
            samples, rate = read_sound(recording.sound)
            voice = str(recording.sound.parent.relative_to(folder))
            if recording.spans is not None:
                clip = span_clip(aligner, name, voice, samples, rate, parse_align(_read(recording.spans)))
            else:
                clip = text_clip(aligner, name, voice, samples, rate, recording.text)
        except AvatarError as error:
            line = str(error)
            skipped.append(line if line.startswith(recording.sound.name) else f"{name}: {line}")
            continue
        clips.append(clip)
        seconds += clip.seconds
    if not clips:
        raise UsageError(f"{folder}: none of its {len(found)} recordings can be used; {skipped[0]}")
    return clips, skipped, len(found)
