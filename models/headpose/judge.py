"""``avatar eval headpose``: what the head's motion is worth, where the truth is known and where it is recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from avatar.analysis.head_model import HEAD_FILE, HeadModel
from avatar.models.headpose.clips import Clip, clips_of_videos, hear
from avatar.models.headpose.judge_live import decoder, emotions, live, spoken
from avatar.models.headpose.judge_planted import planted
from avatar.models.headpose.judge_real import real

Progress = Callable[[int, int], None]

PUBLISHED: dict[str, Any] = {
    "sd_deg": {"pitch": 3.3, "yaw": 0.9, "roll": 0.8},
    "range_deg": {"pitch": 9.5, "yaw": 2.3, "roll": 2.3},
    "emotional_speed": 2.0,
    "nod_share": 0.42,
}
"""Neutral speech, Busso et al., TASLP 2007; nods with pitch accents as in ``generated.py``."""
VOICES = 8


def headpose(
    weights: Path,
    *,
    progress: Progress = lambda done, of: None,
    data: Path | None = None,
    corpus: Path | None = None,
    keep: Path | None = None,
) -> dict[str, Any]:
    """Judge the shipped head model and its training.

    :param data: folder of videos or tracks of people; without it the rows of real clips are left out.
    :param corpus: labelled speech whose voices that are in no training are heard. :param keep: folder for
        the motions, as npz.

    Raises UsageError, ModelFileError.
    """
    from avatar.models.headpose.build import speech
    from avatar.models.visemes.build import default_corpus

    model = HeadModel.load(weights / HEAD_FILE)
    progress(0, 6)
    result: dict[str, Any] = {"task": "headpose", "published": PUBLISHED}
    result["planted"] = planted(keep)
    progress(2, 6)
    if data is not None:
        clips: list[Clip] = clips_of_videos(data)
        result["real"] = real(clips)
    progress(4, 6)
    heard = {voice: hear(sound) for voice, sound in speech(corpus or default_corpus(), ("test", "val"), limit=VOICES)}
    result["speech"] = spoken(model, heard, keep)
    result["emotion"] = emotions(model, heard)
    progress(5, 6)
    result["live"] = {**live(model, list(heard.values())), **decoder(model, list(heard.values()))}
    progress(6, 6)
    return result


def tables(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]], list[str]]]:
    """The findings as tables for people."""
    made = []
    p = result["planted"]
    rows = [
        [name, f"{row['log_likelihood']:.2f}",
         f"{row['log_likelihood_in_sequence']:.2f}" if row["log_likelihood_in_sequence"] is not None else "-",
         f"{row['cca_minus_shuffled']['mean']:.3f}"]
        for name, row in p["rows"].items()
    ]  # fmt: skip
    notes = [
        f"segments: adjusted Rand index {p['ari']:.3f} (prosody alone {p['ari_prosody']:.3f}, gesture alone "
        f"{p['ari_gesture']:.3f}); apex off by {p['apex_frames']:.2f} frames at 30 a second (median), "
        f"{p['apex_within_one']:.2f} within one; learnt in {p['seconds']:.0f} s"
    ]
    made.append(
        (
            "Planted corpus",
            ["model", "log-likelihood a frame, given the sound", "and the frames before", "correlation less shuffled"],
            rows,
            notes,
        )
    )
    axes = ("pitch", "yaw", "roll")

    def line(name: str, key: str, row: dict[str, Any]) -> list[str]:
        return [name, key, *(f"{row[key][axis]:.2f}" for axis in axes)]

    rows = [["published, neutral", key, *(f"{PUBLISHED[key][a]:.2f}" for a in axes)] for key in ("sd_deg", "range_deg")]
    keys = ("sd_deg", "range_deg", "speed_deg_s")
    notes = []
    if "real" in result:
        r = result["real"]
        for name, row in (("recorded", r["recorded"]), ("made, clip left out", r)):
            rows += [line(name, key, row) for key in keys]
        c = r["cca_minus_shuffled"]
        notes.append(f"correlation less shuffled {c['mean']:.3f} ({c['lo']:.3f} to {c['hi']:.3f}), {r['clips']} clips")
    rows += [line("shipped, unseen voices", key, result["speech"]) for key in keys]
    s, e, v = result["speech"], result["emotion"], result["live"]
    notes += [
        f"happy or angry against neutral speed: {e['happiness']:.2f}, {e['anger']:.2f}",
        *(
            f"{k}: accents with a nod {s[k]['nod_share']:.2f} (any moment {s[k]['nod_share_chance']:.2f}); "
            f"head first at {s[k]['lead_share']:.2f} of {s[k]['onsets']} onsets "
            f"(any moment {s[k]['lead_share_chance']:.2f})"
            for k in ("calm", "live", "rules")
        ),
        f"{v['minutes']:.0f} minutes: largest step {v['jump_deg']:.2f} degrees, farthest {v['farthest_deg']:.1f}, "
        f"autocorrelation {v['recurrence']:.2f}, the same sound again {v['same_sound_again']:.2f}",
        f"decoder: {v['agreement']:.3f} as over the whole sound, {v['hop_ms']:.3f} ms a hop with 32 states, lag "
        f"{v['lag_ms']} ms",
    ]
    made.append(("Heads", ["who", "what", *axes], rows, notes))
    return made
