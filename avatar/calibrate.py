"""Learning one's own head: recordings or devices in, a calibration kept on this machine out. The wiring of it.

The recording stays in memory and is gone afterwards. The learning is done by a process of its own
(:mod:`avatar.models.headpose.calibrate`) that gives way to everything else, so that a live session keeps its pace.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import io
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from avatar.analysis.calibration import Eyes, Material, Observer, Sight
from avatar.calibrations import Calibrations, check_name
from avatar.core.clock import Clock
from avatar.core.types import SECOND, AudioChunk, Ns, VideoFrame
from avatar.errors import AvatarError, CalibrationError, RunError, UsageError
from avatar.models import registry
from avatar.pipeline import offline
from avatar.pipeline.executors import ThreadLane
from avatar.streams.base import Source

log = logging.getLogger(__name__)

LANDMARKER = "face_landmarker_v2.task"
NEEDS = ("hmmlearn",)
CONSENT = (
    "Your microphone and camera are recorded while you read. The recording stays in this computer's memory and is "
    "dropped afterwards; kept are only how your head moves, your pitch and your resting face, in {folder}. "
    "Remove them at any time: avatar calibrate --delete"
)
SECONDS = 120.0
LONGEST = 600.0
PICTURES_A_SECOND = 30
"""More of a file are left out: heads do not move faster."""
LEARN_TIMEOUT = 300.0

State = Literal["idle", "recording", "learning", "done", "failed"]
Progress = Callable[[int, int], None]


def check_ready() -> None:
    """Raises RunError with the command that installs what learning needs, before anybody has read for two minutes."""
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise RunError(f"to learn a head {', '.join(missing)} is needed; run: pip install 'vultus[calibrate]'")
    registry.path(LANDMARKER)


# --- from files ----------------------------------------------------------------------------------------------------


def observe_files(
    audio: Path, video: Path, seconds: float | None = None, progress: Progress = lambda done, of: None
) -> Material:
    """Sound and pictures of files that begin together (or of one file), as if they had just been recorded.

    :param seconds: no more than this much of them.

    Raises MediaError, CalibrationError.
    """
    from avatar.streams.sources.media_file import describe, read_audio, read_video

    for path, has, what in ((audio, describe(audio).has_audio, "sound"), (video, describe(video).has_video, "picture")):
        if not has:
            raise CalibrationError(f"{path.name} holds no {what}; give a video with sound, or --audio FILE", "no-media")
    samples, rate = read_audio(audio)
    end = min(seconds or LONGEST, LONGEST)
    total = round(min(end, describe(video).duration) * SECOND)
    observer, eyes = Observer(registry.weights_dir()), Eyes(registry.path(LANDMARKER))
    observer.begin(Ns(0))
    try:
        for chunk in offline.chunks(samples[: round(end * rate)], rate):
            observer.hear(chunk)
        observer.check_heard()
        due = 0
        for frame in read_video(video):
            if frame.pts > end * SECOND:
                break
            if frame.pts >= due:
                due = max(due, frame.pts - SECOND // PICTURES_A_SECOND) + SECOND // PICTURES_A_SECOND
                eyes.step(frame, observer)
                progress(frame.pts, total)
    finally:
        eyes.close()
    return observer.finish()


# --- learning ------------------------------------------------------------------------------------------------------


async def learn(material: Material, out: Path, progress: Progress = lambda done, of: None) -> None:
    """Learn a head model into the file ``out``. Raises RunError; when cancelled the process ends too."""
    command = [sys.executable, "-m", "avatar.models.headpose.calibrate", str(out)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    assert stdin is not None
    assert stdout is not None
    assert stderr is not None
    said: list[str] = []

    async def feed(data: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # it has ended already; its last words say why
            stdin.write(data)
            await stdin.drain()
        stdin.close()

    async def read_progress() -> None:
        async for line in stdout:
            done, _, of = line.decode().partition(" ")
            if done.isdecimal() and of.strip().isdecimal():
                progress(int(done), int(of))

    async def read_errors() -> None:
        async for line in stderr:
            said.append(line.decode(errors="replace").rstrip())

    try:
        async with asyncio.timeout(LEARN_TIMEOUT):
            await asyncio.gather(feed(_packed(material)), read_progress(), read_errors())
            code = await process.wait()
    except TimeoutError:
        raise RunError(
            f"learning took longer than {LEARN_TIMEOUT:.0f} seconds; close other programs, and try again"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code != 0:
        log.debug("learning failed:\n%s", "\n".join(said))
        raise RunError(f"learning failed ({said[-1] if said else f'code {code}'}); record again")


def _packed(material: Material) -> bytes:
    arrays: dict[str, Any] = {}
    for index, piece in enumerate(material.pieces):
        arrays |= {f"audio{index}": piece.audio, f"times{index}": piece.times, f"degrees{index}": piece.degrees}
    buffer = io.BytesIO()
    np.savez(buffer, count=len(material.pieces), **arrays)
    return buffer.getvalue()


async def learn_and_keep(
    store: Calibrations, name: str, material: Material, progress: Progress = lambda done, of: None
) -> float:
    """Learn, keep under ``name`` and use from now on; returns the seconds that the learning took.

    Raises RunError, StorageError, UsageError.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vultus-", ignore_cleanup_errors=True) as scratch:
        made = Path(scratch) / "head.npz"
        await learn(material, made, progress)
        took = time.monotonic() - begun
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        program = f"vultus {version('vultus')}"
        copy = functools.partial(shutil.copyfile, made)
        store.save(name, now, program, material.speaker, material.habits, copy)
    store.choose(name)
    return took


