"""What `avatar calibrate` does: parsed arguments in, exit code out; raises AvatarError with one line."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatar import reading
from avatar.commands.shared import progress_of, report
from avatar.config import load
from avatar.errors import AvatarError, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from avatar.calibrations import Calibrations

MICROPHONE, CAMERA = "microphone", "camera"
NAME = "me"


def calibrate(args: argparse.Namespace) -> int:
    """Record and learn, or show, use or delete what was learnt."""
    from avatar.calibrations import Calibrations
    from avatar.parts import store_of

    store = Calibrations(store_of(load(args.config, args.set).config))
    name = args.name or store.chosen or NAME
    if args.show:
        return _show(args, store)
    if args.delete:
        store.delete(name)
        report(args, {"deleted": name}, f"calibration {name} is deleted")
        return 0
    if args.use:
        store.choose(args.use)
        report(args, {"used": store.chosen}, f"{args.use} is used from now on")
        return 0
    return _learn(args, store, name)


def _show(args: argparse.Namespace, store: Calibrations) -> int:
    rows: list[dict[str, Any]] = []
    lines = []
    for name in store.names():
        row: dict[str, Any] = {"name": name, "used": name == store.chosen, "folder": store.place(name)}
        try:
            found = store.load(name)
        except AvatarError as error:
            rows.append({**row, "error": str(error)})
            lines.append(f"{name}: {error}")
            continue
        words = found.habits.words()
        rows.append(
            {
                **row,
                "made": found.made,
                "program": found.program,
                "habits": asdict(found.habits),
                "words": words,
                "pitch_hz": round(found.speaker.hertz, 1),
            }
        )
        use = "in use" if row["used"] else "not in use"
        lines.append(f"{name} ({use}): learnt {found.made} by {found.program}. {words}\n    {row['folder']}")
    none = f"nothing is kept in {store.store.where}; the default head is used"
    report(args, {"folder": store.store.where, "calibrations": rows}, "\n".join(lines) or none)
    return 0


def _learn(args: argparse.Namespace, store: Calibrations, name: str) -> int:
    from avatar import calibrate as learning
    from avatar.calibrations import check_name

    check_name(name)
    video = args.video or CAMERA
    audio = args.audio or (MICROPHONE if video == CAMERA else video)
    if (audio == MICROPHONE) != (video == CAMERA):
        raise UsageError("give both microphone and camera, or files for both: they must have begun together")
    learning.check_ready()
    if video == CAMERA:
        consent = learning.CONSENT.format(folder=store.store.where)
        print(consent, file=sys.stderr)
        if sys.stdin.isatty() and sys.stderr.isatty():
            print("Press Enter to agree and begin, Ctrl+C to leave.", file=sys.stderr)
            sys.stdin.readline()
        result = asyncio.run(_live(args, store, name))
    else:
        result = _from_files(args, store, name, Path(audio), Path(video))
    text = (
        f"{name}: learnt from {result['habits']['speech_seconds']:.0f} seconds of speech in {result['learn_s']:.0f} "
        f"seconds. {result['words']}\nThe avatar moves like this from now on, in `avatar run`. Go back with: avatar "
        f"calibrate --use default. Remove it with: avatar calibrate --delete"
    )
    report(args, {**result, "folder": store.place(name)}, text)
    return 0


def _from_files(args: argparse.Namespace, store: Calibrations, name: str, audio: Path, video: Path) -> dict[str, Any]:
    from avatar.calibrate import describe, learn_and_keep, observe_files

    with progress_of("looking") as progress:
        material = observe_files(audio, video, args.seconds, progress)
    with progress_of("learning") as progress:
        took = asyncio.run(learn_and_keep(store, name, material, progress))
    return describe(name, material, took)


async def _live(args: argparse.Namespace, store: Calibrations, name: str) -> dict[str, Any]:
    from rich.console import Console
    from rich.live import Live

    from avatar.calibrate import SECONDS, Calibrator
    from avatar.core.clock import SessionClock
    from avatar.streams.sources.camera import CameraSource
    from avatar.streams.sources.microphone import MicrophoneSource

    config = load(args.config, args.set).config.input
    terminal = Console(stderr=True)
    calibrator = Calibrator(store)
    calibrator.start(
        name,
        MicrophoneSource(config.device or None),
        CameraSource(config.camera),
        SessionClock(),
        args.seconds or SECONDS,
    )
    try:
        if terminal.is_terminal:
            with Live(console=terminal, refresh_per_second=8, transient=True) as display:
                while calibrator.busy:
                    display.update(_picture(calibrator.status))
                    await asyncio.sleep(0.1)
        await calibrator.wait()
        found = calibrator.status
    finally:
        await calibrator.cancel()
    return {key: found[key] for key in ("name", "habits", "words", "pitch_hz", "learn_s")}


def _picture(status: dict[str, Any]) -> RenderableType:
    """What the terminal shows: the text, what is seen, how far it is."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    if status["state"] != "recording":
        done, of = status["learnt"]
        return Group(Text("Learning how your head moves ..."), ProgressBar(total=of or 1, completed=done, pulse=not of))
    now = reading.part_at(status["seconds"], status["speech"])
    current = reading.RELAX if now < 0 else reading.TEXT[now]
    after = reading.TEXT[now + 1] if now + 1 < len(reading.TEXT) else ""
    seen = Text.assemble(
        ("● face  ", "green" if status["face"] else "dim"),
        ("● voice  ", "green" if status["voice"] else "dim"),
        f"{status['speech']:.0f} s of speech, {max(0.0, status['wanted'] - status['seconds']):.0f} s left",
    )
    return Group(
        Padding(Text(current, "bold"), (1, 2, 0, 2)),
        Padding(Text(after, "dim"), (0, 2, 1, 2)),
        # A bar ends without a new line of its own; what pads it gives one.
        Padding(ProgressBar(total=status["wanted"], completed=status["seconds"]), 0),
        seen,
        Text(status["hint"], "bold red"),
        Text("Ctrl+C stops; nothing is kept then.", "dim"),
    )
