"""The way into a headset: a session is asked for, two eyes are drawn, and the screen is as it was afterwards."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from room_page import changed, inside, shown

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]
HEADSET = (Path(__file__).parent / "headset.js").read_text()
"""A session as the WebXR Device API has it, with two eyes that can be looked at."""


def eyes(page: Page) -> tuple[np.ndarray, np.ndarray]:
    """What the headset shows the left and the right eye, (256, 256, 3) each."""
    raw = base64.b64decode(page.evaluate("headset.eyes()"))
    both = np.frombuffer(raw, np.uint8).reshape(256, 512, 4)[::-1, :, :3].astype(int)
    return both[:, :256], both[:, 256:]


def worn(page: Page, frames: int = 3) -> None:
    """Wait until the headset was drawn into some more times."""
    page.wait_for_function("([n]) => headset.log.frames >= n", arg=[page.evaluate("headset.log.frames") + frames])


def put_on(page: Page) -> None:
    page.get_by_role("button", name="Enter VR").click()
    expect(page.locator("#enter")).to_have_text("Leave VR", timeout=15_000)
    worn(page)


def visible(page: Page) -> list[bool]:
    found: list[bool] = page.evaluate(
        "async () => (await import('/vr/main.js')).people.map(({ person }) => person.place.visible)"
    )
    return found


def drawn(page: Page) -> dict[str, Any]:
    """How the page draws on its screen."""
    found: dict[str, Any] = page.evaluate("""async () => {
      const { camera, renderer } = await import("/vr/main.js");
      const before = renderer.info.render.frame;
      await new Promise((done) => setTimeout(done, 1500));
      return {
        goes_on: renderer.info.render.frame > before, size: [renderer.domElement.width, renderer.domElement.height],
        fov: camera.fov, camera: camera.getWorldPosition(camera.position.clone()).toArray(),
        enabled: renderer.xr.enabled, presenting: renderer.xr.isPresenting,
      };
    }""")
    return found


def test_a_headset_sees_the_head_with_two_eyes(enter: Any, sender: Any) -> None:
    states = sender()
    page = enter(f"?left={states.address}", HEADSET)
    shown(page, {}, states)
    before = drawn(page)
    put_on(page)
    asked = page.evaluate("headset.log")
    assert asked["supported"] == ["immersive-vr"]
    assert [one["mode"] for one in asked["requested"]] == ["immersive-vr"]
    assert asked["requested"][0]["byUser"], "browsers open a session for a click only"
    left, right = eyes(page)
    for eye in (left, right):
        skin = (eye[:, :, 0] > eye[:, :, 2] + 25) & (eye[:, :, 0] > 90)
        assert 0.005 < skin[60:200, 60:200].mean() < 0.6, "a head of a head's size, straight ahead"
    assert changed(left, right).mean() > 0.02, "not twice the same picture"
    # What is nearer lies further to the left in the right eye.
    patch = left[96:160, 96:160].mean(axis=2)
    fits = [np.abs(patch - right[96:160, 96 - k : 160 - k].mean(axis=2)).mean() for k in range(-30, 31)]
    assert 3 <= int(np.argmin(fits)) - 30 <= 30

    states.face = {"arkit": {"jawOpen": 1.0}}
    worn(page, 90)
    assert inside(page, "influences")["jawOpen"] == pytest.approx(1, abs=1e-3), "states go on moving it"
    opened = changed(left, eyes(page)[0])
    assert opened[100:200, 80:176].any()
    page.evaluate("headset.yaw = 0.4")
    worn(page)
    assert changed(left, eyes(page)[0]).mean() > 2 * opened.mean(), "the head turns, and sees something else"

    page.get_by_role("button", name="Leave VR").click()
    expect(page.locator("#enter")).to_have_text("Enter VR")
    after = drawn(page)
    assert after == {**before, "camera": pytest.approx(before["camera"], abs=1e-6)}
    assert after["goes_on"]
    assert page.evaluate("headset.log.faults") == []
    shown(page, {"arkit": {"mouthSmileLeft": 0.6}}, states)


def test_a_headset_that_is_taken_off_and_put_on_again(enter: Any, sender: Any) -> None:
    """Between two people: who sits where the viewer sits is not drawn, and is there again afterwards."""
    page = enter(f"?left={sender().address}&right={sender().address}", HEADSET)
    for _ in range(2):
        put_on(page)
        assert visible(page) == [False, True]
        assert eyes(page)[0].std() > 10
        page.set_viewport_size({"width": 400, "height": 300})
        page.evaluate("headset.takeOff()")
        expect(page.locator("#enter")).to_have_text("Enter VR")
        assert visible(page) == [True, True]
        now = drawn(page)
        assert now["goes_on"]
        assert now["size"] == [400, 300], "the window's size, which has changed meanwhile"
        page.set_viewport_size({"width": 480, "height": 360})
    log = page.evaluate("headset.log")
    assert (log["ended"], log["faults"]) == (2, [])


def test_a_headset_without_a_floor(enter: Any, sender: Any) -> None:
    page = enter(f"?left={sender().address}", HEADSET + "headset.floor = false;")
    put_on(page)
    assert page.evaluate("headset.log.spaces")[-1] == "local"
    left, _ = eyes(page)
    assert ((left[:, :, 0] > left[:, :, 2] + 25) & (left[:, :, 0] > 90))[60:200, 60:200].mean() > 0.005
    assert page.evaluate("headset.log.faults") == []


def test_a_headset_that_fails_is_let_go_of(enter: Any, sender: Any) -> None:
    broken = HEADSET + "XRWebGLLayer = class { constructor() { throw new Error('no memory'); } };"
    page = enter(f"?left={sender().address}", broken)
    page.get_by_role("button", name="Enter VR").click()
    page.wait_for_function("headset.log.ended === 1")
    expect(page.locator("#enter")).to_have_text("Enter VR")
    assert drawn(page)["goes_on"], "the screen is drawn as before"
