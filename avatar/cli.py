"""The command ``avatar``. Exit codes: 0 fine, 1 failed, 2 wrong usage or input; an error is one line on stderr."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from avatar.config import Config, load
from avatar.core.types import EMOTIONS
from avatar.errors import AvatarError, UsageError
from avatar.log import set_up
from avatar.memory import few_arenas

EPILOG = "Everything this program draws is labelled as generated. Documentation: README.md"


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Entry point."""
    args = _parser().parse_args(argv)
    set_up(args.verbose)
    try:
        code = args.work(args)
    except AvatarError as error:
        print(f"avatar: {error}", file=sys.stderr)
        code = error.exit_code
    except ImportError as error:
        if ".so" not in str(error):
            raise
        fix = "on Debian or Ubuntu: sudo apt install libgl1 libglib2.0-0 libegl1 libgles2"
        print(f"avatar: a system library is missing ({error}); {fix}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # the reader of our output has gone: nothing is wrong
        code = 0
        sys.stdout = None
    sys.exit(code or 0)


# --- the live engine -------------------------------------------------------------------------------------------------


def _run(args: argparse.Namespace) -> int:
    few_arenas()
    config = load(args.config, args.set).config

    async def live() -> int:
        from avatar.assembly import Pipeline

        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        with contextlib.suppress(NotImplementedError):  # Windows has no signal handlers on the loop
            for name in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(name, stop.set)
        print("Preparing the face ... (the first start on a machine compiles the engine)", file=sys.stderr)
        pipeline = Pipeline(config)
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
        ("face.head", getattr(args, "head", None)),
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
    return Input(**given)


def _render(args: argparse.Namespace) -> int:
    from avatar.render import render

    config, source = _offline_config(args), _input(args)
    with _progress("rendering") as progress:
        count = render(config, source, args.output, args.states_out, progress)
    _report(
        args, {"file": str(args.output), "frames": count, "fps": config.avatar.fps}, f"{args.output}: {count} frames"
    )
    return 0


def _analyze(args: argparse.Namespace) -> int:
    from avatar.render import analyze

    count = analyze(_offline_config(args), _input(args), args.states_out)
    _report(args, {"file": str(args.states_out), "states": count}, f"{args.states_out}: {count} states")
    return 0


def _image(args: argparse.Namespace) -> int:
    import cv2

    from avatar.assembly import find_avatar, labelled, make_engine
    from avatar.core import facs
    from avatar.core.types import FaceState, Gaze, Ns, Pose, freeze

    config = _offline_config(args)
    try:
        if args.au:
            arkit = facs.from_action_units({int(k): v for k, v in _pairs(args.au)})
        else:
            arkit = facs.arkit_vector(dict(_pairs(args.arkit or "")))
    except (KeyError, ValueError) as error:
        raise UsageError(f"{args.au or args.arkit}: no such unit or coefficient: {error}") from error
    state = FaceState(Ns(0), freeze(arkit), Pose.degrees(args.yaw, args.pitch, args.roll), Gaze(*facs.eye_look(arkit)))
    engine = make_engine(config.avatar.engine, find_avatar(config.avatar.name), config.avatar.size)
    pixels = labelled(engine, config.avatar.badge)(state)
    if not cv2.imwrite(str(args.output), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)):
        raise UsageError(f"{args.output}: cannot be written as a picture; use a .png or .jpg in an existing folder")
    _report(args, {"file": str(args.output)}, str(args.output))
    return 0


def _pairs(text: str) -> Iterator[tuple[str, float]]:
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = item.partition("=")
        try:
            yield key.strip(), float(value)
        except ValueError:
            raise UsageError(f"{item!r}: write name=value, as in 12=0.8 or jawOpen=0.5") from None


# --- avatars, models, devices ----------------------------------------------------------------------------------------


def _create(args: argparse.Namespace) -> int:
    from avatar.assembly import detector, library

    with detector() as finder:
        made = library().create(args.photo, args.name, args.title or args.name, args.consent, finder, args.overwrite)
    for line in made.warnings:
        print(f"avatar: {args.photo}: {line}", file=sys.stderr)
    _report(args, {"name": made.name, "warnings": list(made.warnings)}, f"avatar {made.name} is ready")
    return 0


def _avatars(args: argparse.Namespace) -> int:
    from avatar.assembly import library

    if args.delete:
        library().delete(args.delete)
        _report(args, {"deleted": args.delete}, f"avatar {args.delete} is deleted")
        return 0
    shelf = library()
    found = []
    for entry in shelf.entries():
        consent = entry.error or shelf.load(entry.name).consent
        found.append({"name": entry.name, "title": entry.title, "consent": consent, "builtin": entry.builtin})
    _report(args, {"avatars": found}, "\n".join(f"{a['name']:16} {a['title']} ({a['consent']})" for a in found))
    return 0


