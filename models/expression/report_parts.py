"""Pieces of the report's page: pictures as data, tables, the chart. All text is escaped here."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

import cv2
import numpy as np

from avatar.core.types import U8

CSS = """
:root { color-scheme: light dark; --ink: #1b2024; --soft: #5c666e; --line: #d6dce0; --back: #fbfcfc; --card: #fff;
  --mark: #0b6e69; --warn: #8a4b00; --warnback: #fff4e2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ecee; --soft: #9aa6ad; --line: #343c42; --back: #14181b;
  --card: #1c2125; --mark: #5cc8c0; --warn: #ffc27a; --warnback: #35281a; } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 76rem; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; margin: 0 0 .25rem } h2 { font-size: 1.15rem; margin: 2.5rem 0 .6rem }
p { margin: .4rem 0; max-width: 62rem } .soft { color: var(--soft) }
.doubts { border-left: 4px solid var(--warn); background: var(--warnback); padding: .7rem 1rem; margin: 1.2rem 0 }
.doubts ul { margin: .3rem 0 0; padding-left: 1.1rem } .doubts b { color: var(--warn) }
.scroll { overflow-x: auto; margin-bottom: .9rem }
table { border-collapse: collapse; width: 100%; background: var(--card) }
caption { text-align: left; color: var(--soft); padding: 0 0 .4rem }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left }
.many th, .many td { padding: .3rem .38rem; font-size: .84rem } thead th { color: var(--soft); font-weight: 600 }
td.best { font-weight: 700; color: var(--mark) } td.bad { color: var(--warn) }
tr.ground td { color: var(--soft) }
.cases { display: grid; gap: 1rem } .case { background: var(--card); border: 1px solid var(--line); padding: .7rem }
.case h3 { font-size: .95rem; margin: 0 0 .5rem } .row { display: flex; gap: .5rem; flex-wrap: wrap }
figure { margin: 0; flex: 0 1 192px } img { width: 100%; max-width: 256px; display: block; border-radius: 3px }
figcaption { font-size: .8rem; color: var(--soft); padding-top: .2rem } svg text { fill: var(--ink); font-size: 12px }
dt { font-weight: 600; margin-top: .6rem } dd { margin: 0; color: var(--soft); max-width: 62rem }
"""

BEST = {"psnr": 1, "ssim": 1, "mse": -1, "mouth_psnr": 1, "landmark_error": -1, "icc": 1, "leakage": -1}
"""Measures of which a table may say who is best, and in which direction; the others need reading."""


def picture(pixels: U8, caption: str) -> str:
    """A figure with the picture in it."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
    code = base64.b64encode(data.tobytes()).decode()
    words = escape(caption)
    return f'<figure><img alt="{words}" src="data:image/jpeg;base64,{code}"><figcaption>{words}</figcaption></figure>'


def difference(a: U8, b: U8, gain: float = 3.0) -> U8:
    """How far two pictures differ, on black."""
    apart = np.abs(a.astype(np.float32) - b.astype(np.float32)).max(2)
    return np.asarray(
        cv2.applyColorMap(np.clip(apart * gain, 0, 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    )


def table(
    caption: str,
    columns: Mapping[str, tuple[str, int]],
    rows: Mapping[str, Mapping[str, float | None]],
    ground: Sequence[str] = (),
) -> str:
    """``columns``: key -> heading and digits. ``ground``: rows that are no engines and never the best."""
    heads = "".join(f"<th>{escape(head)}</th>" for head, _ in columns.values())
    best = {}
    for key, sign in BEST.items():
        values = {n: row[key] for n, row in rows.items() if n not in ground and row.get(key) is not None}
        if len(values) > 1:
            best[key] = max(values, key=lambda name: sign * (values[name] or 0.0))
    body = []
    for name, row in rows.items():
        cells = []
        for key, (_, digits) in columns.items():
            value = row.get(key)
            mark = ' class="best"' if best.get(key) == name else ""
            cells.append(f"<td{mark}>{'-' if value is None else f'{value:.{digits}f}'}</td>")
        kind = ' class="ground"' if name in ground else ""
        body.append(f"<tr{kind}><td>{escape(name)}</td>{''.join(cells)}</tr>")
    kind = "scroll many" if len(columns) > 8 else "scroll"
    return (
        f'<div class="{kind}"><table><caption>{escape(caption)}</caption><thead><tr><th></th>{heads}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def strips(rows: Mapping[str, Sequence[float]], means: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """A dot for each person, a bar from lo to hi with the mean, a line for each row; zero is the no-op."""
    values = [v for row in rows.values() for v in row] or [0.0]
    low, high = min(*values, 0.0), max(*values, 0.0)
    room = max(0.5, (high - low) * 0.06)
    low, high = low - room, high + room
    left, width, line = 120, 720, 44
    height = line * len(rows) + 34

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * width

    step = next(s for s in (0.5, 1, 2, 5, 10, 20, 50) if (high - low) / s <= 9)
    ticks = np.arange(np.ceil(low / step) * step, high, step)
    parts = [f'<svg viewBox="0 0 {left + width + 20} {height}" role="img" aria-label="gain over the no-op">']
    for tick in ticks:
        strong = "var(--soft)" if abs(tick) < 1e-9 else "var(--line)"
        parts.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="4" y2="{height - 24}" stroke="{strong}"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{height - 8}" text-anchor="middle">{tick + 0.0:+g}</text>')
    parts.append(f'<text x="{left - 12}" y="{height - 8}" text-anchor="end">{escape(unit)}</text>')
    for number, (name, row) in enumerate(rows.items()):
        y = 4 + line * number + line / 2
        parts.append(f'<text x="{left - 12}" y="{y + 4:.1f}" text-anchor="end">{escape(name)}</text>')
        for index, value in enumerate(row):
            shift = (index * 7 % 5 - 2) * 3  # so that dots of the same place are seen beside each other
            parts.append(f'<circle cx="{x(value):.1f}" cy="{y + shift:.1f}" r="3" fill="var(--soft)" opacity=".45"/>')
        lo, mean, hi = (means[name][key] for key in ("lo", "mean", "hi"))
        parts.append(
            f'<line x1="{x(lo):.1f}" x2="{x(hi):.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--mark)" stroke-width="4"/>'
        )
        parts.append(f'<circle cx="{x(mean):.1f}" cy="{y:.1f}" r="6" fill="var(--mark)"/>')
    return "".join(parts) + "</svg>"
