"""Drive a running face from a Python program, in three lines.

    from avatar.client import FaceClient

    with FaceClient() as face:
        face.set(au={12: 0.8}, head={"yaw": 10})
        face.gesture("nod")

The engine must listen: ``avatar run --set input.program_port=8083``. Needs nothing but the package ``websockets``.
"""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from avatar.errors import RunError, UsageError


class FaceClient:
    """Tells a running engine what its face should do. What is told is held for ``hold`` seconds, then fades.

    :param address: of the program input. :param page: of the engine's page, for :meth:`say`.
    :param priority: 0 to 100; of several programs the highest has what it names.
    :param hold: seconds. :param token: the server's, where it has one.

    Raises RunError with one line where nobody listens.
    """

    def __init__(
        self,
        address: str = "ws://127.0.0.1:8083",
        page: str = "http://127.0.0.1:8080",
        priority: int = 50,
        hold: float = 1.0,
        token: str = "",
    ) -> None:
        self._page, self._token = page.rstrip("/"), token
        self._open = contextlib.ExitStack()
        self._usual: dict[str, Any] = {"priority": priority, "hold": hold}
        try:
            self._connection: ClientConnection = self._open.enter_context(connect(address, open_timeout=5))
        except (OSError, InvalidHandshake, TimeoutError) as error:
            raise RunError(
                f"no face listens at {address} ({error}); start it with avatar run --set input.program_port=8083"
            ) from error

    def set(
        self,
        arkit: Mapping[str, float] | None = None,
        au: Mapping[int, float] | None = None,
        head: Mapping[str, float] | None = None,
        gaze: Mapping[str, float] | None = None,
        **options: Any,
    ) -> None:
        """ARKit coefficients by name and action units by number in [0, 1], head and gaze in degrees (``yaw``,
        ``pitch``, ``roll``).

        ``options``: priority, hold and fade of this command. Raises UsageError with what was wrong in one before.
        """
        command = {**self._usual, **options}
        for key, value in (("arkit", arkit), ("au", au), ("head", head), ("gaze", gaze)):
            if value is not None:
                command[key] = {str(k): float(v) for k, v in value.items()}
        self._send(command)

    def gesture(self, name: str) -> None:
        """Make a gesture: nod, shake, tilt, bow, brow_flash, smile, frown, blink, surprise, or one of the body's."""
        self._send({**self._usual, "gesture": name})

    def release(self) -> None:
        """Let go of everything."""
        self._send({"release": True})

    def say(self, text: str, act: str | None = None, voice: str | None = None, emotion: str | None = None) -> float:
        """Speak, as a dialogue act (ask, request, answer, explain) and with an emotion; returns the seconds it takes.

        Raises UsageError with what was wrong, RunError where the page does not answer.
        """
        body: dict[str, Any] = {"text": text, "act": act, "voice": voice}
        if emotion is not None:
            body["emotion"] = {"label": emotion}
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = json.dumps({key: value for key, value in body.items() if value is not None}).encode()
        request = urllib.request.Request(f"{self._page}/say", data, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return float(json.load(answer).get("seconds", 0.0))
        except urllib.error.HTTPError as error:
            raise UsageError(json.load(error).get("error", str(error))) from error
        except OSError as error:
            raise RunError(f"{self._page} does not answer ({error}); start it with avatar run") from error

    def close(self) -> None:
        """Good-bye; the face goes back to its usual owners."""
        self._open.close()

    def __enter__(self) -> FaceClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, command: Mapping[str, Any]) -> None:
        try:
            self._connection.send(json.dumps(command))
            self._complain()
        except ConnectionClosed as error:
            raise RunError(f"the engine has gone ({error}); connect again") from error

    def _complain(self) -> None:
        """Raise what the engine has answered so far: it only answers what it could not do."""
        try:
            answer = json.loads(self._connection.recv(timeout=0))
        except TimeoutError:
            return
        raise UsageError(str(answer.get("error", answer)))