def _models(args: argparse.Namespace) -> int:
    from avatar.models import registry

    if args.action == "fetch":
        for path in registry.fetch():
            _report(args, {"file": str(path)}, str(path))
        return 0
    rows = [{"name": name, "state": state} for name, state in registry.verify()]
    _report(args, {"models": rows}, "\n".join(f"{row['name']:32} {row['state']}" for row in rows))
    return 1 if args.action == "verify" and any(row["state"] != "ok" for row in rows) else 0


def _devices(args: argparse.Namespace) -> int:
    from avatar.streams.devices import devices

    found = devices()
    lines = [f"{kind}:\n" + "\n".join(f"  {d}" for d in rows or ["none"]) for kind, rows in found.items()]
    _report(args, found, "\n".join(lines))
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from avatar.doctor import checks

    found = checks()
    marks = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
    text = "\n".join(
        f"{marks[c.status]}  {c.name}: {c.detail}" + (f"\n      fix: {c.fix}" if c.fix else "") for c in found
    )
    rows = [{"name": c.name, "status": c.status, "detail": c.detail, "fix": c.fix} for c in found]
    _report(args, {"checks": rows}, text)
    return int(any(c.status == "fail" for c in found))


def _config_show(args: argparse.Namespace) -> int:
    loaded = load(args.config, args.set)
    rows = {name: {"value": value, "origin": origin} for name, value, origin in loaded.rows()}
    text = "\n".join(f"{name} = {json.dumps(row['value'])}    # {row['origin']}" for name, row in rows.items())
    _report(args, rows, text)
    return 0


# --- training and measuring ------------------------------------------------------------------------------------------


def _train(args: argparse.Namespace) -> int:
    from avatar.models.training import train

    options = {"corpus": args.corpus, "minutes": args.minutes, "resume": args.resume or None}
    _report(args, train(args.model, args.data, args.output, **options), f"{args.model}: done")
    return 0


def _eval(args: argparse.Namespace) -> int:
    from avatar.models.evaluation import evaluate, table

    options = {key: getattr(args, key) for key in ("data", "corpus", "minutes", "avatar", "engine", "limit", "keep")}
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


def _bench(args: argparse.Namespace) -> int:
    from avatar import bench

    size = [] if args.size is None else [f"avatar.size={args.size}"]
    config = load(args.config, [*args.set, *size]).config
    match args.what:
        case "live":
            result = bench.live(config, args.seconds or 60.0)
        case "sync":
            from avatar import bench_sync

            result = bench_sync.sync(config, bench_sync.Plan.of(args))
        case "soak":
            from avatar.bench_soak import soak

            with _progress("soaking") as progress:
                result = soak(config, args.seconds or 1800.0, progress)
        case "engines":
            from avatar.bench_engines import engines

            names = list(filter(None, (name.strip() for name in args.engine.split(","))))
            with _progress("drawing") as progress:
                result = engines(config, names, progress=progress)
        case _:
            result = bench.stages(config)
    print(json.dumps(result) if args.json else json.dumps(result, indent=2))
    return 0


# --- the parser ------------------------------------------------------------------------------------------------------


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


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"avatar: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(2)


