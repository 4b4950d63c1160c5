"""The part of the server that learns a user's head.

=============================  ========================================================================================
``POST /api/calibration``      ``{"consent": true, "peer": id, "seconds": s}``: record that page's microphone and camera
``GET /api/calibration``       where it stands, the reading text, and what is kept
``POST /api/calibration/stop`` ``{"keep": bool}``: stop recording; learn from what there is, or keep nothing
``PATCH /api/calibration``     ``{"use": bool}``: the user's own head from now on, or everybody's
``DELETE /api/calibration``    remove what is kept
=============================  ========================================================================================
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp import web

from avatar.errors import UsageError

Json = dict[str, Any]


class CalibrationControl(Protocol):
    """What these routes need from the engine. All values are JSON's; errors are AvatarErrors with one line."""

    def calibration(self) -> Json:
        """Where it stands."""
        ...

    async def start_calibration(self, peer: str, seconds: float) -> Json:
        """Begin to record. Raises UsageError, RunError."""
        ...

    async def stop_calibration(self, keep: bool) -> Json:
        """End the recording early. Raises UsageError where none is on."""
        ...

    async def use_calibration(self, use: bool) -> Json:
        """The user's own head or the default one. Raises UsageError, ModelFileError."""
        ...

    async def delete_calibration(self) -> Json:
        """Forget the user's head. Raises UsageError where there is none."""
        ...


def routes(
    control: CalibrationControl,
    json_body: Callable[[web.Request], Awaitable[Json]],
    changed: Callable[[], Awaitable[None]],
) -> list[web.RouteDef]:
    """The routes; ``changed`` is awaited when the state that every page shows may be another one."""

    async def look(request: web.Request) -> web.Response:
        return web.json_response(control.calibration())

    async def start(request: web.Request) -> web.Response:
        body = await json_body(request)
        if body.get("consent") is not True:
            raise UsageError("a recording of a person needs that person's consent: 'consent' must be true")
        peer, seconds = body.get("peer"), body.get("seconds", 120)
        if not isinstance(peer, str):
            raise UsageError("the request lacks 'peer', a text: the page whose microphone and camera are recorded")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise UsageError("'seconds' is a number")
        status = await control.start_calibration(peer, float(seconds))
        return web.json_response(status, status=201)

    async def stop(request: web.Request) -> web.Response:
        return web.json_response(await control.stop_calibration(flag(await json_body(request), "keep")))

    async def use(request: web.Request) -> web.Response:
        status = await control.use_calibration(flag(await json_body(request), "use"))
        await changed()
        return web.json_response(status)

    async def delete(request: web.Request) -> web.Response:
        status = await control.delete_calibration()
        await changed()
        return web.json_response(status)

    return [
        web.get("/api/calibration", look),
        web.post("/api/calibration", start),
        web.post("/api/calibration/stop", stop),
        web.patch("/api/calibration", use),
        web.delete("/api/calibration", delete),
    ]


def flag(body: Json, name: str) -> bool:
    """A field that is true or false. Raises UsageError."""
    value = body.get(name)
    if not isinstance(value, bool):
        raise UsageError(f"the request lacks {name!r}, true or false")
    return value
