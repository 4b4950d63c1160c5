"""Where a figure of `avatar eval expression` says less than it seems to: read off the result itself."""

from __future__ import annotations

from typing import Any

FEW = 20
"""People below which an interval is wide."""
SURE = 0.85
"""Accuracy of the judge on real photos below which its verdict is weak."""


def doubts(result: dict[str, Any]) -> list[dict[str, str]]:
    """A list of ``{"measure", "text"}``, the gravest first."""
    made = [*_source(result), *_people(result), *_identity(result), *_judge(result), *_pictures(result)]
    return [{"measure": measure, "text": text} for measure, text in made]


def _source(result: dict[str, Any]) -> list[tuple[str, str]]:
    source = result.get("source", {})
    if source.get("standing") == "made":
        return [("all", f"the pictures were made for tests: nothing here is a figure of {source['title']}")]
    if source.get("standing") == "part":
        text = f"only {source['subjects']} of {source['published_subjects']} subjects of {source['title']} are here"
        return [("all", f"{text}: not comparable with published figures")]
    return []


def _people(result: dict[str, Any]) -> list[tuple[str, str]]:
    if result["people"] >= FEW:
        return []
    return [("all", f"{result['people']} people are few: differences between engines may be chance")]


def _identity(result: dict[str, Any]) -> list[tuple[str, str]]:
    copy, real = result["rows"]["copy"], result["real"]
    if copy["rank1"] is None:
        return [("rank1", "one person alone: there is nobody to be taken for, so identity is not measured")]
    made = []
    engines = {name: row for name, row in result["rows"].items() if name != "copy"}
    if copy["rank1"] == 1.0:
        alike = [name for name, row in engines.items() if row["rank1"] == 1.0]
        also = f", and so has {', '.join(alike)}" if alike else ""
        made.append(
            (
                "rank1",
                f"rank-1 is 1.000 for the no-op, which does nothing{also}: among {result['gallery']} people it tells "
                "no engines apart; look at the margin to the nearest other person",
            )
        )
    timid = [name for name, row in engines.items() if row["identity_distance"] < 0.9 * real["identity_distance"]]
    if timid:
        made.append(
            (
                "identity_distance",
                f"the real photo is {real['identity_distance']:.3f} from the same person's neutral one: to be nearer "
                f"than that ({', '.join(timid)}) is no merit, it may only move less",
            )
        )
    made.append(
        (
            "identity_inception",
            "no Inception network is used: this is the Inception Score's formula with a classifier of the people "
            f"judged (1 to {result['people']}). It grows with identity and diversity, knows nothing of expression, is "
            "highest for the no-op or near it, and cannot be compared with published Inception Scores",
        )
    )
    return made


def _judge(result: dict[str, Any]) -> list[tuple[str, str]]:
    judge = result["judge"]
    if judge is None:
        return [("judged", "one person alone: no judge can learn from others")]
    made = []
    if judge["accuracy"] < SURE:
        made.append(("judged", f"the judge is right on only {judge['accuracy']:.3f} of the real photos"))
    if over := [
        name
        for name, row in result["rows"].items()
        if name != "copy" and row["judged"] is not None and row["judged"] > judge["smile_found"]
    ]:
        text = (
            f"the judge finds it in {judge['smile_found']:.3f} of the real photos: more than that ({', '.join(over)})"
        )
        made.append(("judged", f"{text} means more than these people show, not better"))
    return made


def _pictures(result: dict[str, Any]) -> list[tuple[str, str]]:
    made = []
    for name, row in result["rows"].items():
        gain = row.get("psnr_over_copy")
        if name == "copy" or gain is None:
            continue
        if gain["lo"] <= 0 <= gain["hi"]:
            text = (
                f"{name}: {gain['mean']:+.2f} dB over the no-op, 95 % interval {gain['lo']:+.2f} to {gain['hi']:+.2f}"
            )
            made.append(("psnr", f"{text}: it cannot be told from the no-op by PSNR"))
        if row["no_face"]:
            made.append(("landmark_error", f"{name}: no face was found in {row['no_face']} of its pictures"))
    if "units_on" in result:
        text = (
            f"action units are measured by MediaPipe's landmarks (portraits: {result['units_on']}), which engines that "
            "fit a head to a photo also use: it is no independent coder"
        )
        made.append(("icc", text))
        made.append(("leakage", "the no-op leaks nothing, for it does nothing: read leakage beside ICC"))
    return made