def _positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def _count(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    common = _Parser(add_help=False)
    common.add_argument("--config", metavar="FILE", help="configuration file, or a shipped one by name (webcam.toml)")
    common.add_argument("--set", metavar="a.b=c", action="append", default=[], help="set one value; may be repeated")
    common.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    common.add_argument("-v", "--verbose", action="count", default=0, help="say more on standard error")

    parser = _Parser(prog="avatar", description="A real-time multimodal avatar engine.", epilog=EPILOG)
    parser.add_argument("--version", action="version", version=version("vultus"))
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)

    def add(name: str, work: Callable[[argparse.Namespace], int], text: str) -> _Parser:
        made = commands.add_parser(name, help=text, description=text, parents=[common])
        made.set_defaults(work=work)
        return made

    add("run", _run, "the live engine with its page; prints the address")
    _add_offline(add)

    create = add("create", _create, "make an avatar of a photo")
    create.add_argument("photo", type=Path)
    create.add_argument("--name", required=True, help="what it is called, a-z 0-9 - _")
    create.add_argument("--title", help="what people read")
    consent = "who agreed: the pictured person is you, a licence, or nobody real is pictured"
    create.add_argument("--consent", required=True, choices=("self", "licensed", "synthetic"), help=consent)
    create.add_argument("--overwrite", action="store_true", help="replace your avatar of that name")

    avatars = add("avatars", _avatars, "list avatars, or delete one of yours")
    avatars.add_argument("--delete", metavar="NAME")
    models = add("models", _models, "model files that do not come with the package")
    models.add_argument("action", choices=("list", "fetch", "verify"))
    add("devices", _devices, "microphones, speakers, cameras, virtual cameras")
    add("doctor", _doctor, "what works here, what does not, and the fix")
    config = commands.add_parser("config", help="configuration").add_subparsers(required=True, parser_class=_Parser)
    show = config.add_parser("show", help="each value and where it comes from", parents=[common])
    show.set_defaults(work=_config_show)

    train = add("train", _train, "make a shipped model again from its data")
    from avatar.models.training import MODELS

    train.add_argument("model", choices=sorted(MODELS))
    train.add_argument("--data", type=Path, help="folder of the training data")
    train.add_argument("-o", "--output", type=Path, help="where to write; default: the package's own folder")
    train.add_argument("--corpus", type=Path, help="visemes: folder of the labelled speech; made where there is none")
    train.add_argument("--minutes", type=_positive, help="visemes: how long to train")
    train.add_argument("--resume", action="store_true", help="visemes: go on from the last checkpoint")
    judge = add("eval", _eval, "judge what the models do, on material that they have not learnt from")
    from avatar.models.evaluation import TASKS

    judge.add_argument("task", choices=sorted(TASKS), help="; ".join(f"{k}: {t.text}" for k, t in TASKS.items()))
    judge.add_argument("--data", type=Path, metavar="DIR", help="your own recordings or photos")
    judge.add_argument("--corpus", type=Path, metavar="DIR", help="a corpus made by avatar.models.data.corpus")
    judge.add_argument("--minutes", type=_positive, help="how much sound to judge, at most")
    judge.add_argument("--avatar", metavar="NAME", help="who is drawn")
    judge.add_argument("--engine", metavar="E[,E...]|all", help="which engines draw")
    judge.add_argument("--limit", type=_count, metavar="N", help="so many people or portraits at most")
    judge.add_argument("--keep", type=Path, metavar="DIR", help="write the clips, plots and contact sheets there")
    bench = add("bench", _bench, "speed and sync tables")
    bench.add_argument("what", nargs="?", choices=("stages", "live", "sync", "soak", "engines"), default="stages")
    bench.add_argument("--seconds", type=_positive, help="how long; live: 60, sync: 30 for each path, soak: 1800")
    bench.add_argument("--size", type=int, help="pixels a side, 256 to 1024")
    bench.add_argument("--engine", default="", metavar="E[,E...]", help="engines: which; all where none is named")
    bench.add_argument("--paths", default="", help="sync: some of file,webrtc,browser,vcam")
    bench.add_argument("--loss", type=float, default=0.0, metavar="P", help="sync: percent of the datagrams to lose")
    bench.add_argument("--jitter", type=float, default=0.0, metavar="MS", help="sync: delay them by up to so much")
    bench.add_argument("--impaired", action="store_true", help="sync: all losses and jitters as well, 20 s each")
    bench.add_argument("--ppm", type=float, default=0.0, help="sync: how far the devices' clocks are off")
    return parser


def _add_offline(add: Callable[..., argparse.ArgumentParser]) -> None:
    def common(made: argparse.ArgumentParser, avatar: bool = True) -> None:
        if avatar:
            made.add_argument("--avatar", metavar="NAME|PHOTO", help="an avatar by name, or a photo")
            made.add_argument("--engine", help="expression engine")
            made.add_argument("--size", type=int, help="pixels a side, 256 to 1024")
        made.add_argument("--fps", type=int, help="frames a second")

    def inputs(made: argparse.ArgumentParser) -> None:
        made.add_argument("--audio", type=Path, metavar="FILE", help="a recording of speech")
        made.add_argument("--video", type=Path, metavar="FILE", help="a recording of a face, with or without sound")
        made.add_argument("--head", choices=("rules", "still"), help="how the head moves with the voice")
        made.add_argument("--emotion", metavar="NAME[:0..1]", help=f"one of {', '.join(EMOTIONS)}, and how strong")

    render = add("render", _render, "draw a clip offline, faster than real time")
    common(render)
    inputs(render)
    render.add_argument("--text", help="a text to be spoken")
    render.add_argument("--states", type=Path, metavar="F.jsonl", help="ready face states")
    render.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.mp4")
    render.add_argument("--states-out", type=Path, metavar="F.jsonl", help="write the face states, one a line")

    analyze = add("analyze", _analyze, "recording to face states, without drawing")
    common(analyze, avatar=False)
    inputs(analyze)
    analyze.add_argument("--states-out", type=Path, required=True, metavar="F.jsonl")

    image = add("image", _image, "one picture")
    common(image)
    what = image.add_mutually_exclusive_group()
    what.add_argument("--au", metavar="12=1,6=.6", help="action units")
    what.add_argument("--arkit", metavar="jawOpen=.5,...", help="ARKit coefficients")
    for name in ("yaw", "pitch", "roll"):
        image.add_argument(f"--{name}", type=float, default=0.0, metavar="DEGREES")
    image.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.png")


if __name__ == "__main__":
    main()
