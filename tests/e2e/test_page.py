"""The page in a real browser against the real engine."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from live_page import Engine, Watched
from playwright.sync_api import Page, expect
from skimage import data, io

pytestmark = pytest.mark.browser

PICTURE = """() => {
  const canvas = new OffscreenCanvas(64, 64).getContext("2d");
  canvas.drawImage(document.getElementById("avatar"), 0, 0, 64, 64);
  return [...canvas.getImageData(0, 0, 64, 64).data].filter((_, i) => i % 4 < 3);
}"""
STATS = """async ([type, kind]) => {
  const { peer } = await import("/app.js");
  return [...(await peer.connection.getStats()).values()].find((one) => one.type === type && one.kind === kind) ?? {};
}"""
NO_AUTOPLAY = """
  let touched = false;
  addEventListener("pointerdown", () => (touched = true), true);
  const play = HTMLMediaElement.prototype.play;
  HTMLMediaElement.prototype.play = function () {
    if (!this.muted && !touched) return Promise.reject(new DOMException("no gesture", "NotAllowedError"));
    return play.call(this);
  };
"""


def picture(page: Page) -> np.ndarray:
    return np.array(page.evaluate(PICTURE), np.float64).reshape(64, 64, 3)


def stats(page: Page, kind: str, direction: str = "inbound-rtp") -> dict[str, Any]:
    return page.evaluate(STATS, [direction, kind])


def until(check: Callable[[], Any], what: str, seconds: float = 10.0, page: Page | None = None) -> Any:
    """Wait for something outside the page's own elements."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := check():
            return found
        page.wait_for_timeout(100) if page else time.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def loudness(page: Page, seconds: float) -> float:
    """RMS of the received sound over some seconds, full scale = 1."""
    before = stats(page, "audio")
    page.wait_for_timeout(1000 * seconds)
    after = stats(page, "audio")
    energy = after["totalAudioEnergy"] - before["totalAudioEnergy"]
    return float(np.sqrt(energy / (after["totalSamplesDuration"] - before["totalSamplesDuration"])))


def test_the_avatar_speaks_at_once_and_says_what_it_is(visit: Any) -> None:
    page = visit().page
    seen = []
    for _ in range(6):
        seen.append(picture(page))
        page.wait_for_timeout(250)
    assert np.std(seen[0]) > 10, "a picture, not one colour"
    assert len({frame.tobytes() for frame in seen}) > 2, "it moves"
    assert loudness(page, 3) > 1e-3
    assert page.evaluate("!document.getElementById('avatar').muted && !document.getElementById('avatar').paused")
    assert stats(page, "video")["frameWidth"] == 512
    expect(page.locator("#status")).to_have_text("Live")
    badge = page.locator("#badge")
    expect(badge).to_be_visible()
    expect(badge).to_have_text("AI-generated")
    assert "not a recording" in (badge.get_attribute("title") or "")
    assert "AI-generated" in (page.locator("#avatar").get_attribute("aria-label") or "")


def test_meters_show_figures(visit: Any) -> None:
    page = visit().page
    for name in ("m-fps", "m-engine", "m-rtt", "m-lost", "m-skew"):
        page.wait_for_function("id => /^.?[0-9.]+$/.test(document.getElementById(id).textContent)", arg=name)
    assert float(page.inner_text("#m-fps")) > 5


def test_it_fits_and_can_be_read(visit: Any) -> None:
    page = visit().page
    for width in (360, 1280):
        for scheme in ("light", "dark"):
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(300)  # colours change within 0.15 s
            check_layout(page, width, scheme)


