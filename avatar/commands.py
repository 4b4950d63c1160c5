"""What each command of :mod:`avatar.cli` does: parsed arguments in, exit code out; raises AvatarError with one line."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from avatar.config import Config, load, secrets_of
from avatar.ending import on_signal
from avatar.errors import AvatarError, UsageError
from avatar.log import hide
from avatar.memory import few_arenas

# --- the live engine -------------------------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> int:
    few_arenas()
    settings = [*args.set, *([f"server.cluster={json.dumps(args.cluster)}"] if args.cluster else [])]
    config = load(args.config, settings).config
    hide(*secrets_of(config))
    if config.server.cluster and not config.server.workers:
        raise UsageError("a cluster runs sessions: say how many at most, --set server.workers=N")
    if config.server.workers:
        from avatar.commands_scale import serve

        return serve(config)

    async def live() -> int:
        from avatar.assembly import Pipeline

        stop = asyncio.Event()
        on_signal(stop.set)
        print("Preparing the face ... (the first start on a machine compiles the engine)", file=sys.stderr)
        pipeline = Pipeline(config)
        print(f"Quality {pipeline.choice}", file=sys.stderr)
        task = asyncio.create_task(pipeline.run(_say_address))
        waiter = asyncio.create_task(stop.wait())
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
            return 0
        await task
        return 0

    try:
        code = asyncio.run(live())
    except BaseExceptionGroup as group:
        raise _first(group) from group
    # Everything is closed. The interpreter would now spend up to a second taking apart what libraries have loaded.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _first(group: BaseExceptionGroup) -> BaseException:
    """The error in a group that a user can act on, else the first."""
    known, other = group.split(AvatarError)
    error: BaseException = (known or other or group).exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _say_address(address: str) -> None:
    print(f"Vultus is live: {address}" if address else "Vultus is live (no page)", flush=True)


# --- offline ---------------------------------------------------------------------------------------------------------


def _offline_config(args: argparse.Namespace) -> Config:
    settings = list(args.set)
    for key, value in (
        ("avatar.name", getattr(args, "avatar", None)),
        ("avatar.engine", getattr(args, "engine", None)),
        ("avatar.size", getattr(args, "size", None)),
        ("avatar.fps", getattr(args, "fps", None)),
        ("avatar.background", getattr(args, "background", None)),
        ("avatar.quality", getattr(args, "quality", None)),
        ("face.head", getattr(args, "head", None)),
        ("face.micro_gain", getattr(args, "micro_gain", None)),
    ):
        if value is not None:
            settings.append(f"{key}={json.dumps(value)}")
    if (emotion := getattr(args, "emotion", None)) is not None:
        label, _, degree = emotion.partition(":")
        settings.append(f"face.emotion={json.dumps(label)}")
        if degree:
            settings.append(f"face.intensity={degree}")
    return load(args.config, settings).config


def _input(args: argparse.Namespace) -> Any:
    from avatar.render import Input

    given = {key: getattr(args, key, None) for key in ("audio", "video", "text", "states")}
    if sum(value is not None for value in given.values()) != 1:
        raise UsageError("give one of " + ", ".join(f"--{key}" for key in given if hasattr(args, key)))
    act, voice = getattr(args, "act", None), getattr(args, "voice", None)
    if (act or voice) and given.get("text") is None:
        raise UsageError("--act and --voice say how a text is spoken: give --text")
    made = Input(given["audio"], given["video"], given["text"], given["states"], act)
    return replace(made, voice=voice) if voice else made


def render(args: argparse.Namespace) -> int:
    from avatar.render import render

    if args.batch is not None:
        from avatar.commands_scale import batch

        with _progress("rendering") as progress:
            return batch(args, _offline_config(args), progress)
    if args.output is None:
        raise UsageError("say where to: -o OUT.mp4")
    if args.workers is not None or args.cluster is not None:
        raise UsageError("--workers and --cluster belong to --batch")
    config, source = _offline_config(args), _input(args)
    with _progress("rendering") as progress:
        made = render(config, source, args.output, args.states_out, progress, args.consent)
    data = {"file": str(args.output), "frames": made.frames, "fps": config.avatar.fps}
    data |= {"session": made.origin.name, "signed": made.signed}
    _report(args, data, f"{args.output}: {made.frames} frames")
    return 0


def analyze(args: argparse.Namespace) -> int:
    from avatar.render import analyze

    count = analyze(_offline_config(args), _input(args), args.states_out)
    _report(args, {"file": str(args.states_out), "states": count}, f"{args.states_out}: {count} states")
    return 0


def image(args: argparse.Namespace) -> int:
    import cv2

    from avatar.core import facs
    from avatar.core.types import FaceState, Gaze, Ns, Pose, freeze
    from avatar.engines import layers
    from avatar.labels import labelled, labelled_transparent, origin_of, seal_picture
    from avatar.parts import choose_engine, find_avatar
    from avatar.trust.provenance import session_of

    config = _offline_config(args)
    try:
        if args.au:
            arkit = facs.from_action_units({int(k): v for k, v in _pairs(args.au)})
        else:
            arkit = facs.arkit_vector(dict(_pairs(args.arkit or "")))
    except (KeyError, ValueError) as error:
        raise UsageError(f"{args.au or args.arkit}: no such unit or coefficient: {error}") from error
    state = FaceState(Ns(0), freeze(arkit), Pose.degrees(args.yaw, args.pitch, args.roll), Gaze(*facs.eye_look(arkit)))
    bundle = find_avatar(config.avatar.name, args.consent, config)
    engine = choose_engine(config.avatar, bundle).engine
    asked = repr((args.au, args.arkit, state.head))
    session = session_of(bundle.portrait, config.model_dump_json(), engine.name, asked)
    origin = origin_of(bundle, engine.name, config.avatar, session)
    suffix = args.output.suffix.lower()
    if engine.background == layers.ALPHA:
        if suffix not in (".png", ".webp", ".tif", ".tiff"):
            raise UsageError(f"{args.output}: background alpha needs a picture that can be transparent; use .png")
        pixels = cv2.cvtColor(labelled_transparent(engine, config.avatar, origin)(state), cv2.COLOR_RGBA2BGRA)
    else:
        pixels = cv2.cvtColor(labelled(engine, config.avatar, origin)(state), cv2.COLOR_RGB2BGR)
    try:
        quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix in (".jpg", ".jpeg") else []
        ok, encoded = cv2.imencode(suffix, pixels, quality)
        if not ok:
            raise ValueError(suffix)
        seal_picture(args.output, encoded.tobytes(), origin)
    except (cv2.error, OSError, ValueError):
        raise UsageError(
            f"{args.output}: cannot be written as a picture; use a .png or .jpg in an existing folder"
        ) from None
    _report(args, {"file": str(args.output), "session": origin.name}, str(args.output))
    return 0


def _pairs(text: str) -> Iterator[tuple[str, float]]:
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = item.partition("=")
        try:
            yield key.strip(), float(value)
        except ValueError:
            raise UsageError(f"{item!r}: write name=value, as in 12=0.8 or jawOpen=0.5") from None


# --- avatars, models, devices ----------------------------------------------------------------------------------------


def models(args: argparse.Namespace) -> int:
    from avatar.models import registry

    if args.action == "fetch":
        for path in registry.fetch():
            _report(args, {"file": str(path)}, str(path))
        return 0
    rows = [{"name": name, "state": state} for name, state in registry.verify()]
    _report(args, {"models": rows}, "\n".join(f"{row['name']:32} {row['state']}" for row in rows))
    return 1 if args.action == "verify" and any(row["state"] != "ok" for row in rows) else 0


def devices(args: argparse.Namespace) -> int:
    from avatar.streams.devices import devices

    found = devices()
    lines = [f"{kind}:\n" + "\n".join(f"  {d}" for d in rows or ["none"]) for kind, rows in found.items()]
    _report(args, found, "\n".join(lines))
    return 0


def doctor(args: argparse.Namespace) -> int:
    from avatar.doctor import checks

    found = checks(config=load(args.config, args.set).config)
    marks = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
    text = "\n".join(
        f"{marks[c.status]}  {c.name}: {c.detail}" + (f"\n      fix: {c.fix}" if c.fix else "") for c in found
    )
    rows = [{"name": c.name, "status": c.status, "detail": c.detail, "fix": c.fix} for c in found]
    _report(args, {"checks": rows}, text)
    return int(any(c.status == "fail" for c in found))


def config_show(args: argparse.Namespace) -> int:
    loaded = load(args.config, args.set)
    rows = {name: {"value": value, "origin": origin} for name, value, origin in loaded.rows()}
    text = "\n".join(f"{name} = {json.dumps(row['value'])}    # {row['origin']}" for name, row in rows.items())
    _report(args, rows, text)
    return 0


# --- training and measuring ------------------------------------------------------------------------------------------


def train(args: argparse.Namespace) -> int:
    from avatar.models.training import train

    options = {"corpus": args.corpus, "minutes": args.minutes, "resume": args.resume or None}
    _report(args, train(args.model, args.data, args.output, **options), f"{args.model}: done")
    return 0


def judge(args: argparse.Namespace) -> int:
    from avatar.models.evaluation import evaluate, table

    known = (
        "data",
        "dataset",
        "expression",
        "corpus",
        "video",
        "minutes",
        "avatar",
        "engine",
        "limit",
        "units",
        "report",
    )
    options: dict[str, Any] = {key: getattr(args, key) for key in (*known, "keep")}
    options["loso"] = args.loso or None
    with _progress(f"judging {args.task}") as progress:
        result = evaluate(args.task, options, progress)
    if args.json:
        print(json.dumps(result))
        return 0
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for title, heads, rows, notes in table(result):
        made = Table(*heads, title=title, title_justify="left")
        for row in rows:
            made.add_row(*row)
        if rows:
            console.print(made)
        for note in notes:
            console.print(note, markup=False, highlight=False)
    return 0


def bench(args: argparse.Namespace) -> int:
    size = [] if args.size is None else [f"avatar.size={args.size}"]
    config = load(args.config, [*args.set, *size]).config
    match args.what:
        case "live":
            from avatar.bench.live import live

            result = live(config, args.seconds or 60.0)
        case "sync":
            from avatar.bench import sync

            result = sync.sync(config, sync.Plan.of(args))
        case "soak":
            from avatar.bench.soak import soak

            with _progress("soaking") as progress:
                result = soak(config, args.seconds or 1800.0, progress, args.joins or 0.0)
        case "serve":
            from avatar.bench.serve import serve

            result = serve(config, args.sessions, args.viewers, args.seconds or 30.0, args.side_by_side)
        case "batch":
            from avatar.bench.batch import bench as batch

            with _progress("drawing") as progress:
                result = batch(config, args.clips, args.killed, progress)
        case "network":
            from avatar.bench.network import network

            result = network(config, tuple(filter(None, (part.strip() for part in args.parts.split(",")))))
        case "engines":
            from avatar.bench.engines import engines

            with _progress("drawing") as progress:
                result = engines(config, _names(args.engine), progress=progress)
        case "label":
            from avatar.bench.label import label

            result = label(config)
        case "parameters":
            from avatar.bench.parameters import parameters

            with _progress("sending") as progress:
                result = parameters(args.seconds or 60.0, progress)
        case "switch":
            from avatar.bench.switch import switch

            with _progress("switching") as progress:
                result = switch(config, _names(args.engine), progress)
        case "vr":
            from avatar.bench.vr import vr

            with _progress("drawing") as progress:
                result = vr(config, args.seconds or 15.0, progress)
        case _:
            from avatar.bench.stages import stages

            result = stages(config)
    print(json.dumps(result) if args.json else json.dumps(result, indent=2))
    return 0


# --- what they share ------------------------------------------------------------------------------------------------


def _names(listed: str) -> list[str]:
    return list(filter(None, (name.strip() for name in listed.split(","))))


def _report(args: argparse.Namespace, data: dict[str, Any], text: str) -> None:
    print(json.dumps(data, default=str) if args.json else text)


@contextlib.contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar where standard error is a terminal; silence elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
