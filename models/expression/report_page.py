"""``--report F.html``: the result of `avatar eval expression` as one page that needs nothing beside it.

The pictures in it are those of the judged people: the page belongs where their data set belongs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avatar.core import facs
from avatar.core.types import U8
from avatar.errors import StorageError, UsageError
from avatar.models.data.faces.catalogue import CATALOGUE
from avatar.models.expression.report_parts import CSS, difference, picture, strips, table

if TYPE_CHECKING:
    from avatar.models.expression.evaluate import Drawn
    from avatar.models.expression.faces import Pair

_PICTURE = {
    "psnr": ("PSNR dB", 2), "ssim": ("SSIM", 3), "mse": ("MSE", 0), "mouth_psnr": ("PSNR mouth", 2),
    "landmark_error": ("landmarks %", 2), "judged": ("judged to show it", 3), "ms": ("ms a frame", 1),
}  # fmt: skip
_IDENTITY = {
    "identity_distance": ("distance to oneself", 3), "identity_margin": ("margin to the nearest other", 3),
    "identity_margin_min": ("smallest margin", 3), "rank1": ("rank-1", 3), "rank5": ("rank-5", 3),
    "rank10": ("rank-10", 3), "identity_inception": ("Inception formula, identity", 2),
}  # fmt: skip
_MEANING = {
    "PSNR, SSIM, MSE": "Inside the face of the real photo, eyes on eyes, 256 x 256. PSNR mouth: inside the lips' hull. "
    "They reward a picture that is right on average; a blurred one scores well.",
    "landmarks %": "Mean distance of 468 landmarks to the real photo's, in percent of the distance of the eyes.",
    "judged to show it": "By a judge (HOG, linear support vector machine) that no engine has learnt from, trained in "
    "folds on real photos of other people only.",
    "distance, margin": "Euclidean distance of dlib's 128 numbers to one's own neutral photo, and how much further "
    "the nearest other person is. A margin near 0 means that the picture could be somebody else.",
    "rank-k": "Share of the pictures whose own neutral photo is among the k nearest of the gallery.",
    "Inception formula, identity": "exp(mean KL(p(person | picture) || p(person))). Not the Inception Score.",
    "ICC, leakage": "Single action units from 0 to full. ICC(3,1) of what was asked and what is measured; leakage: how "
    "much of every other unit's own range moves with it, mean.",
    "ms a frame": "Processor time of one drawing after the first, median of five, at 512 x 512. Copying costs nothing.",
}
REAL = "real photo"
_CASES = 3


def check(path: Path) -> None:
    """Before the work begins. Raises UsageError where the page could not be written."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--report {path}: name a file that ends in .html")
    if not path.parent.is_dir():
        raise UsageError(f"--report {path}: there is no folder {path.parent}; make it first")


def write(path: Path, result: dict[str, Any], pairs: Sequence[Pair], rows: Mapping[str, Sequence[Drawn]]) -> None:
    """Raises StorageError where the page cannot be written."""
    text = page(result, pairs, rows)
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise StorageError(f"--report {path}: cannot be written ({error.strerror}); name another file") from error


def page(result: dict[str, Any], pairs: Sequence[Pair], rows: Mapping[str, Sequence[Drawn]]) -> str:
    """The HTML."""
    from avatar.models.expression.evaluate import COPY, origin, word

    title = f"Neutral to {word(result)}: {result['people']} people{origin(result)}"
    engines = [name for name in result["rows"] if name != COPY]
    every = {**result["rows"], REAL: result["real"]}
    ground = (COPY, REAL)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(_head(result, engines))}</p>',
        _doubts(result),
        "<h2>Pictures</h2>",
        table("Against the same people's real photos. copy is the neutral photo itself.", _PICTURE, every, ground),
    ]
    if len(pairs) > 1 and engines:
        parts += ["<h2>Gain over the no-op</h2>", _chart(result, engines)]
    parts += [
        "<h2>Identity</h2>",
        table(f"A gallery of {result['gallery']} neutral photos.", _IDENTITY, every, ground),
    ]
    if "units_on" in result:
        parts += ["<h2>Single action units</h2>", *_units(result)]
    parts += ["<h2>Everybody's turn</h2>", _together(pairs, rows, engines)]
    for name in engines:
        parts += [f"<h2>{escape(name)}: best, middle, worst</h2>", _cases(result, name, pairs, rows)]
    parts += ["<h2>What the measures mean</h2>", "<dl>"]
    parts += [f"<dt>{escape(word)}</dt><dd>{escape(text)}</dd>" for word, text in _MEANING.items()]
    parts += ["</dl>", _left_out(result)]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{CSS}</style></head>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _head(result: dict[str, Any], engines: Sequence[str]) -> str:
    source = result["source"]
    said = [f"Vultus {version('vultus')}", f"engines {', '.join(engines) or 'none'}", f"from {source['folder']}"]
    if source.get("dataset"):
        entry = CATALOGUE[source["dataset"]]
        said += [f"licence: {entry.licence}"]
    return "; ".join(said) + ". The pictures show the judged people: keep this page where their photos may be."


