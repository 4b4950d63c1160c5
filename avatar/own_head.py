"""What the page may ask about the user's own head (:class:`avatar.streams.calibration_api.CalibrationControl`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from avatar import reading
from avatar.analysis.calibration import LEAST_SECONDS, LEAST_SPEECH
from avatar.calibrate import CONSENT, Calibrator
from avatar.calibrations import DEFAULT, Calibration, find
from avatar.errors import AvatarError, UsageError

if TYPE_CHECKING:
    from avatar.assembly import Pipeline

NAME = "me"
"""What the page's calibration is called where none has another name."""


class OwnHead:
    """Learns, uses and forgets the user's head while the session runs."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._store = pipeline.calibrations
        self._calibrator = Calibrator(self._store)
        self._shown: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    @property
    def _name(self) -> str:
        asked = self._pipeline.config.face.calibration
        if asked not in ("auto", "none"):
            return asked
        names = self._store.names()
        return self._store.chosen or (names[0] if names and NAME not in names else NAME)

    def state(self) -> dict[str, Any]:
        """What is kept and used: part of the state that every page shows."""
        name, used, fault = self._name, self._pipeline.calibration, self._pipeline.calibration_fault
        stamp = self._store.stamp(name)
        key = (name, stamp, used, fault)
        if self._shown is None or self._shown[0] != key:  # asked for four times a second
            self._shown = key, self._describe(name, stamp is not None, used, fault)
        return self._shown[1]

    def _describe(self, name: str, kept: bool, used: Calibration | None, fault: str) -> dict[str, Any]:
        made, words = "", ""
        if kept:
            try:
                known = used if used is not None else self._store.load(name)
                made, words = known.made, known.habits.words()
            except AvatarError as error:
                fault = str(error)
        return {
            "kept": kept,
            "used": used is not None,
            "name": name,
            "made": made,
            "words": words,
            "fault": fault if kept else "",
            "engine_camera": self._pipeline.config.input.video not in ("page", "none"),
        }

    def calibration(self) -> dict[str, Any]:
        """Where a recording or a learning stands, and what is read aloud."""
        return {
            **self._calibrator.status,
            "own_head": self.state(),
            "consent": CONSENT.format(folder=self._store.store.where),
            "relax": reading.RELAX,
            "relax_seconds": reading.RELAX_SECONDS,
            "text": [{"text": part, "speech": round(reading.speech_of(part), 1)} for part in reading.TEXT],
            "least_seconds": LEAST_SECONDS,
            "least_speech": LEAST_SPEECH,
        }

    async def start_calibration(self, peer: str, seconds: float) -> dict[str, Any]:
        """Record a page's microphone and camera. The session goes on; only the demo voice, which the microphone would
        hear, is silent meanwhile. Raises UsageError, RunError."""
        pipeline = self._pipeline
        hub = pipeline.hub
        if hub is None or peer not in hub:
            raise UsageError("this page is not connected; load it again")
        voice = pipeline.control.source

        async def finished() -> None:
            if voice == "demo" and pipeline.control.source == "silence":
                await pipeline.control.update({"source": "demo"})
            if self._calibrator.status["state"] == "done":
                self._take_up()

        self._calibrator.start(
            self._name, hub.audio_source(peer), hub.video_source(peer), pipeline.clock, seconds, finished
        )
        if voice == "demo":
            await pipeline.control.update({"source": "silence"})
        return self.calibration()

    async def stop_calibration(self, keep: bool) -> dict[str, Any]:
        """Learn from what there is, or keep nothing."""
        if not self._calibrator.busy:
            raise UsageError("no calibration is on")
        if keep:
            self._calibrator.enough()
        else:
            await self._calibrator.cancel()
        return self.calibration()

    async def use_calibration(self, use: bool) -> dict[str, Any]:
        """From now on, and the next time. Raises UsageError, ModelFileError, StorageError."""
        if use:
            await asyncio.to_thread(self._store.load, self._name)  # says what is wrong with it before anything changes
        # In a thread: another program's lock must not stop the picture.
        await asyncio.to_thread(self._store.choose, self._name if use else DEFAULT)
        self._take_up()
        return self.calibration()

    async def delete_calibration(self) -> dict[str, Any]:
        """Remove what is kept; the default head goes on. Raises UsageError, StorageError."""
        if self._calibrator.busy:
            raise UsageError("a calibration is on; stop it first")
        await asyncio.to_thread(self._store.delete, self._name)
        await self._calibrator.cancel()  # its result is gone
        self._take_up()
        return self.calibration()

    def _take_up(self) -> None:
        self._pipeline.use_calibration(*find(self._store, "auto"))

    async def close(self) -> None:
        """End what is on."""
        await self._calibrator.cancel()
