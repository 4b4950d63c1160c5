"""The page in space: heads that follow states, with nothing from anywhere else, in a browser with software GL."""

from __future__ import annotations

import urllib.request
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import numpy as np
import pytest
from live_page import Engine
from playwright.sync_api import expect
from room_page import changed, inside, shown

from avatar.core.geometry import from_euler
from avatar.testing.browser import Browser

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]


def test_a_head_does_what_the_states_say(enter: Any, sender: Any) -> None:
    states = sender()
    page = enter(f"?left={states.address}")
    rest = shown(page, {}, states)
    assert np.abs(rest[:, :, 0] - rest[:, :, 2])[100:260, 180:300].mean() > 20, "skin, not a grey mask"
    smile = shown(page, {"arkit": {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.7, "jawOpen": 0.25}}, states)
    moved = changed(rest, smile)
    lower, upper = moved[190:290].mean(), moved[40:130].mean()
    assert lower > 0.02 and lower > 4 * upper, "the mouth moves, the forehead does not"  # noqa: PT018
    brows = changed(
        rest, shown(page, {"arkit": {"browInnerUp": 1, "browOuterUpLeft": 1, "browOuterUpRight": 1}}, states)
    )
    assert brows[100:190].mean() > 2 * brows[200:290].mean()
    assert changed(rest, shown(page, {}, states)).mean() < 0.005, "and back"


def test_head_and_eyes_turn_as_the_states_mean_it(enter: Any, sender: Any) -> None:
    states = sender()
    page = enter(f"?left={states.address}")
    turned = shown(
        page,
        {"head": {"yaw": 20, "pitch": -8, "roll": 5, "x": 10, "y": -4, "z": 500}, "gaze": {"yaw": 12, "pitch": 6}},
        states,
    )
    assert inside(page, "head") == pytest.approx(from_euler(20, -8, 5), abs=1e-4)
    assert inside(page, "eyes") == [pytest.approx(from_euler(12, 6, 0), abs=1e-4)] * 2
    assert inside(page, "place") == pytest.approx([0.010, -0.004, 0.060], abs=1e-6), "a camera's distance is bounded"
    assert changed(turned, shown(page, {}, states)).mean() > 0.05


def test_two_people_at_one_table(enter: Any, sender: Any) -> None:
    left, right = sender(), sender()
    page = enter(f"?left={left.address}&right={right.address}")
    shown(page, {}, right, 1)
    rest = shown(page, {}, left)
    one = shown(page, {"arkit": {"jawOpen": 1}, "head": {"pitch": 15}}, left)
    assert max(inside(page, "influences", 1).values()) == 0, "the other does not move"
    moved = changed(rest, one)
    assert moved[:, :240].mean() > 10 * moved[:, 240:].mean()
    assert moved[:, :240].mean() > 0.005
    other = shown(page, {"arkit": {"browInnerUp": 1}, "head": {"yaw": 25}}, right, 1)
    moved = changed(one, other)
    assert moved[:, 240:].mean() > 10 * moved[:, :240].mean()
    assert inside(page, "influences")["jawOpen"] == pytest.approx(1, abs=1e-3)
    expect(page.locator("#status")).to_have_text("Live")
    page.get_by_role("button", name="Change seats").click()
    page.wait_for_timeout(500)
    visible = page.evaluate(
        "async () => (await import('/vr/main.js')).people.map(({ person }) => person.place.visible)"
    )
    assert visible == [False, True], "who sits in one's own chair is not drawn"


def test_nothing_comes_from_elsewhere_and_the_engine_moves_it(engine: Engine, enter: Any) -> None:
    page = enter()
    expect(page.locator("#status")).to_have_text("Live", timeout=15_000)
    jaws = []
    for _ in range(25):
        jaws.append(inside(page, "influences")["jawOpen"])
        page.wait_for_timeout(120)
    assert max(jaws) - min(jaws) > 0.05, "the demo voice opens the jaw"
    assert enter.hosts == {urlsplit(engine.url).netloc}


def test_sound_and_states_by_one_connection(enter: Any) -> None:
    page = enter()
    expect(page.locator("#status")).to_have_text("Live", timeout=15_000)
    page.get_by_role("button", name="Sound").click()
    expect(page.locator("#sound")).to_have_attribute("aria-pressed", "true", timeout=15_000)
    before = inside(page, "received")
    page.wait_for_timeout(3000)
    assert inside(page, "received") > before + 30, "the data channel brings them now"
    page.get_by_role("button", name="Sound").click()
    expect(page.locator("#sound")).to_have_attribute("aria-pressed", "false")
    before = inside(page, "received")
    page.wait_for_timeout(3000)
    assert inside(page, "received") > before + 30, "and the socket again"