def check_layout(page: Page, width: int, scheme: str) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = page.evaluate(
        """width => [...document.querySelectorAll("button, input:not(.hidden), .tile, .meters dd, #status")]
             .filter((one) => one.getClientRects().length)
             .map((one) => [one.id || one.className, one.getBoundingClientRect()])
             .filter(([, box]) => box.left < 0 || box.right > width + 0.5 || box.height < 16)
             .map(([name]) => name)""",
        width,
    )
    assert outside == []
    contrasts = page.evaluate(
        """() => {
          const rgb = (text) => text.match(/[0-9.]+/g).map(Number);
          const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
            .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
          const ground = (one) => {
            for (; one; one = one.parentElement) {
              const colour = rgb(getComputedStyle(one).backgroundColor);
              if (colour.length === 3 || colour[3] > 0) return colour;
            }
            return [255, 255, 255];
          };
          const marks = ["#status", "#badge", ".meters dt", ".source", ".source[aria-pressed=true]", ".face .name",
            "footer", ".emotion .tile", ".emotion :checked + .tile",
            ".mode .tile", ".mode :checked + .tile", "#plane-hint", ".slider output", "#say button",
            "#upload-open", "h2"];
          return Object.fromEntries(marks.map((mark) => {
            const one = document.querySelector(mark);
            const pair = [light(rgb(getComputedStyle(one).color)), light(ground(one))].sort((a, b) => b - a);
            return [mark, (pair[0] + 0.05) / (pair[1] + 0.05)];
          }));
        }"""
    )
    assert {mark: ratio for mark, ratio in contrasts.items() if ratio < 4.5} == {}
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) > 380) == (scheme == "light")


def test_another_avatar(visit: Any, engine: Engine) -> None:
    page = visit().page
    avatars = engine.state()["avatars"]
    first = next(one for one in avatars if one["name"] == engine.first)
    second = next(one for one in avatars if one["name"] != engine.first)
    expect(page.locator("#title")).to_have_text(first["title"])
    before = picture(page)
    page.locator(".face", has_text=second["title"]).click()
    expect(page.locator("#title")).to_have_text(second["title"])
    assert engine.state()["avatar"] == second["name"]
    until(lambda: np.abs(picture(page) - before).mean() > 8, "another picture", page=page)
    expect(page.locator(f"#avatars input[value={second['name']}]")).to_be_checked()


def test_emotion_and_strengths(visit: Any, engine: Engine) -> None:
    page = visit().page
    expect(page.locator("#intensity")).to_be_disabled()
    page.get_by_text("Happy", exact=True).click()
    until(lambda: engine.state()["emotion"]["label"] == "happiness", "happiness", page=page)
    assert engine.state()["emotion"]["intensity"] == pytest.approx(0.7)
    page.focus("#intensity")
    page.keyboard.press("End")
    until(lambda: engine.state()["emotion"]["intensity"] == 1, "full intensity", page=page)
    for name in ("head", "gaze", "jaw", "lips"):
        page.focus(f"#{name}")
        page.keyboard.press("Home")
        until(lambda name=name: engine.state()[name] == 0, name, page=page)
        expect(page.locator(f"output[for={name}]")).to_have_text("0 %")


