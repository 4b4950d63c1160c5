"""`avatar store`: what the store is, and moving it to another place."""

from __future__ import annotations

import argparse
import json

from avatar.config import load, secrets_of
from avatar.errors import UsageError
from avatar.log import hide
from avatar.store import shared
from avatar.store.moving import move


def store(args: argparse.Namespace) -> int:
    """Say what is in use, or move all of it to ``args.url``. Raises AvatarError."""
    config = load(args.config, args.set).config
    hide(*secrets_of(config))
    here = shared(config.store.url)
    if args.action == "show":
        if args.url:
            raise UsageError("avatar store show takes no address: --set store.url=... says which")
        print(json.dumps({"store": here.about()}) if args.json else here.about())
        return 0
    if not args.url:
        raise UsageError("say where to: avatar store move postgresql://HOST/DATABASE")
    aimed = load(args.config, [*args.set, f"store.url={json.dumps(args.url)}"]).config
    hide(*secrets_of(aimed))
    there = shared(args.url)
    moved = move(here, there)
    text = f"{moved.avatars} avatars, {moved.calibrations} calibrations and {moved.revocations} revocations are in"
    text += f" {there.where} now; set store.url to it in the configuration of every host"
    if moved.withheld:
        text += f"; {moved.withheld} avatars whose consent is revoked there are gone"
    print(json.dumps({"where": there.where, **moved.as_json()}) if args.json else text)
    return 0
