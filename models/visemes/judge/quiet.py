"""``avatar eval quiet``: does the mouth stay shut where nobody speaks, and does it shut when speech ends?

Judged on the face that leaves: cues of the voice through the synchronizer, neutral mood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avatar.analysis.voice import VoiceAnalyzer
from avatar.core.facs import INDEX
from avatar.core.types import F32
from avatar.errors import AvatarError, UsageError
from avatar.models.visemes.judge import backgrounds, held_out
from avatar.models.visemes.judge.align import Aligner
from avatar.models.visemes.judge.held_out import Clip
from avatar.models.visemes.judge.metrics import HOPS, lip_gap
from avatar.models.visemes.texts import TEST_VARIANTS
from avatar.pipeline import offline
from avatar.sync.synchronizer import Style, Synchronizer

OPEN = 0.05
"""jawOpen from which a mouth counts as open."""
PARTED = 0.05
"""Opening between the lips, in widths of the mouth, from which they count as parted."""
TARGETS = {"open_share": 0.005, "closes_ms": 100.0}
MUSIC = Path("/usr/share/asterisk/moh")
"""Recorded music (Debian's package ``asterisk-moh-opsound-wav``)."""
_SETTLE_S = 1.0
"""After a sentence this much is not judged: the end of speech is judged by itself."""
_BACKGROUND_DBFS = -50.0
_SNR_DB = 10.0
_RATE = backgrounds.RATE
_LOOKS = 50
"""A second: how often the face is looked at while nobody speaks."""

Progress = Callable[[int, int], None]


def quiet(
    weights: Path,
    minutes: float = 10.0,
    data: Path | None = None,
    corpus: Path | None = None,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """The keys ``open_share``, ``kinds.NAME.open_share``, ``closes_ms.{p50,p95}`` and ``speech_in_noise``.

    :param minutes: of noise, music and silence, half of them after a sentence was heard.
    :param data: a folder of recordings without speech, judged as well. :param corpus: for Kokoro's sentences.

    Raises UsageError where ``data`` holds no sound, ModelFileError where the engine's weights are missing.
    """
    if minutes <= 0:
        raise UsageError("--minutes must be more than 0")
    voices = _sentences(corpus)
    recorded = _recorded(data)
    made = list(backgrounds.KINDS)
    parts = [(kind, after) for after in (False, True) for kind in (*made, *recorded)]
    seconds = 60 * minutes / len(parts)
    of = len(parts) + 2
    kinds: dict[str, dict[str, Any]] = {}
    for done, (kind, after) in enumerate(parts):
        progress(done, of)
        # Every part has a sound of its own and the same one each time.
        random = np.random.default_rng((done, 1))
        pieces = _levels(kind, recorded, seconds, random)
        lead = voices[0].samples if after and voices else np.zeros(0, np.float32)
        rate = voices[0].rate if after and voices else _RATE
        _judge(weights, kinds.setdefault(kind, {"levels": {}}), _resampled(lead, rate), pieces)
    for found in kinds.values():
        found |= _share(found["levels"].values())
    progress(len(parts), of)
    closes = _closes(weights, voices)
    progress(len(parts) + 1, of)
    noisy = _in_noise(weights, voices)
    progress(of, of)
    every = [level for found in kinds.values() for level in found["levels"].values()]
    result = {
        "task": "quiet",
        **_share(every),
        "kinds": kinds,
        **closes,
        "speech_in_noise": noisy,
        "missing": [] if recorded else ["recorded music: apt-get install asterisk-moh-opsound-wav"],
    }
    result["missed_targets"] = _missed(result)
    return result


def face(analyzer: VoiceAnalyzer, samples: F32, rate: int = _RATE, fps: int = HOPS) -> F32:
    """(n, 52), ``fps`` a second: the face for a sound, as it leaves the engine."""
    analyzer.reset()
    count = offline.frame_count(len(samples) / rate, fps)
    states = offline.states(
        offline.chunks(samples, rate), count, fps, analyzer, analyzer.latency, lambda t, s: (), Synchronizer(Style())
    )
    return np.array([state.arkit for state in states])


def _resampled(samples: F32, rate: int) -> F32:
    if rate == _RATE or len(samples) == 0:
        return samples
    import soxr

    return soxr.resample(samples, rate, _RATE).astype(np.float32)


# --- nobody speaks --------------------------------------------------------------------------------------------------


def _recorded(data: Path | None) -> dict[str, list[F32]]:
    """Recordings without speech: Debian's music where it is installed, and the user's own."""
    out: dict[str, list[F32]] = {}
    for name, folder in (("recorded music", MUSIC), ("own recordings", data)):
        if folder is None or not folder.is_dir():
            continue
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in held_out.SOUNDS)
        sounds = []
        for path in files:
            try:
                sounds.append(_resampled(*held_out.read_sound(path)))
            except AvatarError:
                continue
        if sounds:
            out[name] = sounds
        elif folder == data:
            raise UsageError(f"{folder} has no sound files: give recordings in which nobody speaks")
    return out


def _levels(
    kind: str, recorded: dict[str, list[F32]], seconds: float, random: np.random.Generator
) -> list[tuple[float, F32]]:
    """(dBFS, sound) of a kind at its levels, in random order."""
    levels = backgrounds.SILENCES if kind == "silence" else backgrounds.LEVELS
    n = max(1, round(seconds * _RATE / len(levels)))
    out = []
    for level in random.permutation(levels):
        if kind in recorded:
            sound = recorded[kind][int(random.integers(len(recorded[kind])))]
            first = int(random.integers(max(1, len(sound) - n)))
            part = np.resize(sound[first : first + n], n)
        else:
            part = backgrounds.KINDS[kind](n, random)
        silent = np.isneginf(level)
        out.append((float(level), np.zeros(n, np.float32) if silent else backgrounds.at_level(part, float(level))))
    return out


def _judge(weights: Path, found: dict[str, Any], lead: F32, pieces: list[tuple[float, F32]]) -> None:
    """One stream: a sentence perhaps, then the pieces; adds what was open to ``found``."""
    settle = np.zeros(round(_SETTLE_S * _RATE) if len(lead) else 0, np.float32)
    sound = np.concatenate((lead, settle, *(piece for _, piece in pieces)))
    jaw = face(VoiceAnalyzer(weights, head="still"), sound, fps=_LOOKS)[:, INDEX["jawOpen"]]
    at = len(lead) + len(settle)
    for level, piece in pieces:
        part = jaw[round(at * _LOOKS / _RATE) : round((at + len(piece)) * _LOOKS / _RATE)]
        at += len(piece)
        name = "-inf" if np.isneginf(level) else f"{level:.0f}"
        one = found["levels"].setdefault(name, {"seconds": 0.0, "open_seconds": 0.0})
        one["seconds"] = round(one["seconds"] + len(part) / _LOOKS, 2)
        one["open_seconds"] = round(one["open_seconds"] + float((part > OPEN).sum()) / _LOOKS, 2)


def _share(parts: Any) -> dict[str, float]:
    rows = list(parts)
    seconds, opened = sum(r["seconds"] for r in rows), sum(r["open_seconds"] for r in rows)
    return {"open_share": round(opened / max(seconds, 1e-9), 5), "seconds": round(seconds, 1)}


# --- speech ends ----------------------------------------------------------------------------------------------------


def _sentences(corpus: Path | None) -> list[Clip]:
    """Voices that end: espeak-ng, people, and Kokoro where a corpus is given."""
    found = list(held_out.espeak_clips(TEST_VARIANTS, per_sentence=1))
    sources: list[Callable[[], Sequence[Clip]]] = [lambda: held_out.librivox_clips(Aligner())]
    if corpus is not None:
        sources.append(lambda: held_out.kokoro_clips(corpus, 25))
    for source in sources:
        try:
            found += source()
        except AvatarError:  # not installed, or not in this corpus: the others do
            continue
    return found


def _cut(clip: Clip) -> F32:
    """The clip up to the end of its last phoneme, at 48 kHz, faded out over 5 ms."""
    end = max(mark.end_s for mark in clip.marks if mark.ipa.strip())
    samples = clip.samples[: round(min(end, clip.seconds) * clip.rate)].copy()
    fade = min(len(samples), round(0.005 * clip.rate))
    samples[len(samples) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return _resampled(samples, clip.rate)


def _endings(clips: Sequence[Clip]) -> Iterator[tuple[str, F32, float]]:
    """(what follows, sound, second at which speech ends)."""
    random = np.random.default_rng(3)
    for clip in clips:
        said = _cut(clip)
        after = np.zeros(_RATE, np.float32)
        yield "silence", np.concatenate((said, after)), len(said) / _RATE
        room = backgrounds.at_level(backgrounds.pink(len(said) + len(after), random), _BACKGROUND_DBFS)
        yield "noise", np.concatenate((said, after)) + room, len(said) / _RATE


def _closes(weights: Path, clips: Sequence[Clip]) -> dict[str, Any]:
    """How long after the end of speech jaw and lips are open for the last time."""
    analyzer = VoiceAnalyzer(weights, head="still")
    jaw: dict[str, list[float]] = {"silence": [], "noise": []}
    lips: list[float] = []
    for follows, sound, end in _endings(clips):
        shown = face(analyzer, sound)
        jaw[follows].append(last_above(shown[:, INDEX["jawOpen"]], OPEN, end))
        lips.append(last_above(lip_gap(shown), PARTED, end))
    every = jaw["silence"] + jaw["noise"]
    return {
        "closes_ms": _spread(every) | {follows: _spread(times) for follows, times in jaw.items()},
        "lips_close_ms": _spread(lips),
    }


def last_above(track: F32, limit: float, after: float) -> float:
    """Milliseconds from ``after`` (seconds) until ``track``, 100 a second, is below ``limit`` for good; 0 where it is
    already."""
    above = np.flatnonzero(track > limit)
    if len(above) == 0:
        return 0.0
    return max(0.0, 1000 * ((int(above[-1]) + 1) / HOPS - after))


def _spread(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"p50": None, "p95": None, "max": None, "endings": 0}
    p50, p95, top = (round(float(v), 1) for v in np.percentile(values, (50, 95, 100)))
    return {"p50": p50, "p95": p95, "max": top, "endings": len(values)}


# --- speech in noise ------------------------------------------------------------------------------------------------


def _in_noise(weights: Path, clips: Sequence[Clip]) -> dict[str, Any]:
    """How far the jaw opens in vowels with noise 10 dB below the voice, against the same without noise."""
    analyzer = VoiceAnalyzer(weights, head="still")
    random = np.random.default_rng(5)
    out: dict[str, Any] = {"snr_db": _SNR_DB}
    kinds = ("pink", "fan", "traffic")
    sums = np.zeros((len(kinds), 4))  # opening clean, opening in noise, hops open, hops
    for clip in clips[:: max(1, len(clips) // 6)]:
        said = _resampled(clip.samples, clip.rate)
        level = 20 * np.log10(float(np.sqrt(np.mean(said[np.abs(said) > 0.01] ** 2))))
        vowel = clip.truth.energy > 0
        plain = face(analyzer, said)[: len(vowel), INDEX["jawOpen"]]
        vowel = vowel[: len(plain)]
        for row, kind in zip(sums, kinds, strict=True):
            noise = backgrounds.at_level(backgrounds.KINDS[kind](len(said) + _RATE, random), level - _SNR_DB)
            # The noise is there before the voice, as in a room.
            mixed = np.concatenate((noise[:_RATE], noise[_RATE:] + said))
            heard = face(analyzer, mixed)[HOPS:, INDEX["jawOpen"]][: len(vowel)]
            at = vowel[: len(heard)]
            row += plain[: len(at)][at].sum(), heard[at].sum(), (heard[at] > OPEN).sum(), at.sum()
    for (clean, noisy, opened, vowels), kind in zip(sums, kinds, strict=True):
        out[kind] = {
            "opening": round(float(noisy / max(clean, 1e-6)), 3),
            "vowels_open": round(float(opened / max(1, vowels)), 3),
        }
    return out


# --- what it says ---------------------------------------------------------------------------------------------------


def _missed(result: dict[str, Any]) -> list[str]:
    out = []
    if result["open_share"] >= TARGETS["open_share"]:
        out.append(f"open_share: {result['open_share']:.4f}, wanted less than {TARGETS['open_share']}")
    p95 = result["closes_ms"]["p95"]
    if p95 is not None and p95 > TARGETS["closes_ms"]:
        out.append(f"closes_ms p95: {p95:.0f}, wanted at most {TARGETS['closes_ms']:.0f}")
    return out


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """Title, heads, rows and notes of the tables."""
    levels = [f"{level:.0f}" for level in backgrounds.LEVELS]
    rows = []
    for kind, found in [*result["kinds"].items(), ("all", result | {"levels": {}})]:
        cells = [found["levels"].get(level) for level in levels]
        shares = [f"{100 * c['open_seconds'] / max(c['seconds'], 1e-9):.1f}" if c else "" for c in cells]
        rows.append([kind, f"{found['seconds']:.0f}", f"{100 * found['open_share']:.2f}", *shares])
    heads = ["sound", "s", "open %", *(f"{level} dB" for level in levels)]
    closes = [
        [name, *("-" if part[k] is None else f"{part[k]:.0f}" for k in ("p50", "p95", "max")), str(part["endings"])]
        for name, part in (
            ("jaw", result["closes_ms"]),
            ("jaw, then silence", result["closes_ms"]["silence"]),
            ("jaw, then noise", result["closes_ms"]["noise"]),
            ("lips", result["lips_close_ms"]),
        )
    ]
    noisy = [
        [kind, f"{part['opening']:.2f}", f"{100 * part['vowels_open']:.0f}"]
        for kind, part in result["speech_in_noise"].items()
        if isinstance(part, dict)
    ]
    return [
        ("Mouth open where nobody speaks", heads, rows, []),
        ("Shut after speech, ms", ["", "p50", "p95", "max", "endings"], closes, []),
        (
            f"Speech {result['speech_in_noise']['snr_db']:.0f} dB above a noise",
            ["noise", "opening against clean", "vowels open %"],
            noisy,
            [*(f"missing: {m}" for m in result["missing"]), *(f"missed: {m}" for m in result["missed_targets"])],
        ),
    ]
