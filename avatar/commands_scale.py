"""`avatar run` with workers, and `avatar render --batch`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable

from avatar.config import Config
from avatar.ending import on_signal
from avatar.errors import UsageError


def serve(config: Config) -> int:
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


def batch(args: argparse.Namespace, config: Config, progress: Callable[[int, int], None]) -> int:
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
