"""`avatar run`: one live engine, or a front door with sessions behind it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys

from avatar.config import Config, load, secrets_of
from avatar.ending import on_signal
from avatar.errors import AvatarError, UsageError
from avatar.log import hide
from avatar.memory import few_arenas


def run(args: argparse.Namespace) -> int:
    few_arenas()
    settings = [*args.set, *([f"server.cluster={json.dumps(args.cluster)}"] if args.cluster else [])]
    config = load(args.config, settings).config
    hide(*secrets_of(config))
    if config.server.cluster and not config.server.workers:
        raise UsageError("a cluster runs sessions: say how many at most, --set server.workers=N")
    if config.server.workers:
        return _serve(config)

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


def _serve(config: Config) -> int:
    """The front door until SIGTERM or Ctrl-C; a second one does not wait for those who are connected."""

    async def live() -> int:
        from avatar.scale.serve import Service

        stop, now = asyncio.Event(), asyncio.Event()

        def asked() -> None:
            (now if stop.is_set() else stop).set()

        on_signal(asked)
        service = Service(config)
        print("Measuring what a session costs here ... (the first start compiles the engine)", file=sys.stderr)
        address = await service.start()
        print(f"Quality {service}", file=sys.stderr)
        print(f"Vultus is live: {address}", flush=True)
        await stop.wait()
        print(f"Ending; who is connected has up to {config.server.drain_s:g} s", file=sys.stderr)
        draining = asyncio.create_task(service.stop(config.server.drain_s))
        hurry = asyncio.create_task(now.wait())
        await asyncio.wait({draining, hurry}, return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            draining.cancel()
            await asyncio.wait({draining})
            await service.stop(0.0)
        hurry.cancel()
        return 0

    code = asyncio.run(live())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
