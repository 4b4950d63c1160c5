"""Recorded speech for the corpus: prompts and clips of Debian packages, and the folders that ``--data`` names.

Everything is labelled by :mod:`avatar.models.data.labels`. Licences, as the packages state them:

==============================  ==================================================  ==================
what                            speakers                                            licence
==============================  ==================================================  ==================
asterisk-core-sounds-en         Allison Smith                                       CC BY-SA 3.0
asterisk-core-sounds-fr         June Wallack                                        CC BY-SA 3.0
asterisk-core-sounds-it         Carlo Flora                                         CC BY 3.0
asterisk-core-sounds-ru         Maxim Topal's speaker                               CC BY 3.0
asterisk-prompt-it-menardi-wav  Paola Dal Zot                                       CC BY-SA 3.0
asterisk-prompt-fr-armelle      Armelle Desjardins                                  BSD-2
asterisk-prompt-es-co           Colombian speaker                                   GPL-2+
klettres-data                   one speaker for each of some 25 languages           GPL-2+
ktuberling-data                 one speaker for each of some 20 languages           GPL-2+
hedgewars-data                  actors of some 15 voice packs                       GPL-2
pocketsphinx-testdata           one LibriVox reader                                 BSD-2, reader PD
asterisk-moh-opsound-g722       music                                               CC BY-SA 3.0
==============================  ==================================================  ==================

Nothing of them is distributed with the engine; the network learns from them. The English prompts, the LibriVox reader,
the speakers TEST_SPEAKERS of ``speech/emodb`` and ``speech/nvidia`` and all of ``talking/obama`` are for testing only.
asterisk-core-sounds-es is left out, because its speaker is the one of the English prompts.
"""

from __future__ import annotations

import csv
import gzip
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from avatar.core.types import F32, freeze
from avatar.errors import AvatarError, MediaError
from avatar.models.data.corpus import RATE, Plan, Split, Utterance, read_sound
from avatar.models.data.fetch import debian_package
from avatar.models.data.labels import Labeller

log = logging.getLogger(__name__)

MINUTES_EACH = 20.0
"""Of sound of each source, at most, where nothing else is asked for."""
SHORTEST_S, LONGEST_S = 0.5, 15.0
TEST_SPEAKERS = ("03", "09", "Mark")


@dataclass(frozen=True, slots=True)
class Recording:
    """One file of a source."""

    name: str
    """Unique within its source; part of the name in the corpus."""
    load: Callable[[], F32]
    """Gives its sound at 16 kHz. May raise MediaError."""
    text: str | None
    language: str
    voice: str
    split: Split


def label_all(plan: Plan, source: str, recordings: Iterable[Recording], labeller: Labeller, minutes: float) -> None:
    """Label recordings in an order shuffled by the seed, up to ``minutes`` of sound, and keep them under ``source``."""
    items = sorted(recordings, key=lambda r: r.name)
    order = np.random.default_rng((plan.seed, 4)).permutation(len(items))
    seconds, refused = plan.corpus.seconds(f"{source}/"), 0
    for k in order:
        item = items[k]
        name = f"{source}/{item.name}"
        if seconds >= 60 * minutes:
            break
        if name in plan.corpus or plan.corpus.refused(name):
            continue
        try:
            samples = item.load()
        except MediaError as error:
            log.info("%s", error)
            plan.corpus.refuse(name)
            continue
        if not SHORTEST_S <= len(samples) / RATE <= LONGEST_S or float(np.abs(samples).max(initial=0)) < 1e-3:
            plan.corpus.refuse(name)
            continue
        labels = labeller.label(samples, item.text, item.language)
        if labels is None:
            refused += 1
            plan.corpus.refuse(name)
            continue
        made = Utterance(samples, labels.marks, item.voice, source, item.language, labels.trusts, item.split)
        plan.corpus.add(name, made)
        seconds += len(samples) / RATE
    log.info("%s: %.1f minutes; %d recordings refused now", source, seconds / 60, refused)


# --- telephone prompts -------------------------------------------------------------------------------------------

_CORE: tuple[tuple[str, str, Split], ...] = (
    ("en", "en-us", "test"), ("fr", "fr-fr", "train"), ("it", "it", "train"), ("ru", "ru", "train"),
)  # fmt: skip


