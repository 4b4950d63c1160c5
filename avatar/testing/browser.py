"""A real browser as the receiver: drives headless Chromium and measures what a viewer gets.

Needs the package ``playwright`` (extra ``test``) and a Chromium or Chrome of the system; neither is imported or looked
for before :class:`Browser` is entered. The measurements themselves run in the page (``streams/web/probe.js``).

How sound and picture are timed at the receiver, so that the figures can be judged:

- A picture counts from the time at which the compositor expects it on the screen
  (``requestVideoFrameCallback``'s ``expectedDisplayTime``), which steps with the display, 60 times a second here: an
  uncertainty of +-8 ms for one event. The panel's own delay is unknown to a browser and not included.
- Sound counts from the time at which it leaves Chromium's jitter buffer plus the delay which Chromium itself accounts
  for on the way to the ear (``media-playout`` statistics: renderer buffer and output device). That is the path of the
  ``<video>`` element. A WebAudio graph on the same stream would hear it later by a buffer of its own.
- ``skew_ms`` out of the statistics compares ``estimatedPlayoutTimestamp`` of both tracks. It trusts the sender's RTCP
  reports, so it cannot see a sender that stamps sound and picture wrongly; :meth:`Browser.measure_events` can.

Skew is positive where the sound is ahead of the picture, as in ITU-R BT.1359.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avatar.errors import DeviceError

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MOUTH = (0.3, 0.5, 0.4, 0.4)
"""The lower face of a portrait: left, top, width, height in parts of the picture."""

STALL = 40.0
"""Milliseconds by which a block of sound may be off the even pace around it."""

F64 = NDArray[np.float64]


def find_chromium() -> str:
    """Path of the system's Chromium or Chrome. Raises DeviceError with the command that installs it."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    raise DeviceError(
        "No Chromium was found. Install it with: apt-get install -y --no-install-recommends chromium "
        "(elsewhere: any Chromium or Chrome on the PATH)."
    )


@dataclass(frozen=True, slots=True)
class Recording:
    """What a page showed and played, in milliseconds of the page's clock."""

    shown: F64
    """(n,) when each picture is expected on the screen."""
    lights: F64
    """(n, fields) grey levels of the region."""
    heard: F64
    """(m,) when each millisecond of sound is heard."""
    peaks: F64
    """(m,) its largest magnitude."""
    sure: NDArray[np.bool_]
    """(m,) whether it came in the even pace of a second; where Chromium stood still, nobody knows when it was heard."""
    more: dict[str, Any]


