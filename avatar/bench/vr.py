"""`avatar bench vr`: the page in space, in headless Chromium with software GL."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from avatar.bench.process import running
from avatar.config import Config

SIZE = (320, 240)
READY_S = 90.0
"""Software GL compiles the shaders for some seconds."""
SETTLE_S = 3.0
_COUNT = """async (seconds) => {
  const { people, renderer } = await import("/vr/main.js");
  const times = [], moved = [];
  let going = true, before = null, last = -1;
  const look = (now) => {
    // Only what was really drawn counts, not the browser's calls.
    if (renderer.info.render.frame !== last) {
      last = renderer.info.render.frame;
      times.push(now);
      const jaw = people[0].person.influences.jawOpen;
      if (before !== null && jaw !== before) moved.push(jaw);
      before = jaw;
    }
    if (going) requestAnimationFrame(look);
  };
  const received = people.map(({ playout }) => playout.received);
  requestAnimationFrame(look);
  await new Promise((done) => setTimeout(done, 1000 * seconds));
  going = false;
  const gl = renderer.getContext(), names = gl.getExtension("WEBGL_debug_renderer_info");
  return {
    times, jaw_moved: moved.length, triangles: renderer.info.render.triangles,
    states: people.map(({ playout }, i) => playout.received - received[i]),
    gl: gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER),
  };
}"""


def vr(config: Config, seconds: float, progress: Callable[[int, int], None] = lambda done, of: None) -> dict[str, Any]:
    """Pictures a second of the page with one head and with two, at 320x240, moved by a running engine's demo voice.

    ``one`` and ``two``: ``fps``, ``frame_ms`` {p50, p95} between pictures, ``states_per_s``, ``triangles``,
    ``load_s`` until the heads stood there. ``renderer``: what drew. Chromium draws at most 60 a second.
    """
    from avatar.testing.browser import Browser

    result: dict[str, Any] = {"size": list(SIZE)}
    with Browser() as browser, running(config, "input.audio=demo") as (address, _):
        for done, (name, query) in enumerate((("one", ""), ("two", "?left=here&right=here"))):
            progress(done, 2)
            result[name], result["renderer"] = _measure(browser, f"{address}/vr/{query}", seconds)
    progress(2, 2)
    return result


def _measure(browser: Any, url: str, seconds: float) -> tuple[dict[str, Any], str]:
    page = browser.context(viewport={"width": SIZE[0], "height": SIZE[1]}).new_page()
    begun = time.monotonic()
    page.goto(url)
    page.wait_for_selector("body[data-ready=true]", timeout=1000 * READY_S)
    page.wait_for_selector("#status[data-kind=live]", timeout=1000 * READY_S)
    loaded = time.monotonic() - begun
    page.wait_for_timeout(1000 * SETTLE_S)
    seen = page.evaluate(_COUNT, seconds)
    page.context.close()
    gaps = np.diff(seen["times"])
    row = {
        "fps": round(1000 * len(gaps) / float(gaps.sum()), 1),
        "frame_ms": {f"p{p}": round(float(np.percentile(gaps, p)), 1) for p in (50, 95)},
        "states_per_s": [round(count / seconds, 1) for count in seen["states"]],
        "jaw_moved": seen["jaw_moved"],
        "triangles": seen["triangles"],
        "load_s": round(loaded, 1),
    }
    return row, seen["gl"]
