"""The server of a study: a page of its own, on a port of its own, for as long as the study is open.

==============================================  ========================================================================
``GET /``, ``GET /study.js``, ``/study.css``    the page
``GET /api/about``                              how many questions there are
``POST /api/begin``                             -> ``{"rater"}``
``GET /api/question?rater=``                    the next question, or ``{"done": true}``
``POST /api/answer``                            ``{"rater", "number", "answer", "ms"}`` -> the next question
``POST /api/withdraw``                          ``{"rater"}``: removes that rater's answers
``GET /media/{rater}/{number}/{slot}``          what a question shows; the address does not say whose it is
==============================================  ========================================================================

Who may use it: :mod:`avatar.streams.access`, as for the live page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from avatar.errors import UsageError
from avatar.streams.access import Access
from avatar.streams.site import Json, Site, errors_as_json, json_body

PAGE = Path(__file__).resolve().parent
PRIVATE = {"Cache-Control": "no-store"}
"""Who rates next at this computer must not find what was shown before."""
FILES = {"": "index.html", "study.js": "study.js", "study.css": "study.css"}


class Questions(Protocol):
    """What the server needs of a study. Errors are AvatarErrors with one line."""

    def about(self) -> Json:
        """``{"kinds", "questions"}``."""
        ...

    def begin(self) -> Json:
        """``{"rater"}``."""
        ...

    def question(self, rater: str) -> Json:
        """The next one; ``media`` holds content types."""
        ...

    def media(self, rater: str, number: int, slot: int) -> tuple[Path | bytes, str]:
        """A file or its bytes, and the content type."""
        ...

    def answer(self, rater: str, number: int, answer: str, ms: int) -> Json:
        """The next question."""
        ...

    def withdraw(self, rater: str) -> None:
        """Remove that rater's answers."""
        ...


class StudyServer(Site):
    """Serves one study.

    :param access: who may use it; None = everybody who can reach it.
    """

    def __init__(self, questions: Questions, access: Access | None = None) -> None:
        super().__init__(access, PAGE)
        self._questions = questions

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard, errors_as_json], client_max_size=64 * 1024)
        app.add_routes(
            [
                web.get("/api/about", self._about),
                web.post("/api/begin", self._begin),
                web.get("/api/question", self._question),
                web.post("/api/answer", self._answer),
                web.post("/api/withdraw", self._withdraw),
                web.get(r"/media/{rater}/{number:\d{1,4}}/{slot:[01]}", self._media),
                web.get("/{file:[a-z.]*}", self._page),
            ]
        )
        return app

    async def _page(self, request: web.Request) -> web.StreamResponse:
        name = FILES.get(request.match_info["file"])
        if name is None:
            raise web.HTTPNotFound(text="there is no such page")
        return self._file(name)

    async def _about(self, request: web.Request) -> web.Response:
        return web.json_response(self._questions.about())

    async def _begin(self, request: web.Request) -> web.Response:
        return web.json_response(self._questions.begin(), status=201)

    async def _question(self, request: web.Request) -> web.Response:
        return web.json_response(self._questions.question(request.query.get("rater", "")))

    async def _answer(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        rater, answer = _field(body, "rater", str), _field(body, "answer", str)
        number, ms = _field(body, "number", int), _field(body, "ms", int)
        return web.json_response(self._questions.answer(rater, number, answer, ms))

    async def _withdraw(self, request: web.Request) -> web.Response:
        self._questions.withdraw(_field(await json_body(request), "rater", str))
        return web.json_response({"ok": True})

    async def _media(self, request: web.Request) -> web.StreamResponse:
        asked = request.match_info
        shown, kind = self._questions.media(asked["rater"], int(asked["number"]), int(asked["slot"]))
        if isinstance(shown, bytes):
            return web.Response(body=shown, content_type=kind, headers=PRIVATE)
        return web.FileResponse(shown, headers={"Content-Type": kind, **PRIVATE})


def _field(body: Json, name: str, kind: type) -> Any:
    value = body.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UsageError(f"the request lacks {name!r}")
    return value
