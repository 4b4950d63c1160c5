"""`avatar train`, `eval` and `bench`: models made again, judged, and everything timed."""

from __future__ import annotations

import argparse
import json
from typing import Any

from avatar.commands.shared import names, progress_of, report
from avatar.config import load


def train(args: argparse.Namespace) -> int:
    from avatar.models.training import train

    options = {"corpus": args.corpus, "minutes": args.minutes, "resume": args.resume or None}
    report(args, train(args.model, args.data, args.output, **options), f"{args.model}: done")
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
    with progress_of(f"judging {args.task}") as progress:
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

            with progress_of("soaking") as progress:
                result = soak(config, args.seconds or 1800.0, progress, args.joins or 0.0)
        case "serve":
            from avatar.bench.serve import serve

            result = serve(config, args.sessions, args.viewers, args.seconds or 30.0, args.side_by_side)
        case "batch":
            from avatar.bench.batch import bench as batch

            with progress_of("drawing") as progress:
                result = batch(config, args.clips, args.killed, progress)
        case "network":
            from avatar.bench.network import network

            result = network(config, tuple(filter(None, (part.strip() for part in args.parts.split(",")))))
        case "engines":
            from avatar.bench.engines import engines

            with progress_of("drawing") as progress:
                result = engines(config, names(args.engine), progress=progress)
        case "label":
            from avatar.bench.label import label

            result = label(config)
        case "parameters":
            from avatar.bench.parameters import parameters

            with progress_of("sending") as progress:
                result = parameters(args.seconds or 60.0, progress)
        case "switch":
            from avatar.bench.switch import switch

            with progress_of("switching") as progress:
                result = switch(config, names(args.engine), progress)
        case "vr":
            from avatar.bench.vr import vr

            with progress_of("drawing") as progress:
                result = vr(config, args.seconds or 15.0, progress)
        case _:
            from avatar.bench.stages import stages

            result = stages(config)
    print(json.dumps(result) if args.json else json.dumps(result, indent=2))
    return 0