def describe(name: str, material: Material, took: float) -> dict[str, Any]:
    """How a calibration ended, in JSON's values; ``took``: seconds of learning."""
    habits = material.habits
    return {
        "name": name,
        "habits": asdict(habits),
        "words": habits.words(),
        "pitch_hz": round(material.speaker.hertz, 1),
        "learn_s": round(took, 1),
    }


# --- from devices or a page ----------------------------------------------------------------------------------------


class Calibrator:
    """One calibration at a time, beside whatever else runs. :attr:`status` says where it stands."""

    def __init__(self, store: Calibrations) -> None:
        self.store = store
        self._task: asyncio.Task[None] | None = None
        self._enough = asyncio.Event()
        self._reset("idle")

    def _reset(self, state: State, seconds: float = 0.0) -> None:
        self._state: State = state
        self._wanted = seconds
        self._sight = Sight(0.0, 0.0, False, False, False, "")
        self._learnt = (0, 0)
        self._error: AvatarError | None = None
        self._result: dict[str, Any] = {}

    @property
    def busy(self) -> bool:
        """A recording or a learning is on."""
        return self._task is not None and not self._task.done()

    @property
    def status(self) -> dict[str, Any]:
        """``state`` (idle, recording, learning, done, failed), what has been noticed, and how it ended."""
        error = self._error
        return {
            "state": self._state,
            "wanted": self._wanted,
            **asdict(self._sight),
            "learnt": list(self._learnt),
            "error": "" if error is None else str(error),
            "code": getattr(error, "code", "") if error is not None else "",
            **self._result,
        }

    def start(
        self,
        name: str,
        audio: Source[AudioChunk],
        video: Source[VideoFrame],
        clock: Clock,
        seconds: float = SECONDS,
        finished: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Begin to record. ``finished`` is awaited when all is over, well or not.

        Raises UsageError (one is on already, an unusable name or length), RunError (hmmlearn is missing).
        """
        if self.busy:
            raise UsageError("a calibration is on already; stop that one first")
        check_name(name)
        if not 5 <= seconds <= LONGEST:
            raise UsageError(f"a calibration takes from 5 to {LONGEST:.0f} seconds, not {seconds:g}")
        check_ready()
        self._reset("recording", seconds)
        self._enough = asyncio.Event()
        self._task = asyncio.create_task(self._run(name, audio, video, clock, seconds, finished), name="calibration")

    def enough(self) -> None:
        """Stop recording and learn from what there is."""
        self._enough.set()

    async def cancel(self) -> None:
        """Stop, and keep nothing. Safe to call when nothing is on."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._reset("idle")

    async def wait(self) -> None:
        """Until it is over. Raises what made it fail."""
        if self._task is not None:
            await asyncio.shield(self._task)
        if self._error is not None:
            raise self._error

    async def _run(
        self,
        name: str,
        audio: Source[AudioChunk],
        video: Source[VideoFrame],
        clock: Clock,
        seconds: float,
        finished: Callable[[], Awaitable[None]] | None,
    ) -> None:
        try:
            material = await self._record(audio, video, clock, seconds)
            self._state = "learning"
            took = await learn_and_keep(self.store, name, material, self._on_learnt)
            self._result = describe(name, material, took)
            self._state = "done"
        except AvatarError as error:
            self._error, self._state = error, "failed"
        except Exception as error:  # a task of its own: what is not told here is told nowhere
            log.exception("calibration failed")
            self._error, self._state = RunError(f"calibration failed ({error}); the log says more"), "failed"
        finally:
            if finished is not None:
                await finished()

    def _on_learnt(self, done: int, of: int) -> None:
        self._learnt = (done, of)

    async def _record(
        self, audio: Source[AudioChunk], video: Source[VideoFrame], clock: Clock, seconds: float
    ) -> Material:
        lane = ThreadLane("calibration")
        taken = _Taken()
        tasks: list[asyncio.Task[None]] = []
        eyes: Eyes | None = None
        try:
            weights, model = registry.weights_dir(), registry.path(LANDMARKER)
            # Opened before the networks are loaded, which takes seconds: a page that leaves meanwhile ends them.
            for source in (audio, video):
                await source.open(clock)
            await lane.run(_give_way)
            observer, eyes = await lane.run(lambda: (Observer(weights), Eyes(model)))
            begin = clock.now()
            observer.begin(begin)
            tasks = [asyncio.create_task(taken.sounds(audio)), asyncio.create_task(taken.pictures(video))]
            while clock.now() < begin + seconds * SECOND and not self._enough.is_set():
                with contextlib.suppress(
                    TimeoutError
                ):  # nothing new; the clock and the page's wish are looked at again
                    await asyncio.wait_for(taken.news.wait(), 0.25)
                self._sight = await lane.run(_notice, observer, eyes, *taken.get())
                for task, what in zip(tasks, ("microphone", "camera"), strict=True):
                    if task.done():
                        task.result()
                        raise CalibrationError(f"the {what} stopped before the end; nothing was kept", "stopped")
            return await lane.run(observer.finish)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for source in (audio, video):
                await source.close()
            if eyes is not None:
                await asyncio.shield(lane.run(eyes.close))
            lane.close()


def _give_way() -> None:
    """Let the live engine go first. Linux only, where a thread has a niceness of its own, which those it starts (the
    networks') inherit."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a container may forbid it: then it shares as everybody does
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)


class _Taken:
    """What has come from the devices and was not looked at yet: all sound, the newest picture."""

    def __init__(self) -> None:
        self.news = asyncio.Event()
        self._chunks: list[AudioChunk] = []
        self._frame: VideoFrame | None = None

    async def sounds(self, source: Source[AudioChunk]) -> None:
        async for chunk in source.items():
            self._chunks.append(chunk)

    async def pictures(self, source: Source[VideoFrame]) -> None:
        async for frame in source.items():
            self._frame = frame
            self.news.set()

    def get(self) -> tuple[list[AudioChunk], VideoFrame | None]:
        self.news.clear()
        chunks, frame, self._chunks, self._frame = self._chunks, self._frame, [], None
        return chunks, frame


def _notice(observer: Observer, eyes: Eyes, chunks: list[AudioChunk], frame: VideoFrame | None) -> Sight:
    for chunk in chunks:
        observer.hear(chunk)
    if frame is not None:
        eyes.step(frame, observer)
    return observer.sight