def test_the_plane_of_emotions(visit: Any, engine: Engine) -> None:
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True).page
    point = page.locator("#point")
    expect(point).to_have_attribute("aria-valuetext", "Neutral")
    point.scroll_into_view_if_needed()
    disc = page.locator("#disc").bounding_box()
    x, y, unit = disc["x"] + disc["width"] / 2, disc["y"] + disc["height"] / 2, disc["width"] / 2.2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 0.4 * unit, y - 0.1 * unit, steps=3)
    page.mouse.move(x + 0.5 * unit * np.cos(np.radians(65)), y - 0.5 * unit * np.sin(np.radians(65)), steps=3)
    page.mouse.up()
    until(lambda: engine.state()["emotion"]["label"] == "surprise", "surprise", page=page)
    # What is dragged is sent while it moves; the last place counts.
    until(lambda: engine.state()["emotion"]["angle"] == pytest.approx(65, abs=4), "the last place", page=page)
    assert engine.state()["emotion"]["radius"] == pytest.approx(0.5, abs=0.05)
    expect(page.locator("input[name=mode][value=fixed]")).to_be_checked()
    expect(page.locator("input[value=surprise]")).to_be_checked()
    point.focus()
    for key in ("ArrowUp", "ArrowUp", *["ArrowRight"] * 5):
        page.keyboard.press(key)
    until(lambda: engine.state()["emotion"]["radius"] == pytest.approx(0.6, abs=0.05), "stronger", page=page)
    until(lambda: engine.state()["emotion"]["angle"] == pytest.approx(40, abs=5), "happily surprised", page=page)
    expect(point).to_have_attribute("aria-valuetext", re.compile("(Happy and surprised|Surprised and happy), 6. %"))
    page.keyboard.press("Home")
    until(lambda: engine.state()["emotion"]["radius"] == 0, "nothing", page=page)
    expect(page.locator("#emotion-note")).to_be_hidden()
    page.touchscreen.tap(x - 0.7 * unit * np.cos(np.radians(25)), y - 0.7 * unit * np.sin(np.radians(25)))
    until(lambda: engine.state()["emotion"]["label"] == "anger", "a tap", page=page)


def test_the_page_says_that_emotions_are_read_and_shows_where_they_are(visit: Any, engine: Engine) -> None:
    page = visit().page
    page.locator(".mode", has_text="Mirror").click()
    until(lambda: engine.state()["emotion"]["mode"] == "mirror", "mirror", page=page)
    expect(page.locator("#emotion-note")).to_contain_text("Emotion recognition is on")
    expect(page.locator("#emotion-note")).to_contain_text("press My camera")
    page.locator(".emotion", has_text="Happy").click()
    until(lambda: engine.state()["mood"]["label"] == "happiness", "a mood", page=page)
    expect(page.locator("#point")).to_have_attribute("aria-label", "Mood")
    where = "Number(document.querySelector('.heard').getAttribute('cx'))"
    until(lambda: page.evaluate(where) > 10, "the dot follows the mood", page=page)
    page.locator(".mode", has_text="Off").click()
    until(lambda: engine.state()["emotion"]["mode"] == "off", "off", page=page)
    expect(page.locator("#emotion-note")).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.querySelector('.heard')).visibility") == "hidden"


def test_two_pages_show_the_same_choice(visit: Any) -> None:
    one, two = visit().page, visit().page
    one.get_by_text("Surprised", exact=True).click()
    expect(two.locator("input[value=surprise]")).to_be_checked()