def test_the_badge_is_seen_on_the_screen_and_in_the_room(enter: Any, sender: Any) -> None:
    page = enter(f"?left={sender().address}&right={sender().address}")
    box = page.locator("#badge").bounding_box()
    expect(page.locator("#badge")).to_have_text("AI-generated")
    assert box is not None
    assert box["height"] >= 0.05 * 360
    assert inside(page, "badge") and inside(page, "badge", 1)  # noqa: PT018


def test_a_source_that_goes_and_comes_back(enter: Any, sender: Any) -> None:
    states = sender()
    page = enter(f"?left={states.address}")
    shown(page, {"arkit": {"jawOpen": 0.8}}, states)
    states.sending = False
    expect(page.locator("#status")).to_contain_text("No states arrive")
    page.wait_for_timeout(1500)
    assert inside(page, "influences")["jawOpen"] == 0, "the face lets go"
    states.sending = True
    shown(page, {"arkit": {"jawOpen": 0.5}}, states)
    expect(page.locator("#status")).to_have_text("Live")


def test_states_that_come_unevenly_are_shown_evenly(enter: Any, sender: Any) -> None:
    """A ramp of one a second, delivered up to 40 ms late, some of it in the wrong order."""
    page = enter(f"?left={sender().address}")
    shown_at = page.evaluate("""async () => {
      const { Playout } = await import("/vr/playout.js");
      const playout = new Playout();
      const late = (i) => (i * 7919) % 41;
      const coming = Array.from({ length: 90 }, (_, i) => [1000 + (1000 * i) / 30 + late(i), i]);
      coming.sort(([a], [b]) => a - b);
      const seen = [];
      for (let now = 1000; now < 3900; now += 11) {
        while (coming.length && coming[0][0] <= now) {
          const [at, i] = coming.shift();
          playout.push({ t: i / 30, arkit: { jawOpen: i / 30 } }, at);
        }
        const what = playout.at(now);
        if (now > 1800) seen.push([now, what.arkit.jawOpen]);
      }
      return seen;
    }""")
    times, values = np.array(shown_at).T
    steps = np.diff(values) / (np.diff(times) / 1000)
    assert steps.min() > 0.8, "never held, never back"
    assert steps.max() < 1.2
    delay = (times - 1000) / 1000 - values
    assert 0.03 < delay.mean() < 0.09


def test_a_headset_is_offered_where_there_is_one(enter: Any, sender: Any) -> None:
    states = sender()
    page = enter(f"?left={states.address}")
    assert page.locator("#enter").is_hidden()
    asked = """Object.defineProperty(navigator, "xr", { value: {
      isSessionSupported: async (mode) => mode === "immersive-vr",
      requestSession: async () => { throw new Error("it is switched off"); },
    } });"""
    page = enter(f"?left={states.address}", asked)
    page.get_by_role("button", name="Enter VR").click()
    expect(page.locator("#status")).to_have_text("The headset does not open: it is switched off")


def test_addresses_that_are_none(enter: Any, engine: Engine, browser: Browser) -> None:
    page = browser.context().new_page()
    page.goto(f"{engine.url}/vr?left=http://127.0.0.1:1")
    expect(page.locator("#status")).to_contain_text("begins with ws:// or wss://")
    page.context.close()


def test_what_the_server_lets_the_page_do(engine: Engine) -> None:
    with urllib.request.urlopen(f"{engine.url}/vr") as answer:
        policy = answer.headers["Content-Security-Policy"]
        text = answer.read().decode()
    assert answer.url.endswith("/vr/")
    assert "unsafe" not in policy
    assert "<script>" not in text
    with urllib.request.urlopen(engine.url) as answer:
        assert "ws:" not in answer.headers["Content-Security-Policy"], "the main page talks to its own engine only"
    with pytest.raises(HTTPError, match="404"):
        urllib.request.urlopen(f"{engine.url}/vr/head-9.glb")
    foreign = urllib.request.Request(
        f"{engine.url}/api/states",
        headers={
            "Origin": "http://example.org", "Connection": "Upgrade", "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        },
    )  # fmt: skip
    with pytest.raises(HTTPError, match="403"):
        urllib.request.urlopen(foreign)
