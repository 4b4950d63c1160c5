"""`avatar render`, `analyze` and `image`: what is drawn without anybody waiting for it live."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from avatar.commands.shared import progress_of, report
from avatar.config import Config, load
from avatar.errors import UsageError


def offline_config(args: argparse.Namespace) -> Config:
    """The configuration, with what the command line says of what is drawn."""
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
        with progress_of("rendering") as progress:
            return _batch(args, offline_config(args), progress)
    if args.output is None:
        raise UsageError("say where to: -o OUT.mp4")
    if args.workers is not None or args.cluster is not None:
        raise UsageError("--workers and --cluster belong to --batch")
    config, source = offline_config(args), _input(args)
    with progress_of("rendering") as progress:
        made = render(config, source, args.output, args.states_out, progress, args.consent)
    data = {"file": str(args.output), "frames": made.frames, "fps": config.avatar.fps}
    data |= {"session": made.origin.name, "signed": made.signed}
    report(args, data, f"{args.output}: {made.frames} frames")
    return 0


def analyze(args: argparse.Namespace) -> int:
    from avatar.render import analyze

    count = analyze(offline_config(args), _input(args), args.states_out)
    report(args, {"file": str(args.states_out), "states": count}, f"{args.states_out}: {count} states")
    return 0


def image(args: argparse.Namespace) -> int:
    import cv2

    from avatar.core import facs
    from avatar.core.types import FaceState, Gaze, Ns, Pose, freeze
    from avatar.engines import layers
    from avatar.labels import labelled, labelled_transparent, origin_of, seal_picture
    from avatar.parts import choose_engine, find_avatar
    from avatar.trust.provenance import session_of

    config = offline_config(args)
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
    report(args, {"file": str(args.output), "session": origin.name}, str(args.output))
    return 0


def _pairs(text: str) -> Iterator[tuple[str, float]]:
    for item in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = item.partition("=")
        try:
            yield key.strip(), float(value)
        except ValueError:
            raise UsageError(f"{item!r}: write name=value, as in 12=0.8 or jawOpen=0.5") from None


def _batch(args: argparse.Namespace, config: Config, progress: Callable[[int, int], None]) -> int:
    """Draw the clips of a table; what an earlier run has drawn is left alone. Exit code 1 where a row failed."""
    from avatar.scale import batch

    single = ("audio", "video", "text", "states", "act", "voice", "output", "states_out")
    if given := [name for name in single if getattr(args, name) is not None]:
        raise UsageError(f"--batch: --{given[0].replace('_', '-')} is a column of the table")

    def say(line: str) -> None:
        print(f"avatar: {line}", file=sys.stderr)

    crew = batch.crew(args.cluster or "", args.workers)
    outcome = batch.run(args.batch, config, crew, say, progress)
    done = outcome.as_json()
    text = f"{args.batch}: {done['drawn']} drawn, {done['already']} were there, {done['failed']} failed"
    print(json.dumps(done) if args.json else text)
    return int(bool(outcome.bad))