def _doubts(result: dict[str, Any]) -> str:
    items = "".join(f"<li><b>{escape(d['measure'])}</b>: {escape(d['text'])}</li>" for d in result["doubts"])
    return f'<div class="doubts"><b>Before you read the figures</b><ul>{items}</ul></div>' if items else ""


def _chart(result: dict[str, Any], engines: Sequence[str]) -> str:
    rows = {name: [one["gain"] for one in result["rows"][name]["each"]] for name in engines}
    means = {name: result["rows"][name]["psnr_over_copy"] for name in engines}
    words = "A dot is a person; the bar is the 95 % bootstrap interval of the mean. Left of +0 doing nothing is better."
    return f'<p class="soft">{words}</p>{strips(rows, means, "dB over copy")}'


def _units(result: dict[str, Any]) -> list[str]:
    made = []
    for key, caption in (("icc", "ICC(3,1), higher is better"), ("leakage", "Leakage, lower is better")):
        rows = {name: row for name, row in result["rows"].items() if "au" in row}
        columns = {unit: (f"AU {unit}", 2) for unit in next(iter(rows.values()))["au"]}
        values = {
            name: {unit: one[key] for unit, one in row["au"].items()} | {"mean": row[key]} for name, row in rows.items()
        }
        made.append(table(f"{caption}; {_portraits(result)}.", {"mean": ("mean", 3), **columns}, values))
    names = ", ".join(f"{unit} {facs.AU_NAMES[int(unit)]}" for unit in next(iter(rows.values()))["au"])
    return [*made, f'<p class="soft">{escape(names)}.</p>']


def _portraits(result: dict[str, Any]) -> str:
    return f"{result['units_on']} portrait{'s' if result['units_on'] > 1 else ''}"


def _together(pairs: Sequence[Pair], rows: Mapping[str, Sequence[Drawn]], engines: Sequence[str]) -> str:
    made = []
    for i in range(min(_CASES, len(pairs))):
        shown = [picture(pairs[i].neutral.pixels, "neutral"), picture(pairs[i].smile.pixels, REAL)]
        shown += [picture(rows[name][i].face.pixels, name) for name in engines]
        made.append(f'<div class="case"><h3>{escape(pairs[i].name)}</h3><div class="row">{"".join(shown)}</div></div>')
    return f'<div class="cases">{"".join(made)}</div>'


def _cases(result: dict[str, Any], name: str, pairs: Sequence[Pair], rows: Mapping[str, Sequence[Drawn]]) -> str:
    gains = [one["gain"] for one in result["rows"][name]["each"]]
    order = list(np.argsort(gains)[::-1])
    picked = dict(zip(("best", "middle", "worst"), (order[0], order[len(order) // 2], order[-1]), strict=True))
    made = []
    for word, i in picked.items() if len(order) > 2 else (("all", i) for i in order):
        one, pair = rows[name][i], pairs[i]
        real: U8 = pair.smile.pixels
        shown = [
            picture(pair.neutral.pixels, "neutral"),
            picture(real, REAL),
            picture(one.face.pixels, name if one.found else f"{name}: no face was found"),
            picture(difference(one.face.pixels, real), f"{name} and the real photo, three times their difference"),
            picture(difference(pair.neutral.pixels, real), "the same of the no-op"),
        ]
        each = result["rows"][name]["each"][i]
        head = f"{word}: {pair.name}, {each['gain']:+.2f} dB over the no-op ({each['psnr']:.2f} dB)"
        made.append(f'<div class="case"><h3>{escape(head)}</h3><div class="row">{"".join(shown)}</div></div>')
    return f'<div class="cases">{"".join(made)}</div>'


def _left_out(result: dict[str, Any]) -> str:
    said = [*result["notes"], *(f"left out: {line}" for line in result["skipped"])]
    said += [f"{name} is not in the table: it cannot draw {why}" for name, why in result["failed"].items()]
    items = "".join(f"<li>{escape(line)}</li>" for line in said)
    return f"<h2>Notes</h2><ul>{items}</ul>" if items else ""
