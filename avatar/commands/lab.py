"""What ``datasets`` and ``study`` of :mod:`avatar.cli` do: parsed arguments in, exit code out; raises AvatarError."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatar.commands.shared import report
from avatar.ending import on_signal
from avatar.errors import StorageError, UsageError

if TYPE_CHECKING:
    from avatar.models.study.store import Studies, Study


LINES = 20
"""Of what could not be used, on a terminal."""


# --- data sets of faces ----------------------------------------------------------------------------------------------


def datasets(args: argparse.Namespace) -> int:
    """The sets that can be read, or what a folder holds."""
    if args.data is not None:
        return _look(args)
    from avatar.models.data.faces import CATALOGUE

    keys = ("title", "holds", "licence", "apply", "layout")
    rows = [{"name": entry.name, **{key: getattr(entry, key) for key in keys}} for entry in CATALOGUE.values()]
    text = "\n\n".join(
        f"{row['name']}: {row['title']}\n  holds    {row['holds']}\n  licence  {row['licence']}\n"
        f"  apply    {row['apply']}\n  layout   {row['layout']}"
        for row in rows
    )
    end = "None of them comes with Vultus. What a folder holds: avatar datasets --data DIR"
    report(args, {"datasets": rows}, f"{text}\n\n{end}")
    return 0


def _look(args: argparse.Namespace) -> int:
    from avatar.models.data.faces import CATALOGUE, open_dataset, recognise
    from avatar.models.data.faces.sample import summary

    if not args.data.is_dir():
        raise UsageError(f"--data {args.data}: there is no such folder")
    reader = recognise(args.data) if args.dataset is None else open_dataset(args.data, args.dataset)
    if reader is None:
        raise UsageError(f"{args.data}: laid out as none of {', '.join(CATALOGUE)}; avatar datasets shows the layouts")
    found = summary(reader)
    labels = found["expressions"]
    assert isinstance(labels, dict)
    left_out = found["left_out"]
    assert isinstance(left_out, list)
    words = {"complete": "all of it", "part": "a part of it", "made": "made for tests: not the data set"}
    lines = [
        f"{args.data}: laid out as {CATALOGUE[reader.name].title}, {words[str(found['standing'])]}",
        f"{found['subjects']} of {found['published_subjects']} subjects, {found['samples']} samples "
        f"({found['sequences']} sequences), {found['pictures']} pictures; "
        f"{found['with_action_units']} samples with action units",
        ", ".join(f"{label} {count}" for label, count in labels.items()),
        *(f"not used: {line}" for line in left_out[:LINES]),
        *([f"and {len(left_out) - LINES} more; --json lists them all"] if len(left_out) > LINES else []),
    ]
    report(args, found, "\n".join(lines))
    return 0


# --- studies of opinion ----------------------------------------------------------------------------------------------


def study(args: argparse.Namespace) -> int:
    from avatar.models.study.store import Studies

    store = Studies()
    if args.action == "list":
        names = store.names()
        rows = [{"study": name, "raters": len(store.raters(store.load(name)))} for name in names]
        text = "\n".join(f"{row['study']}: {row['raters']} raters" for row in rows)
        report(args, {"folder": str(store.folder), "studies": rows}, text or f"no study is kept in {store.folder}")
        return 0
    if not args.name:
        raise UsageError(f"say which study: avatar study {args.action} NAME")
    act: Callable[[argparse.Namespace, Studies], int] = {
        "create": _create, "serve": _serve, "result": _result, "export": _export, "delete": _delete,
    }[args.action]  # fmt: skip
    return act(args, store)


def _create(args: argparse.Namespace, store: Studies) -> int:
    from avatar.models.study.design import plan
    from avatar.models.study.store import COMPARISON, QUESTION

    if args.items is None:
        raise UsageError("study create: give --items DIR, a folder for each engine with files of the same names")
    made = store.create(
        args.name, args.items, args.kind or "both", args.question or QUESTION, args.comparison or COMPARISON
    )
    count = len(plan(made, "0" * 16))
    data = {"study": made.name, "folder": str(store.folder / made.name), "conditions": list(made.conditions)}
    text = (
        f"study {made.name}: {', '.join(made.conditions)} on {len(made.items)} items, {count} questions a rater.\n"
        f"Copies and answers are kept in {store.folder / made.name}.\nOpen it: avatar study serve {made.name}"
    )
    report(args, data | {"items": len(made.items), "questions": count}, text)
    return 0


def _serve(args: argparse.Namespace, store: Studies) -> int:
    from avatar.models.study.desk import Desk
    from avatar.streams.access import Access, check
    from avatar.streams.study.server import StudyServer

    token = args.token or ""
    check(args.host, token)
    server = StudyServer(Desk(store, store.load(args.name)), Access(token))

    async def live() -> None:
        stop = asyncio.Event()
        on_signal(stop.set)
        port = await server.start(args.host, args.port)
        host = f"[{args.host}]" if ":" in args.host else args.host
        address = f"http://{host}:{port}/" + (f"?token={token}" if token else "")
        print(f"study {args.name} is open: {address}\nCtrl+C closes it; answers stay.", flush=True)
        await stop.wait()
        await server.stop()

    asyncio.run(live())
    return 0


def _found(store: Studies, name: str) -> tuple[Study, list[Any], dict[str, Any]]:
    from avatar.models.study.analysis import raters_of, result

    loaded = store.load(name)
    raters = raters_of(store, loaded)
    return loaded, raters, result(loaded, raters)


def _result(args: argparse.Namespace, store: Studies) -> int:
    _, _, found = _found(store, args.name)
    report(args, found, "\n".join(_words(found)))
    return 0


def _words(found: dict[str, Any]) -> list[str]:
    raters = found["raters"]
    gone = ", ".join(f"{count} {reason}" for reason, count in raters["left_out"].items() if count) or "nobody"
    lines = [f"{raters['attentive']} attentive raters have finished; left out: {gone}"]
    if found["mos"] is None and found["pairs"] is None:
        missing = raters["minimum"] - raters["attentive"]
        return [*lines, f"no figures before {raters['minimum']} have: {missing} more are needed"]
    for name, one in (found["mos"] or {}).items():
        lines.append(f"  {name:16} {one['mean']:.2f}   95 % {one['lo']:.2f} to {one['hi']:.2f}   (1 bad, 5 excellent)")
    for name, one in found.get("differences", {}).items():
        lines.append(f"  {name:32} {one['mean']:+.2f}   95 % {one['lo']:+.2f} to {one['hi']:+.2f}")
    for name, one in (found["pairs"] or {}).items():
        lines.append(f"  {name:32} {one['share']:.1%}   95 % {one['lo']:.1%} to {one['hi']:.1%}")
    return lines


def _export(args: argparse.Namespace, store: Studies) -> int:
    from avatar.models.study.analysis import as_csv, rows

    if args.output is None or args.output.suffix.lower() not in (".csv", ".json"):
        raise UsageError("study export: give -o F.csv for every answer, or -o F.json for the figures and every answer")
    _, raters, found = _found(store, args.name)
    counts = found["raters"]
    if counts["attentive"] < counts["minimum"]:
        raise UsageError(
            f"study {args.name}: {counts['attentive']} attentive raters have finished; nothing is given out before "
            f"{counts['minimum']} have"
        )
    table = rows(raters)
    text = as_csv(table) if args.output.suffix.lower() == ".csv" else json.dumps(found | {"answers": table}, indent=1)
    _write(args.output, text)
    report(args, {"file": str(args.output), "answers": len(table)}, f"{args.output}: {len(table)} answers")
    return 0


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}); name another file") from error


def _delete(args: argparse.Namespace, store: Studies) -> int:
    store.delete(args.name)
    report(args, {"deleted": args.name}, f"study {args.name} is deleted, with its answers")
    return 0
