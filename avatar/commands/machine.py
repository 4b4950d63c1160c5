"""`avatar models`, `devices`, `doctor` and `config show`: what is here, and what works."""

from __future__ import annotations

import argparse
import json

from avatar.commands.shared import report
from avatar.config import load


def models(args: argparse.Namespace) -> int:
    from avatar.models import registry

    if args.action == "fetch":
        for path in registry.fetch():
            report(args, {"file": str(path)}, str(path))
        return 0
    rows = [{"name": name, "state": state} for name, state in registry.verify()]
    report(args, {"models": rows}, "\n".join(f"{row['name']:32} {row['state']}" for row in rows))
    return 1 if args.action == "verify" and any(row["state"] != "ok" for row in rows) else 0


def devices(args: argparse.Namespace) -> int:
    from avatar.streams.devices import devices

    found = devices()
    lines = [f"{kind}:\n" + "\n".join(f"  {d}" for d in rows or ["none"]) for kind, rows in found.items()]
    report(args, found, "\n".join(lines))
    return 0


def doctor(args: argparse.Namespace) -> int:
    from avatar.doctor import checks

    found = checks(config=load(args.config, args.set).config)
    marks = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
    text = "\n".join(
        f"{marks[c.status]}  {c.name}: {c.detail}" + (f"\n      fix: {c.fix}" if c.fix else "") for c in found
    )
    rows = [{"name": c.name, "status": c.status, "detail": c.detail, "fix": c.fix} for c in found]
    report(args, {"checks": rows}, text)
    return int(any(c.status == "fail" for c in found))


def config_show(args: argparse.Namespace) -> int:
    loaded = load(args.config, args.set)
    rows = {name: {"value": value, "origin": origin} for name, value, origin in loaded.rows()}
    text = "\n".join(f"{name} = {json.dumps(row['value'])}    # {row['origin']}" for name, row in rows.items())
    report(args, rows, text)
    return 0
