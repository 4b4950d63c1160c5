"""A study of opinion in a real browser, from the command that opens it to the answers on the disk."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import av
import cv2
import numpy as np
import pytest
from playwright.sync_api import expect

from avatar.models.study.design import plan
from avatar.models.study.store import Studies

pytestmark = pytest.mark.browser


def picture(value):
    ok, data = cv2.imencode(".png", np.full((128, 128, 3), value, np.uint8))
    assert ok
    return data.tobytes()


def clip(path, value):
    """Half a second of one grey."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libvpx", rate=30)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(15):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), value, np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


class Open:
    """`avatar study serve` in a process of its own."""

    def __init__(self, home, name, *options):
        self.studies = Studies(home / "data" / "vultus" / "studies")
        self.environment = {**os.environ, "XDG_DATA_HOME": str(home / "data")}
        command = [sys.executable, "-m", "avatar.cli", "study", "serve", name, "--port", "0", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.environment)
        line = self.process.stdout.readline()
        self.url = re.search(r"http://\S+", line).group()

    def close(self):
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(20) == 0
        self.process.stdout.close()


@pytest.fixture
def opened(tmp_path):
    """``opened(name, *options)`` after the study was made in ``opened.studies``."""
    made = []

    def start(name, *options):
        made.append(Open(tmp_path, name, *options))
        return made[-1]

    start.studies = Studies(tmp_path / "data" / "vultus" / "studies")
    yield start
    for one in made:
        one.close()


@pytest.fixture
def page(browser):
    context = browser.context()
    made = context.new_page()
    made.faults, made.hosts = [], set()
    made.on("console", lambda said: made.faults.append(said.text) if said.type == "error" else None)
    made.on("pageerror", lambda error: made.faults.append(str(error)))
    made.on("request", lambda asked: made.hosts.add(re.sub(r"^\w+://([^/]*).*", r"\1", asked.url)))
    yield made
    context.close()


def stills(folder):
    for condition, value in (("head", 120), ("copy", 60)):
        (folder / condition).mkdir(parents=True)
        for item in range(2):
            (folder / condition / f"p{item}.png").write_bytes(picture(value + 10 * item))
    return folder


def rater_of(page):
    return page.evaluate("sessionStorage.getItem('vultus-study-rater')")


def answer_one(page, trial, number, key):
    expect(page.locator("#progress")).to_have_attribute("value", str(number))
    value = trial.wanted or trial.answers[0]
    button = page.locator(f"#answers button[value='{value}']")
    expect(button).to_be_enabled()
    expect(page.locator("#shown figure")).to_have_count(2 if trial.kind == "pair" else 1)
    page.wait_for_timeout(380)  # nobody looks for less
    if key:
        page.keyboard.press({"left": "ArrowLeft", "right": "ArrowRight"}.get(value, value))
    else:
        button.click()


def test_a_rater_answers_everything_loads_the_page_again_and_is_counted(opened, page, tmp_path):
    study = opened.studies.create("faces", stills(tmp_path / "media"))
    running = opened("faces")
    page.goto(running.url)
    expect(page.locator("#count")).to_have_text("12 questions")
    page.get_by_role("button", name="I agree, begin").click()
    expect(page.locator("#trial")).to_be_visible()
    rater = rater_of(page)
    trials = plan(study, rater)
    for number, trial in enumerate(trials):
        if number == 3:
            page.reload()
            expect(page.locator("#progress")).to_have_attribute("value", "3")
        answer_one(page, trial, number, key=number % 2 == 0)
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    answers = running.studies.answers(study, rater)
    assert [a.answer for a in answers] == [t.wanted or t.answers[0] for t in trials]
    assert all(300 < a.ms < 20_000 for a in answers)
    assert page.faults == []
    assert page.hosts == {running.url.removeprefix("http://").rstrip("/")}
    run = subprocess.run(
        [sys.executable, "-m", "avatar.cli", "study", "result", "faces", "--json"],
        capture_output=True, text=True, env=running.environment, check=True,
    )  # fmt: skip
    said = json.loads(run.stdout)
    assert said["raters"]["attentive"] == 1
    assert said["mos"] is None


def test_nothing_on_the_page_says_whose_picture_it_is(opened, page, tmp_path):
    study = opened.studies.create("faces", stills(tmp_path / "media"))
    running = opened("faces")
    seen = []
    page.on("response", lambda got: seen.append(f"{got.url} {sorted(got.headers.items())}"))
    page.goto(running.url)
    page.get_by_role("button", name="I agree, begin").click()
    for number, trial in enumerate(plan(study, rater_of(page))[:4]):
        answer_one(page, trial, number, key=False)
        html = page.content()
        assert not [word for word in ("p0.png", "p1.png", "copy", "head/", "screen") if word in html.split("<body>")[1]]
    assert not [line for line in seen if "p0" in line or "p1" in line or "copy" in line]


def test_a_clip_is_played_to_its_end_before_it_can_be_judged(opened, page, tmp_path):
    for condition, value in (("head", 120), ("copy", 60)):
        (tmp_path / "clips" / condition).mkdir(parents=True)
        clip(tmp_path / "clips" / condition / "said.webm", value)
    study = opened.studies.create("clips", tmp_path / "clips", "pairs")
    running = opened("clips")
    page.goto(running.url)
    page.get_by_role("button", name="I agree, begin").click()
    expect(page.locator("#trial")).to_be_visible()
    for number, trial in enumerate(plan(study, rater_of(page))):
        expect(page.locator("#progress")).to_have_attribute("value", str(number))
        if not trial.wanted:
            expect(page.locator("#hint")).to_have_text("You can answer when it has been played to its end.")
            assert page.locator("#answers button:disabled").count() == 2
            page.keyboard.press("ArrowLeft")  # too early: nothing happens
        answer_one(page, trial, number, key=False)
        if not trial.wanted:
            page.wait_for_timeout(100)
            given = running.studies.answers(study, rater_of(page))
            assert given[number].ms > 1000  # two clips, one after the other
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    assert page.faults == []


def test_answers_are_deleted_when_the_rater_says_so(opened, page, tmp_path):
    study = opened.studies.create("faces", stills(tmp_path / "media"))
    running = opened("faces")
    page.goto(running.url)
    page.get_by_role("button", name="I agree, begin").click()
    expect(page.locator("#trial")).to_be_visible()
    answer_one(page, plan(study, rater_of(page))[0], 0, key=False)
    expect(page.locator("#progress")).to_have_attribute("value", "1")
    leave = page.locator("#trial").get_by_role("button", name="Stop and delete my answers")
    page.once("dialog", lambda asked: asked.dismiss())
    leave.click()
    assert len(running.studies.raters(study)) == 1  # a slip of the hand costs nothing
    page.once("dialog", lambda asked: asked.accept())
    leave.click()
    expect(page.get_by_role("heading", name="Deleted")).to_be_visible()
    assert running.studies.raters(study) == []
    page.reload()
    expect(page.get_by_role("button", name="I agree, begin")).to_be_visible()


def test_from_elsewhere_only_with_the_token(opened, page, tmp_path):
    opened.studies.create("faces", stills(tmp_path / "media"))
    token = "abcdefghijklmnopqrst"
    running = opened("faces", "--token", token)
    assert page.goto(running.url.split("?")[0]).status == 401
    assert page.goto(running.url).status == 200
    expect(page.locator("#count")).to_have_text("12 questions")
    assert "token" not in page.url