def test_keyboard_alone(visit: Any, engine: Engine) -> None:
    page = visit().page
    order = []
    for _ in range(20):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.name || 'speak'"))
        # The ring is on the control itself or, where that is drawn by its label, on the tile.
        ring = page.evaluate(
            """() => {
              const one = document.activeElement;
              const shown = one.classList.contains("hidden") ? one.parentElement.querySelector(".tile") : one;
              return getComputedStyle(shown).outlineStyle;
            }"""
        )
        assert ring == "solid", f"no visible focus on {order[-1]}"
        if order[-1] == "lips":
            break
    assert order == [
        *("sound", "record", "demo", "microphone", "camera", "say-text", "speak"),
        *("upload-open", "avatar", "engine", "background", "mode", "emotion", "point"),
        *("head", "own-head", "gaze", "jaw", "lips"),
    ]
    page.focus("#demo")
    page.keyboard.press("Space")
    until(lambda: engine.state()["source"] == "silence", "silence", page=page)
    expect(page.locator("#demo")).to_have_attribute("aria-pressed", "false")
    page.focus("input[name=emotion]:checked")
    page.keyboard.press("ArrowRight")
    until(lambda: engine.state()["emotion"]["label"] == "happiness", "the next emotion", page=page)
    page.focus("#upload-open")
    page.keyboard.press("Enter")
    expect(page.locator("#upload")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#upload")).to_be_hidden()
    assert page.evaluate("document.activeElement.id") == "upload-open"


def test_sound_that_the_browser_blocks(visit: Any) -> None:
    page = visit(script=NO_AUTOPLAY).page
    expect(page.locator("#unmute")).to_be_visible()
    assert page.evaluate("document.getElementById('avatar').muted")
    page.click("#unmute")
    expect(page.locator("#unmute")).to_be_hidden()
    assert not page.evaluate("document.getElementById('avatar').muted")
    page.click("#sound")
    assert page.evaluate("document.getElementById('avatar').muted")
    expect(page.locator("#unmute")).to_be_hidden()


def test_my_microphone(visit: Any, engine: Engine) -> None:
    page = visit().page
    page.click("#microphone")
    until(lambda: engine.state()["source"] == "page", "the page's microphone", page=page)
    expect(page.locator("#microphone")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#demo")).to_have_attribute("aria-pressed", "false")
    until(lambda: stats(page, "audio", "outbound-rtp").get("bytesSent", 0) > 2000, "sound is sent", page=page)
    # Chromium's made-up microphone beeps once a second; the engine sends the beeps back.
    until(lambda: loudness(page, 1) > 1e-3, "the beeps come back", page=page)
    page.click("#microphone")
    until(lambda: engine.state()["source"] == "silence", "silence", page=page)
    expect(page.locator("#microphone")).to_have_attribute("aria-pressed", "false")
    until(lambda: loudness(page, 0.5) < 1e-4, "nothing is heard any more", page=page)


def test_my_camera(visit: Any, engine: Engine) -> None:
    page = visit().page
    page.click("#camera")
    until(lambda: engine.state()["camera"], "the camera is on", page=page)
    expect(page.locator("#camera")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#preview")).to_be_visible()
    until(lambda: stats(page, "video", "outbound-rtp").get("framesSent", 0) > 5, "pictures are sent", page=page)
    assert engine.state()["source"] == "demo", "the voice stays"
    page.click("#camera")
    until(lambda: not engine.state()["camera"], "the camera is off", page=page)
    expect(page.locator("#preview")).to_be_hidden()


def test_a_microphone_that_cannot_be_had(visit: Any, engine: Engine) -> None:
    page = visit(
        script="navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', reason); };"
    ).page
    for reason, line in (
        ("NotAllowedError", "The browser does not allow the microphone."),
        ("NotFoundError", "No microphone was found."),
        ("NotReadableError", "The microphone does not start."),
    ):
        page.evaluate("name => { window.reason = name; }", reason)
        page.click("#microphone")
        expect(page.locator("#note")).to_contain_text(line)
        expect(page.locator("#note")).to_contain_text("press the button again")
        expect(page.locator("#microphone")).to_have_attribute("aria-pressed", "false")
    assert engine.state()["source"] == "demo"


def test_say_something(visit: Any, engine: Engine) -> None:
    page = visit().page
    page.click("#demo")
    until(lambda: engine.state()["source"] == "silence", "silence", page=page)
    until(lambda: loudness(page, 0.5) < 1e-4, "silence is silent", page=page)
    page.fill("#say-text", "Good evening.")
    page.keyboard.press("Enter")
    until(lambda: loudness(page, 0.5) > 1e-3, "the words are heard", page=page)
    expect(page.locator("#note")).to_be_empty()


def test_a_photo_that_is_none(visit: Any, engine: Engine, tmp_path: Path) -> None:
    watched: Watched = visit()
    watched.allowed = ("status of 400",)
    page = watched.page
    page.click("#upload-open")
    page.click("#upload-send")
    for field, line in (
        ("photo", "Choose a photo."),
        ("name", "Give the avatar a name."),
        ("consent", "Say who is in the photo."),
    ):
        expect(page.locator(f"#{field}-error")).to_have_text(line)
    assert page.evaluate("document.activeElement.id") == "photo"
    bad = tmp_path / "me.jpg"
    bad.write_bytes(b"this is not a picture")
    page.set_input_files("#photo", bad)
    page.fill("#photo-name", "Nobody")
    page.check("input[value=self]")
    page.click("#upload-send")
    expect(page.locator("#photo-error")).not_to_be_empty()
    line = page.inner_text("#photo-error")
    assert "\n" not in line
    assert len(line) < 200
    expect(page.locator("#upload")).to_be_visible()
    assert "Nobody" not in [one["title"] for one in engine.state()["avatars"]]


def test_a_photo_becomes_an_avatar(visit: Any, engine: Engine, tmp_path: Path) -> None:
    page = visit().page
    photo = tmp_path / "astronaut.png"
    io.imsave(photo, data.astronaut())
    before = picture(page)
    page.click("#upload-open")
    page.set_input_files("#photo", photo)
    page.fill("#photo-name", "Test Pilot")
    page.check("input[value=licensed]")
    page.click("#upload-send")
    expect(page.locator("#upload")).to_be_hidden(timeout=30_000)
    expect(page.locator("#title")).to_have_text("Test Pilot")
    assert engine.state()["avatar"] == "test-pilot"
    until(lambda: np.abs(picture(page) - before).mean() > 8, "the new face", page=page)
    thumb = page.locator("#avatars input[value=test-pilot] + .tile img")
    assert thumb.evaluate("one => one.decode().then(() => one.naturalWidth)") > 0


def test_a_recording_can_be_saved_and_played(visit: Any, tmp_path: Path) -> None:
    page = visit().page
    page.click("#record")
    expect(page.locator("#record")).to_have_attribute("aria-pressed", "true")
    page.wait_for_timeout(3000)
    page.click("#record")
    expect(page.locator("#record")).to_have_attribute("aria-pressed", "false")
    with page.expect_download() as download:
        page.click("#download")
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    with av.open(str(saved)) as media:
        shown = list(media.decode(video=0))
    frames = [frame.to_ndarray(format="gray") for frame in shown]
    with av.open(str(saved)) as media:
        sound = np.concatenate([frame.to_ndarray().ravel() for frame in media.decode(audio=0)])
    assert len(frames) >= 10
    assert 2 <= shown[-1].time - shown[0].time <= 8
    assert frames[0].shape == (512, 512)
    assert np.abs(frames[0].astype(float) - frames[-1]).max() > 5, "it moves"
    assert np.abs(sound).max() > 0


def test_a_lost_connection_comes_back_and_a_closed_page_leaves_no_peer(visit: Any, engine: Engine) -> None:
    page = visit().page
    peer = page.evaluate("import('/app.js').then((app) => app.peer.id)")
    engine.call("DELETE", f"/api/peers/{peer}")
    page.wait_for_function(
        "old => import('/app.js').then(({ peer }) => peer.id !== null && peer.id !== old && peer.connected)", arg=peer
    )
    page.wait_for_selector("#screen[data-live=true]")
    expect(page.locator("#status")).to_have_text("Live")
    until(lambda: engine.call("GET", "/api/meters")["viewers"] == 1, "one viewer", seconds=20, page=page)
    page.goto("about:blank")
    until(lambda: engine.call("GET", "/api/meters")["viewers"] == 0, "no viewer", seconds=3)


def test_the_engine_ends_and_starts_again_under_an_open_page(visit: Any, engine: Engine, tmp_path: Path) -> None:
    watched: Watched = visit()
    watched.allowed = ("ERR_CONNECTION", "WebSocket", "ERR_EMPTY_RESPONSE", "Failed to load resource")
    page = watched.page
    assert engine.terminate() < 2.0
    assert engine.process.returncode == 0
    expect(page.locator("#status")).to_contain_text("Connection lost")
    again = Engine(tmp_path, engine.port)
    try:
        page.wait_for_selector("#status[data-kind=live]", timeout=30_000)
        first = picture(page)
        until(lambda: not np.array_equal(picture(page), first), "it moves again", page=page)
    finally:
        page.goto("about:blank")
        again.close()
