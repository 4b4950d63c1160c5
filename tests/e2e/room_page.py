"""What the tests of the page in space have in common: who sends states, and the page with its heads."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from typing import Any

import numpy as np
from live_page import Engine, Watched
from PIL import Image
from playwright.sync_api import Page
from websockets.asyncio.server import ServerConnection, serve

from avatar.testing.browser import Browser

READY = 90_000
"""Milliseconds: software GL compiles for some seconds."""
INSIDE = """async ({ person, read }) => {
  const { people } = await import("/vr/main.js");
  const { person: one, playout } = people[person];
  const q = (object) => [object.quaternion.w, object.quaternion.x, object.quaternion.y, object.quaternion.z];
  return {
    influences: one.influences, head: q(one.head), eyes: one.eyes.map(q), place: one.head.position.toArray(),
    received: playout.received, badge: Boolean(one.tag.visible && one.tag.parent),
  }[read];
}"""


class States:
    """An engine's parameter output, as far as the page knows: a WebSocket that tells one face 30 times a second."""

    def __init__(self) -> None:
        self.face: dict[str, Any] = {}
        self.sending = True
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), daemon=True)
        self._thread.start()
        assert self._ready.wait(5)

    async def _run(self) -> None:
        async with serve(self._tell, "127.0.0.1", 0) as server:
            self.address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self._ready.set()
            await self._end.wait()

    async def _tell(self, socket: ServerConnection) -> None:
        for number in range(100_000):
            if self.sending:
                await socket.send(json.dumps({"t": number / 30, **self.face}))
            await asyncio.sleep(1 / 30)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(5)


class Pages:
    """``enter(query, script)`` opens the page, with the heads loaded."""

    def __init__(self, engine: Engine, browser: Browser) -> None:
        self._engine, self._browser = engine, browser
        self.opened: list[Watched] = []

    def __call__(self, query: str = "", script: str = "") -> Page:
        context = self._browser.context(viewport={"width": 480, "height": 360})
        if script:
            context.add_init_script(script)
        watched = Watched(context.new_page())
        watched.attach()
        # Software GL says that reading the picture back is slow.
        watched.allowed = ("GPU stall due to ReadPixels", "WebSocket connection to")
        self.opened.append(watched)
        watched.page.goto(f"{self._engine.url}/vr{query}")
        watched.page.wait_for_selector("body[data-ready=true]", timeout=READY)
        return watched.page

    @property
    def hosts(self) -> set[str]:
        """What the page that was opened last has asked."""
        return self.opened[-1].hosts


def inside(page: Page, read: str, person: int = 0) -> Any:
    return page.evaluate(INSIDE, {"person": person, "read": read})


def shown(page: Page, face: dict[str, Any], sender: States, person: int = 0) -> np.ndarray:
    """The page's picture once the person has this face, (H, W, 3)."""
    sender.face = face
    wanted = face.get("arkit", {})
    for _ in range(100):
        page.wait_for_timeout(100)
        found = inside(page, "influences", person)
        if all(abs(found[name] - wanted.get(name, 0)) < 1e-3 for name in found):
            page.wait_for_timeout(400)  # until it is drawn
            return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)
    raise AssertionError(f"the head never showed {face}")


def changed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(H, W) where two pictures differ for the eye."""
    return np.abs(a - b).max(axis=2) > 12
