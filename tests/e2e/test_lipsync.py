"""How the page balances both buffers, on a receiver that is made of numbers."""

from __future__ import annotations

from typing import Any

import pytest

PLANT = """async ({ trouble, seconds, noise }) => {
  const { BASE_MS, balance } = await import("/lipsync.js");
  // Buffers as Chromium has them: a picture's changes by 100 ms a second at most, a sound's is stretched more slowly.
  const slew = (from, to, most) => from + Math.max(-most, Math.min(most, to - from));
  let targets = { ...BASE_MS };
  let audio = BASE_MS.audio + 18;
  let video = BASE_MS.video - 22;
  let seed = 1;
  const rows = [];
  for (let step = 0; step < 4 * seconds; step++) {
    const t = step / 4;
    // What the network asks of each buffer by itself.
    const own = { audio: 60, video: 60 };
    for (const [medium, from, to, more] of trouble) if (t >= from && t < to) own[medium] += more;
    audio = slew(audio, Math.max(targets.audio + 18, own.audio), 15);
    video = slew(video, Math.max(targets.video - 22, own.video), 25);
    seed = (seed * 16807) % 2147483647;
    const skew = video - audio + noise * (seed / 1073741823.5 - 1);
    targets = balance(targets, { skew, audio, video });
    rows.push([t, video - audio, audio, video]);
  }
  return rows;
}"""


@pytest.fixture(scope="module")
def page(engine: Any, browser: Any) -> Any:
    opened = browser.open(engine.url)
    yield opened
    opened.context.close()


def run(page: Any, trouble: list[tuple[str, float, float, float]], seconds: float = 60, noise: float = 0) -> Any:
    return page.evaluate(PLANT, {"trouble": trouble, "seconds": seconds, "noise": noise})


def worst(rows: list[list[float]], begin: float, end: float) -> float:
    return max(abs(skew) for t, skew, _, _ in rows if begin <= t < end)


def test_at_rest_nothing_moves(page: Any) -> None:
    rows = run(page, [], noise=4)
    assert worst(rows, 0, 60) < 8
    assert rows[-1][2] < 80


def test_the_picture_waits_for_a_late_sound_and_no_longer_than_it(page: Any) -> None:
    rows = run(page, [("audio", 10, 30, 120)], noise=4)
    assert worst(rows, 13, 30) < 10, "together again within three seconds"
    assert worst(rows, 35, 60) < 10
    assert rows[-1][3] < 100, "the delay goes with its reason"


def test_the_sound_waits_for_a_late_picture(page: Any) -> None:
    rows = run(page, [("video", 10, 25, 150)], noise=4)
    assert worst(rows, 16, 25) < 15
    assert rows[-1][2] < 100
    assert worst(rows, 55, 60) < 10


def test_both_late_is_no_reason_to_move(page: Any) -> None:
    rows = run(page, [("audio", 10, 30, 100), ("video", 10, 30, 100)])
    assert worst(rows, 15, 30) < 12
    assert max(row[2] for row in rows) < 200, "they do not drive each other up"