def make_prompts(plan: Plan) -> None:
    """Prompts of Asterisk with their texts, and voices of games for children without."""
    labeller = Labeller()
    sources: list[tuple[str, Callable[[], Iterable[Recording]]]] = [
        *((f"asterisk-{code}", partial(_core, plan, code, voice, split)) for code, voice, split in _CORE),
        ("klettres", partial(_by_folder, plan, "klettres-data", "klettres", (".ogg", ".wav", ".mp3"))),
        ("ktuberling", partial(_by_folder, plan, "ktuberling-data", "ktuberling", (".ogg", ".wav"))),
        ("hedgewars", partial(_by_folder, plan, "hedgewars-data", "hedgewars", (".ogg",), "voices")),
        ("asterisk-it-menardi", partial(_flat, plan, "asterisk-prompt-it-menardi-wav", "it", "menardi", "train")),
        ("asterisk-fr-armelle", partial(_flat, plan, "asterisk-prompt-fr-armelle", "fr-fr", "armelle", "val")),
        ("asterisk-es-co", partial(_flat, plan, "asterisk-prompt-es-co", "es", "es-co", "train")),
    ]
    for source, list_them in sources:
        try:
            label_all(plan, source, list_them(), labeller, plan.minutes or MINUTES_EACH)
        except AvatarError as error:
            log.warning("%s is left out: %s", source, error)


def _core(plan: Plan, code: str, language: str, split: Split) -> Iterator[Recording]:
    sounds = debian_package(plan.cache, f"asterisk-core-sounds-{code}-g722")
    papers = debian_package(plan.cache, f"asterisk-core-sounds-{code}")
    table = next(papers.rglob("core-sounds-*.txt.gz"))
    texts = prompt_texts(gzip.decompress(table.read_bytes()).decode("utf-8", "replace"))
    for path in sounds.rglob("*.g722"):
        # Below the folder of the language, which is named after the speaker.
        parts = path.relative_to(sounds / "usr" / "share" / "asterisk" / "sounds").with_suffix("").parts
        if text := texts.get("/".join(parts[1:])):
            yield Recording(
                "-".join(parts[1:]), partial(read_sound, path, "g722"), text, language, f"asterisk-{code}", split
            )


def prompt_texts(table: str) -> dict[str, str]:
    """Name -> text of Asterisk's tables ("agent-pass: Please enter ..."); sounds that are not speech are left out."""
    out: dict[str, str] = {}
    for line in table.splitlines():
        name, colon, text = line.partition(":")
        text = text.strip()
        if colon and not line.startswith(";") and text and text[0] not in "[(<" and any(c.isalpha() for c in text):
            out[name.strip()] = text
    return out


def _flat(plan: Plan, package: str, language: str, voice: str, split: Split) -> Iterator[Recording]:
    """Prompts of one speaker without texts."""
    folder = debian_package(plan.cache, package)
    for path in folder.rglob("*"):
        if path.suffix in (".wav", ".gsm") and "silence" not in path.parts and "tones" not in path.stem:
            name = "-".join(path.relative_to(folder).with_suffix("").parts[-2:])
            yield Recording(name, partial(read_sound, path), None, language, f"asterisk-{voice}", split)


def _by_folder(
    plan: Plan, package: str, source: str, suffixes: tuple[str, ...], below: str | None = None
) -> Iterator[Recording]:
    """Sounds in one folder a speaker; the folder's name begins with the language in most packages."""
    folder = debian_package(plan.cache, package)
    for path in folder.rglob("*"):
        if path.suffix not in suffixes or (below and below not in path.parts):
            continue
        speaker = path.parent.name
        if speaker in ("alpha", "syllab"):
            speaker = path.parent.parent.name
        name = f"{speaker}-{path.parent.name}-{path.stem}"
        yield Recording(name, partial(read_sound, path), None, speaker, f"{source}-{speaker}", "train")


# --- clips -------------------------------------------------------------------------------------------------------


