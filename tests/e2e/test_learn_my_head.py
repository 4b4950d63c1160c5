"""The page learns how a head moves: a real browser, whose camera shows a speaking face that belongs to nobody."""

from __future__ import annotations

import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from live_page import Engine, Watched
from playwright.sync_api import Page, expect

from avatar import reading
from avatar.testing.browser import Browser

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]

pytest.importorskip("hmmlearn", reason="hmmlearn learns the head (extra: calibrate)")


def film(source: Path, camera: Path, microphone: Path) -> None:
    """A clip as the files that Chromium plays as its camera and microphone, again and again."""
    with av.open(str(source)) as media, av.open(str(camera), "w", format="mjpeg") as out:
        video = out.add_stream("mjpeg", rate=15, options={"q": "5"})
        video.width, video.height, video.pix_fmt = 640, 480, "yuvj420p"
        for index, frame in enumerate(media.decode(video=0)):
            scene = np.full((480, 640, 3), 120, np.uint8)
            scene[:, 80:560] = cv2.resize(frame.to_ndarray(format="rgb24"), (480, 480))
            picture = av.VideoFrame.from_ndarray(scene, format="rgb24").reformat(format="yuvj420p")
            picture.pts = index
            out.mux(video.encode(picture))
        out.mux(video.encode())
    resampler = av.AudioResampler("s16", "mono", 48_000)
    with av.open(str(source)) as media, wave.open(str(microphone), "wb") as sound:
        sound.setparams((1, 2, 48_000, 0, "NONE", ""))
        for frame in media.decode(audio=0):
            for part in resampler.resample(frame):
                sound.writeframes(part.to_ndarray().tobytes())


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("film")
    clip, camera, microphone = (folder / name for name in ("clip.mp4", "camera.mjpeg", "microphone.wav"))
    text = " ".join(reading.TEXT[1:3])
    command = [sys.executable, "-m", "avatar.cli", "render", "--text", text, "--avatar", "max", "-o", str(clip)]
    subprocess.run([*command, "--size", "256", "--fps", "15"], check=True, timeout=200)
    film(clip, camera, microphone)
    with Browser(microphone, camera) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_on(engine: Engine) -> None:
    """What a test before has left on does not count."""
    if engine.call("GET", "/api/calibration")["state"] in ("recording", "learning"):
        engine.call("POST", "/api/calibration/stop", {"keep": False})


def seen(page: Page, what: str) -> None:
    """Loading the networks takes a second, on a busy machine many."""
    expect(page.locator(f"#seen-{what}")).to_have_attribute("data-on", "true", timeout=60_000)


def begin(page: Page) -> None:
    page.click("#own-head")
    expect(page.locator("#calibrate-consent")).to_contain_text("Kept here, and nowhere else")
    page.click("#calibrate-start")
    expect(page.locator("#calibrate-record")).to_be_visible()


def test_my_head_is_learnt_used_switched_off_and_deleted(visit: Any, engine: Engine) -> None:
    page = visit().page
    expect(page.locator("#own-head-label")).to_have_text("Learn my head")
    begin(page)
    expect(page.locator("#calibrate-text p").first).to_have_text(reading.RELAX)
    seen(page, "face")
    seen(page, "voice")
    assert page.evaluate("document.getElementById('calibrate-preview').videoWidth") == 640
    assert engine.state()["source"] == "silence", "the demo voice would be heard by the microphone"
    expect(page.locator("#calibrate-enough")).to_be_disabled()
    before = engine.call("GET", "/api/meters")
    assert before["fps"] > 2, "the avatar stays live"
    # The text goes on with the voice.
    page.wait_for_function(
        "text => document.querySelector('#calibrate-text p[aria-current]').textContent === text",
        arg=reading.TEXT[1],
        timeout=60_000,
    )
    expect(page.locator("#calibrate-enough")).to_be_enabled(timeout=90_000)
    page.click("#calibrate-enough")
    expect(page.locator("#calibrate-done")).to_be_visible(timeout=300_000)
    expect(page.locator("#calibrate-words")).to_contain_text("You move your head")
    assert engine.state()["own_head"]["used"]
    assert engine.state()["source"] == "demo"
    (heads,) = (engine.folder / "data" / "vultus" / "files").glob("*/me")
    assert {file.name for file in heads.iterdir()} == {"calibration.json", "head.npz"}, "neither sound nor pictures"

    page.get_by_text("in the usual way").click()
    page.wait_for_function("() => fetch('/api/state').then((a) => a.json()).then((s) => !s.own_head.used)")
    page.get_by_text("like me", exact=True).click()
    page.wait_for_function("() => fetch('/api/state').then((a) => a.json()).then((s) => s.own_head.used)")
    page.click("#calibrate-finish")
    expect(page.locator("#calibrate")).to_be_hidden()
    expect(page.locator("#own-head-label")).to_have_text("Moves like me")

    page.click("#own-head")
    expect(page.locator("#calibrate-kept")).to_contain_text("It is in use.")
    page.click("#calibrate-delete")
    expect(page.locator("#calibrate-kept")).to_be_hidden()
    page.click("#calibrate-close")
    expect(page.locator("#own-head-label")).to_have_text("Learn my head")
    assert not heads.exists()
    assert not engine.state()["own_head"]["kept"]


def test_a_recording_that_is_stopped_keeps_nothing(visit: Any, engine: Engine) -> None:
    page = visit().page
    begin(page)
    seen(page, "face")
    page.click("#calibrate-stop")
    expect(page.locator("#calibrate-intro")).to_be_visible(timeout=60_000)  # on a busy machine
    expect(page.locator("#calibrate-error")).to_be_empty()
    page.click("#calibrate-start")
    expect(page.locator("#calibrate-record")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#calibrate")).to_be_hidden()
    page.wait_for_function("() => fetch('/api/calibration').then((a) => a.json()).then((s) => s.state === 'idle')")
    assert engine.state()["source"] == "demo"
    assert not engine.state()["own_head"]["kept"]


def test_a_page_that_is_closed_ends_its_recording(visit: Any, engine: Engine) -> None:
    page = visit().page
    begin(page)
    seen(page, "face")
    page.goto("about:blank")
    for _ in range(300):
        status = engine.call("GET", "/api/calibration")
        if status["state"] == "failed":
            break
        page.wait_for_timeout(100)
    assert "stopped before the end" in status["error"]
    assert engine.state()["source"] == "demo"


def test_a_camera_that_is_refused(visit: Any, engine: Engine) -> None:
    watched: Watched = visit(
        script="navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError'); };"
    )
    page = watched.page
    page.click("#own-head")
    page.click("#calibrate-start")
    expect(page.locator("#calibrate-error")).to_contain_text("The browser does not allow the microphone.")
    expect(page.locator("#calibrate-intro")).to_be_visible()
    assert engine.call("GET", "/api/calibration")["state"] != "recording"


def test_it_fits_a_phone_and_can_be_read(visit: Any) -> None:
    page = visit().page
    page.set_viewport_size({"width": 360, "height": 720})
    begin(page)
    page.wait_for_timeout(1500)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        outside = page.evaluate(
            """() => [...document.querySelectorAll("#calibrate button, #calibrate video, #calibrate .bar, .seen span")]
                 .filter((one) => one.getClientRects().length)
                 .map((one) => [one.id || one.className, one.getBoundingClientRect()])
                 .filter(([, box]) => box.left < 0 || box.right > 360.5 || box.bottom > 720.5)
                 .map(([name]) => name)"""
        )
        assert outside == []
    page.click("#calibrate-stop")
