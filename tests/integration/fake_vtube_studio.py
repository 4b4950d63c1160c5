"""VTube Studio's plug-in API as its documentation describes it, with its rules: nothing without a token and an
authenticated session, names, limits, ranges, and parameters that are lost a second after their last value."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

DEFAULTS = {
    "FacePositionX", "FacePositionY", "FacePositionZ", "FaceAngleX", "FaceAngleY", "FaceAngleZ", "MouthSmile",
    "MouthOpen", "Brows", "MousePositionX", "MousePositionY", "TongueOut", "EyeOpenLeft", "EyeOpenRight", "EyeLeftX",
    "EyeLeftY", "EyeRightX", "EyeRightY", "CheekPuff", "BrowLeftY", "BrowRightY", "VoiceFrequency", "VoiceVolume",
    "VoiceVolumePlusMouthOpen", "VoiceFrequencyPlusMouthSmile", "MouthX", "FaceAngry",
}  # fmt: skip
LOST_AFTER = 1.0
LIMIT = 100
RANGE = 1_000_000


class RefusalError(Exception):
    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


class FakeVtubeStudio:
    """One instance, with its user.

    :param allows: what its user answers to the request for access.
    """

    def __init__(self, allows: bool = True) -> None:
        self.allows = allows
        self.tokens: dict[str, tuple[str, str]] = {}
        self.custom: dict[str, dict[str, Any]] = {}
        self.values: dict[str, tuple[float, float]] = {}
        """Parameter -> (value, when it came)."""
        self.popups = self.injections = self.sessions = 0
        self.longest_gap = 0.0
        self.errors: list[str] = []
        self.port = 0
        self.stalled = False
        self.connections: set[ServerConnection] = set()
        self._last = 0.0

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[FakeVtubeStudio]:
        async with serve(self._serve, "127.0.0.1", port) as server:
            self.port = server.sockets[0].getsockname()[1]
            # A stall is to be felt after kilobytes, not after the megabytes that the system would take.
            server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
            try:
                yield self
            finally:
                self.stalled = False

    @property
    def address(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def value(self, name: str) -> float | None:
        """What a model is driven with; None where it was lost."""
        value, when = self.values[name]
        return value if time.monotonic() - when <= LOST_AFTER else None

    async def _serve(self, line: ServerConnection) -> None:
        self.sessions += 1
        self._last = 0.0
        self.connections.add(line)
        session = {"plugin": None}
        try:
            async for text in line:
                while self.stalled:  # noqa: ASYNC110 - as a program that hangs does
                    await asyncio.sleep(0.05)
                await line.send(self._answer(text, session))
        except ConnectionClosed:
            pass
        finally:
            self.connections.discard(line)

    def _answer(self, text: str | bytes, session: dict[str, Any]) -> str:
        message = json.loads(text)
        reply = {
            "apiName": "VTubeStudioPublicAPI",
            "apiVersion": "1.0",
            "timestamp": int(time.time() * 1000),
            "requestID": message.get("requestID", "none"),
        }
        try:
            if (message["apiName"], message["apiVersion"]) != ("VTubeStudioPublicAPI", "1.0"):
                raise RefusalError(3, "wrong API")
            if not (message["requestID"].isascii() and 1 <= len(message["requestID"]) <= 64):
                raise RefusalError(5, "request ID")
            kind = message["messageType"]
            if not kind.endswith("Request"):
                raise RefusalError(6, f"unknown request {kind}")
            work = getattr(self, "_" + kind.removesuffix("Request"), None)
            if work is None:
                raise RefusalError(6, f"unknown request {kind}")
            if kind not in ("AuthenticationRequest", "AuthenticationTokenRequest") and session["plugin"] is None:
                raise RefusalError(8, "not authenticated")
            data = work(message.get("data") or {}, session)
            reply |= {"messageType": kind.removesuffix("Request") + "Response", "data": data}
        except RefusalError as refusal:
            self.errors.append(str(refusal))
            reply |= {"messageType": "APIError", "data": {"errorID": refusal.number, "message": str(refusal)}}
        return json.dumps(reply)

    def _AuthenticationToken(self, data: dict[str, Any], session: dict[str, Any]) -> dict[str, Any]:
        self.popups += 1
        who = data["pluginName"], data["pluginDeveloper"]
        if not all(3 <= len(name) <= 32 for name in who):
            raise RefusalError(52, "names have 3 to 32 characters")
        if not self.allows:
            raise RefusalError(50, "User has denied API access for your plugin.")
        token = secrets.token_hex(16)
        self.tokens[token] = who
        return {"authenticationToken": token}

    def _Authentication(self, data: dict[str, Any], session: dict[str, Any]) -> dict[str, Any]:
        who = data["pluginName"], data["pluginDeveloper"]
        fine = self.tokens.get(data["authenticationToken"]) == who
        session["plugin"] = who[0] if fine else None
        return {"authenticated": fine, "reason": "" if fine else "Token invalid or has been revoked by user."}

    def _ParameterCreation(self, data: dict[str, Any], session: dict[str, Any]) -> dict[str, Any]:
        name = data["parameterName"]
        if not (name.isascii() and name.isalnum() and 4 <= len(name) <= 32):
            raise RefusalError(351, f"invalid name {name}")
        if name in DEFAULTS:
            raise RefusalError(353, f"{name} is a default parameter")
        if not -RANGE <= data["min"] < data["max"] <= RANGE or len(data.get("explanation", "")) >= 256:
            raise RefusalError(352, "invalid values")
        if name not in self.custom and len(self.custom) >= LIMIT:
            raise RefusalError(355, "too many custom parameters")
        self.custom[name] = data
        return {"parameterName": name}

    def _InjectParameterData(self, data: dict[str, Any], session: dict[str, Any]) -> dict[str, Any]:
        rows = data["parameterValues"]
        if data.get("mode", "set") not in ("set", "add") or not rows:
            raise RefusalError(450, "no data")
        now = time.monotonic()
        for row in rows:
            if row["id"] not in DEFAULTS and row["id"] not in self.custom:
                raise RefusalError(453, f"parameter {row['id']} does not exist")
            if not isinstance(row["value"], int | float) or not -RANGE <= row["value"] <= RANGE:
                raise RefusalError(451, f"{row['id']} is out of range")
        for row in rows:
            self.values[row["id"]] = float(row["value"]), now
        self.injections += 1
        if self._last:
            self.longest_gap = max(self.longest_gap, now - self._last)
        self._last = now
        return {}