def make_librivox(plan: Plan) -> None:
    """The LibriVox reader of pocketsphinx' test data."""
    folder = debian_package(plan.cache, "pocketsphinx-testdata")
    clips = next(folder.rglob("librivox"))
    found: list[Recording] = []
    for line in (clips / "transcription").read_text().splitlines():
        text, _, name = line.rpartition("(")
        number = name.rstrip(") ").rpartition("-")[2]
        for path in clips.glob(f"*-{number}.wav"):
            said = text.replace("<s>", "").replace("</s>", "").strip()
            found.append(Recording(number, partial(read_sound, path), said, "en-us", "librivox-austen", "test"))
    label_all(plan, "librivox", found, Labeller(), MINUTES_EACH)


def make_bundle(plan: Plan) -> None:
    """The clips of ``--data``: acted German and English, and a president."""
    if plan.data is None:
        raise MediaError("no folder with speech/emodb is given: give it with --data")
    labeller = Labeller()
    for source, load in (("obama", _obama), ("nvidia", _nvidia), ("emodb", _emodb)):
        try:
            label_all(plan, source, list(load(plan.data)), labeller, 2 * (plan.minutes or MINUTES_EACH))
        except OSError as error:
            log.warning("%s is left out: %s", source, error)


def _index(folder: Path) -> list[dict[str, str]]:
    with (folder / "index.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _emodb(data: Path) -> Iterator[Recording]:
    folder = data / "speech" / "emodb"
    for row in _index(folder):
        split: Split = "test" if row["speaker"] in TEST_SPEAKERS else "train"
        path = folder / row["file"]
        # The clips are cut off in the middle of their texts, so the text says little.
        yield Recording(path.stem, partial(read_sound, path), None, "de", f"emodb-{row['speaker']}", split)


def _nvidia(data: Path) -> Iterator[Recording]:
    folder = data / "speech" / "nvidia"
    for row in _index(folder):
        split: Split = "test" if row["speaker"] in TEST_SPEAKERS else "train"
        for k, (path, a, b) in enumerate(_pieces(folder / row["file"])):
            language = "cmn" if row["language"].lower().startswith(("zh", "cmn", "mandarin")) else "en-us"
            yield Recording(
                f"{path.stem}-{k}", partial(_part, path, a, b), None, language,
                f"nvidia-{row['speaker']}", split,
            )  # fmt: skip


def _obama(data: Path) -> Iterator[Recording]:
    folder = data / "talking" / "obama"
    for row in _index(folder):
        path = folder / row["audio"]
        yield Recording(path.stem, partial(read_sound, path), None, "en-us", "obama", "test")


def _part(path: Path, first: int, end: int) -> F32:
    return freeze(read_sound(path)[first:end].copy())


def _pieces(path: Path, seconds: float = 8.0) -> list[tuple[Path, int, int]]:
    """A long clip in pieces of about ``seconds``, cut at its quietest places: (file, first sample, end)."""
    samples = read_sound(path)
    hop = RATE // 100
    level = np.convolve(np.abs(samples[: len(samples) // hop * hop]).reshape(-1, hop).mean(axis=1), np.ones(15), "same")
    cuts = [0]
    while len(level) - cuts[-1] > 1.5 * seconds * 100:
        a, b = cuts[-1] + round(0.6 * seconds * 100), cuts[-1] + round(1.3 * seconds * 100)
        cuts.append(a + int(np.argmin(level[a:b])))
    ends = [*cuts[1:], len(samples) // hop]
    return [(path, a * hop, b * hop) for a, b in zip(cuts, ends, strict=True)]


# --- music -------------------------------------------------------------------------------------------------------


def make_music(plan: Plan) -> None:
    """Real music, for testing only: the mouth has to stay closed."""
    folder = debian_package(plan.cache, "asterisk-moh-opsound-g722")
    for path in sorted(folder.rglob("*.g722")):
        samples = read_sound(path, "g722")
        step = 15 * RATE
        for k in range(min(8, len(samples) // step)):
            name = f"music/{path.stem}-{k}"
            piece = freeze(samples[k * step : (k + 1) * step].copy())
            if name not in plan.corpus:
                plan.corpus.add(name, Utterance(piece, (), "music", "music", "", freeze(np.zeros(0)), "test"))
