"""One engine and one browser for the tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from live_page import Engine, Watched
from playwright.sync_api import expect
from room_page import Pages, States

from avatar.testing.browser import Browser

expect.set_options(timeout=15_000)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = Engine(tmp_path_factory.mktemp("engine"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as made:
        yield made


@pytest.fixture
def visit(engine: Engine, browser: Browser) -> Iterator[Any]:
    """``visit(script=..., live=True, **context options)`` opens the page in a fresh profile; the engine is reset first.

    After the test: nothing was written to the console and no other host was asked, unless the test allowed it.
    """
    opened: list[Watched] = []

    def open_page(script: str | None = None, live: bool = True, **options: Any) -> Watched:
        context = browser.context(**options)
        if script:
            context.add_init_script(script)
        watched = Watched(context.new_page())
        watched.attach()
        opened.append(watched)
        watched.page.set_default_timeout(15_000)
        watched.page.goto(engine.url)
        if live:
            watched.page.wait_for_selector("#screen[data-live=true]")
        return watched

    rest: dict[str, Any] = {
        "source": "demo",
        "camera": False,
        "emotion": {"label": "neutral", "intensity": 0},
        "mood": {"label": "neutral", "intensity": 0},
        "strength": 0.6,
        "head": 1.0,
        "gaze": 1.0,
        "jaw": 1.0,
        "lips": 1.0,
    }
    if engine.state()["avatar"] != engine.first:  # preparing a face takes seconds
        rest["avatar"] = engine.first
    engine.call("PATCH", "/api/state", rest)
    yield open_page
    for watched in opened:
        problems = watched.unexpected()
        watched.page.goto("about:blank")  # as when a user leaves: the page says good-bye
        watched.page.context.close()
        assert problems == []
        assert watched.hosts <= {urlsplit(engine.url).netloc}


@pytest.fixture
def sender() -> Iterator[Any]:
    made: list[States] = []

    def make() -> States:
        made.append(States())
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def enter(engine: Engine, browser: Browser) -> Iterator[Pages]:
    """Afterwards nothing may have gone wrong on any of them."""
    pages = Pages(engine, browser)
    yield pages
    for watched in pages.opened:
        problems = watched.unexpected()
        watched.page.context.close()
        assert problems == []
