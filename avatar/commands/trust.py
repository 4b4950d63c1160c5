"""What the commands about avatars and trust do: ``create``, ``avatars`` and ``verify`` of :mod:`avatar.cli`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from avatar.commands.shared import report
from avatar.errors import ConsentError, UsageError

if TYPE_CHECKING:
    from avatar.portrait.library import Library


def create(args: argparse.Namespace) -> int:
    from avatar.parts import background_doubt, create_avatar
    from avatar.portrait.consent import ConsentRecord
    from avatar.portrait.report import lines

    record = ConsentRecord.given(args.consent, args.consent_by, args.consent_for, args.consent_until)
    shelf = _shelf(args)
    made = create_avatar(shelf, args.photo, args.name, args.title, args.consent, args.smile, args.overwrite, record)
    told = {finding.text for finding in made.report}
    for line in made.warnings:
        if args.json or line not in told:  # else the report says it
            print(f"avatar: {args.photo}: {line}", file=sys.stderr)
    if doubt := background_doubt(made):
        print(f"avatar: {args.photo}: the background moves with the head, and is kept: {doubt}", file=sys.stderr)
    data = {"name": made.name, "warnings": list(made.warnings), "report": [asdict(f) for f in made.report]}
    agreed = f"consent: {record.kind}, by {record.by}, for {record.purpose}" + _until(record.until)
    report(args, {**data, "consent": asdict(record)}, "\n".join(
        [f"avatar {made.name} is ready; the photo:", *lines(made.report), agreed]
    ))  # fmt: skip
    return 0


def _shelf(args: argparse.Namespace) -> Library:
    from avatar.config import load
    from avatar.parts import library

    return library(load(args.config, args.set).config)


def _until(day: str) -> str:
    return f", until {day}" if day else ", until it is revoked"


def avatars(args: argparse.Namespace) -> int:
    """List, or delete one, show its papers, renew them, revoke them, forget a revocation."""
    shelf = _shelf(args)
    if args.delete:
        shelf.delete(args.delete)
        report(args, {"deleted": args.delete}, f"avatar {args.delete} is deleted")
        return 0
    if args.action != "list":
        if not args.name:
            raise UsageError(f"say which avatar: avatar avatars {args.action} NAME")
        return {"show": _show, "grant": _grant, "revoke": _revoke, "forget": _forget}[args.action](args, shelf)
    found = []
    for entry in shelf.entries():
        consent = entry.error
        if not consent:
            try:
                consent = shelf.load(entry.name).consent
            except ConsentError as error:
                consent = str(error)
        found.append({"name": entry.name, "title": entry.title, "consent": consent, "builtin": entry.builtin})
    report(args, {"avatars": found}, "\n".join(f"{a['name']:16} {a['title']} ({a['consent']})" for a in found))
    return 0


def _show(args: argparse.Namespace, shelf: Any) -> int:
    record = shelf.papers(args.name)
    fault = record.fault()
    rows = {"kind": record.kind, "by": record.by, "for": record.purpose, "granted": record.granted}
    rows |= {"scope": record.scope, "until": record.until or "it is revoked", "valid": fault or "yes"}
    data = {"name": args.name, "valid": not fault, **json.loads(record.to_json())}
    report(args, data, "\n".join(f"{key:8} {value}" for key, value in rows.items()))
    return 0


def _grant(args: argparse.Namespace, shelf: Any) -> int:
    from avatar.portrait.consent import ConsentRecord

    if args.consent is None:
        raise UsageError(f"say who agrees: avatar avatars grant {args.name} --consent self|licensed|synthetic")
    record = ConsentRecord.given(args.consent, args.consent_by, args.consent_for, args.consent_until)
    shelf.grant(args.name, record)
    report(args, {"name": args.name, **json.loads(record.to_json())}, f"avatar {args.name}: consent is recorded")
    return 0


def _revoke(args: argparse.Namespace, shelf: Any) -> int:
    from avatar.recordings import recordings_folder
    from avatar.trust.recordings import of_record

    record = shelf.revoke(args.name, args.reason)
    deleted = []
    for path in of_record(recordings_folder(), record.id):
        path.unlink(missing_ok=True)
        deleted.append(path.name)
    data = {"name": args.name, "revoked": record.revoked, "reason": record.reason, "recordings_deleted": deleted}
    text = f"avatar {args.name} is revoked: its files and {len(deleted)} recordings are deleted, the record is kept"
    report(args, data, text)
    return 0


def _forget(args: argparse.Namespace, shelf: Any) -> int:
    count = shelf.forget(args.name)
    report(args, {"name": args.name, "forgotten": count}, f"{count} records of revocations under {args.name} are gone")
    return 0


def verify(args: argparse.Namespace) -> int:
    """0 where the file is labelled and none of its labels is broken, else 1."""
    from avatar.models import registry
    from avatar.trust.detector import FILE, Detector
    from avatar.trust.verify import verify

    weights = registry.weights_dir() / FILE
    found = verify(args.file, Detector(weights) if weights.is_file() else None)
    report(args, found.to_json(), "\n".join(found.lines()))
    return 0 if found.labelled and not found.broken else 1


def pipeline(args: argparse.Namespace) -> int:
    """A person's video to a labelled clip of their avatar."""
    from avatar.commands.draw import offline_config
    from avatar.errors import MediaError
    from avatar.guided import guided
    from avatar.portrait.consent import ConsentRecord
    from avatar.render import Input

    if not args.source.is_file():
        raise MediaError(f"{args.source}: there is no such file")
    if args.audio is not None and args.text is not None:
        raise UsageError("give one of --audio, --text")
    record = ConsentRecord.given(args.consent, args.consent_by, args.consent_for, args.consent_until)
    drive = Input(audio=args.audio, text=args.text)
    said: dict[str, str] = {}

    def say(step: str, line: str) -> None:
        said[step] = line
        if not args.json:
            print(line, flush=True)

    config = offline_config(args)
    made = guided(config, args.source, args.name, record, drive, args.output, args.overwrite, say)
    data = {"file": str(args.output), "frames": made.frames, "session": made.origin.name, "steps": said}
    report(args, {**data, "signed": made.signed}, f"{args.output}: {made.frames} frames; avatar verify {args.output}")
    return 0