class Browser:
    """Headless Chromium with a made-up microphone and camera; use it as a context manager.

    All methods must be called on the thread that entered it, and not inside a running event loop (Playwright's
    synchronous interface).

    :param microphone: WAV file which the page's microphone plays in a loop; None: Chromium's own beeps.
    :param camera: MJPEG or Y4M file which the page's camera shows in a loop; None: Chromium's own test picture.
    :raises DeviceError: Chromium or Playwright is missing, or does not start.
    """

    def __init__(self, microphone: Path | None = None, camera: Path | None = None) -> None:
        self._files = {"audio": microphone, "video": camera}
        self._manager: Any = None
        self._browser: Any = None

    def __enter__(self) -> Browser:
        executable = find_chromium()
        try:
            from playwright.sync_api import Error, sync_playwright
        except ImportError:
            raise DeviceError(
                "The Python package playwright is missing. Install it with: pip install 'vultus[test]'."
            ) from None
        self._manager = sync_playwright()
        try:
            self._browser = self._manager.__enter__().chromium.launch(
                executable_path=executable, args=self._arguments()
            )
        except Error as error:
            self.__exit__(None, None, None)
            line = str(error).strip().splitlines()[0]
            raise DeviceError(f"Chromium ({executable}) does not start: {line}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._browser is not None:
            self._browser.close()
            self._browser = None
        if self._manager is not None:
            self._manager.__exit__(kind, error, trace)
            self._manager = None

    def _arguments(self) -> list[str]:
        arguments = [
            "--autoplay-policy=no-user-gesture-required",
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            # A measured page must not share the machine with updates, nor talk to anybody but the engine.
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-quic",
            "--no-first-run",
            # Timers of a page that nobody looks at would slow down.
            "--disable-background-timer-throttling",
            "--disable-renderer-backgrounding",
            "--disable-backgrounding-occluded-windows",
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            arguments.append("--no-sandbox")  # Chromium's sandbox refuses to run as root.
        for kind, file in self._files.items():
            if file is not None:
                arguments.append(f"--use-file-for-fake-{kind}-capture={file}")
        return arguments

    def context(self, **options: Any) -> BrowserContext:
        """A fresh profile; ``options`` as for Playwright's ``new_context`` (viewport, color_scheme ...)."""
        return self._browser.new_context(**options)

    def open(
        self, url: str, timeout: float = 30.0, prepare: Callable[[Page], object] | None = None, **options: Any
    ) -> Page:
        """Open the engine's page and wait until the avatar moves.

        :param timeout: seconds.
        :param prepare: called with the empty page before it goes to ``url``.
        :raises DeviceError: no picture in time; the text has the page's own status line.
        """
        from playwright.sync_api import Error

        page = self.context(**options).new_page()
        if prepare is not None:
            prepare(page)
        try:
            page.goto(url, timeout=1000 * timeout)
            page.wait_for_selector("#screen[data-live=true]", timeout=1000 * timeout)
        except Error as error:
            status = page.locator("#status")
            said = status.inner_text() if status.count() else str(error).splitlines()[0]
            page.context.close()
            raise DeviceError(f"The page at {url} shows no moving picture after {timeout:.0f} s: {said}") from error
        return page

    def measure(
        self, url: str, seconds: float, settle: float = 10.0, on_start: Callable[[], object] | None = None
    ) -> dict[str, Any]:
        """Watch the page for some seconds after ``settle`` seconds, in which Chromium's buffers find their size.

        Returns ``fps`` (pictures presented a second), ``freeze_ms_max`` (longest time between two of them),
        ``skew_ms`` {p50, p95, p99, min, max, n} from the statistics (p50 the median; p95 and p99 the signed value of
        the sample whose magnitude ranks there), ``frames_decoded``, ``frames_dropped``, ``packets_received``,
        ``packets_lost``, ``concealed_ms``, ``jitter_buffer_ms`` {audio, video}, ``decode_ms``, ``playout_ms``,
        ``round_trip_ms``, ``width``, ``height``, ``seconds``.

        :param on_start: called when the page has settled and the measurement begins.
        :raises DeviceError: the page shows no picture.
        """
        raw = self._probe(url, settle, on_start, "measure", seconds)
        frames = np.array(raw.pop("frames"), np.float64).reshape(-1, 2)
        raw["fps"], raw["freeze_ms_max"] = pace(frames)
        raw["skew_ms"] = spread(raw["skew"]) if raw["skew"] else None
        del raw["skew"]
        return raw

    def measure_events(
        self, url: str, seconds: float, region: Sequence[float] = MOUTH, settle: float = 10.0
    ) -> list[tuple[float, float]]:
        """Times in milliseconds (picture, sound) at which a flash and the beep that belongs to it reach the viewer.

        For a source that changes ``region`` for a moment (a flash, an open mouth) and starts a beep at the same
        ``pts``, from rest and from silence, at intervals of a second. The skew of a pair is ``picture - sound``:
        positive where the sound comes first. A change between two pictures is seen in the later one, so the picture is
        found late by up to one frame, unless the source changes it on a frame's own ``pts``.

        :param region: left, top, width, height in parts of the picture.
        :raises DeviceError: the page shows no picture.
        """
        seen = self.record_events(url, seconds, region, settle)
        if not len(seen.shown):
            return []
        return pair(onsets(seen.shown, change(seen.lights)), onsets(seen.heard, seen.peaks))

    def record_events(
        self,
        url: str,
        seconds: float,
        region: Sequence[float] = MOUTH,
        settle: float = 10.0,
        prepare: Callable[[Page], object] | None = None,
        on_live: Callable[[], object] | None = None,
    ) -> Recording:
        """What the viewer sees of ``region`` and hears, for so many seconds.

        :param prepare: as for :meth:`open`.
        :param on_live: called when the avatar moves, ``settle`` seconds before the recording.
        :raises DeviceError: the page shows no picture.
        """
        raw = self._probe(url, settle, None, "events", seconds, list(region), prepare=prepare, on_live=on_live)
        blocks = raw.pop("audio")
        times, peaks = unfold(blocks)
        came = np.concatenate([time + np.arange(len(peaks)) for time, peaks in blocks]) if blocks else np.zeros(0)
        video = sorted(raw.pop("video"))
        return Recording(
            np.array([t for t, _ in video]),
            np.array([light for _, light in video], np.float64),
            times + raw["playout_ms"],
            peaks,
            np.abs(came - times) < STALL,
            raw,
        )

    def _probe(
        self,
        url: str,
        settle: float,
        on_start: Callable[[], object] | None,
        function: str,
        *arguments: Any,
        prepare: Callable[[Page], object] | None = None,
        on_live: Callable[[], object] | None = None,
    ) -> dict[str, Any]:
        page = self.open(url, prepare=prepare)
        if on_live is not None:
            on_live()
        try:
            page.wait_for_timeout(1000 * settle)
            if on_start is not None:
                on_start()
            return page.evaluate(
                """async ([name, values]) => {
                  const [{ peer }, probe] = await Promise.all([import("/app.js"), import("/probe.js")]);
                  return probe[name](peer.connection, document.getElementById("avatar"), ...values);
                }""",
                [function, list(arguments)],
            )
        finally:
            page.context.close()


def pace(frames: F64) -> tuple[float, float]:
    """Pictures a second and the longest gap in milliseconds.

    :param frames: (n, 2): presentation time in milliseconds, number of pictures presented so far. Where the page missed
        the call for a picture, the count jumps: that time is shared out, since the picture was on the screen.
    """
    if len(frames) < 2:
        return 0.0, float("inf")
    elapsed, count = frames[-1] - frames[0]
    gaps, steps = np.diff(frames[:, 0]), np.maximum(1, np.diff(frames[:, 1]))
    usual = elapsed / max(1.0, count)
    # Of a gap with missed calls all but one are taken to have had the usual length: the most that one can have lasted.
    return float(1000.0 * count / elapsed), float(np.max(gaps - (steps - 1) * usual))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Percentiles of a signed quantity: p95 and p99 rank by magnitude and keep their sign."""
    data = np.asarray(values, np.float64)
    ranked = data[np.argsort(np.abs(data), kind="stable")]

    def at(part: float) -> float:
        return float(ranked[min(len(ranked) - 1, int(np.ceil(part * len(ranked))) - 1)])

    return {
        "p50": float(np.median(data)),
        "p95": at(0.95),
        "p99": at(0.99),
        "min": float(data.min()),
        "max": float(data.max()),
        "n": len(data),
    }


def unfold(blocks: Sequence[tuple[float, Sequence[float]]]) -> tuple[F64, F64]:
    """Times and peaks, each (n,), of the milliseconds in sound blocks.

    :param blocks: (time of the first sample in ms, the peak of each millisecond). The output device fetches blocks
        unevenly but plays them evenly, so each block's time is the running mean of a second of blocks around it.
    """
    if not blocks:
        return np.zeros(0), np.zeros(0)
    counts = np.array([len(peaks) for _, peaks in blocks])
    position = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.float64)
    offset = np.array([time for time, _ in blocks], np.float64) - position
    half = 50
    smooth = np.array([np.mean(offset[max(0, i - half) : i + half + 1]) for i in range(len(offset))])
    times = np.concatenate([start + np.arange(n) for start, n in zip(smooth + position, counts, strict=True)])
    return times, np.concatenate([np.asarray(peaks, np.float64) for _, peaks in blocks])


def change(pictures: F64, around: int = 45) -> F64:
    """How much each picture differs from the usual one around it: (n,) mean absolute difference in grey levels.

    :param pictures: (n, fields) grey levels.
    :param around: pictures before and after that make the usual one; what lasts shorter than that stands out.
    """
    usual = [np.median(pictures[max(0, i - around) : i + around + 1], axis=0) for i in range(len(pictures))]
    return np.abs(pictures - np.array(usual)).mean(axis=1)


def onsets(times: F64, values: F64, rest: float = 250.0) -> F64:
    """Times at which a series rises through the middle between its low and its high level.

    :param times: (n,) milliseconds.
    :param values: (n,). The high level is the usual maximum of a second, so that one outlier does not raise it.
    :param rest: milliseconds below the middle before a rise counts again, so that a tone's own wave is one event.
    """
    if len(values) < 2:
        return np.zeros(0)
    bins = ((times - times[0]) // 1000).astype(int)
    low, high = np.median(values), np.median([values[bins == b].max() for b in np.unique(bins)])
    if high - low < 1e-3:
        return np.zeros(0)
    above = times[values > (low + high) / 2]
    if not len(above):
        return np.zeros(0)
    rises = np.concatenate([[True], np.diff(above) > rest])
    # One that is on at the start of the recording began before it.
    started = above - times[0] > rest
    return above[rises & started]


def pair(flashes: F64, beeps: F64, reach: float = 500.0) -> list[tuple[float, float]]:
    """Each flash with the beep nearest to it, where that is within ``reach`` milliseconds."""
    if not len(beeps):
        return []
    pairs = []
    for flash in flashes:
        beep = beeps[np.argmin(np.abs(beeps - flash))]
        if abs(beep - flash) <= reach:
            pairs.append((float(flash), float(beep)))
    return pairs
