"""The wiring of programs that drive the face: sources of commands to the synchronizer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from avatar.config import InputTable
from avatar.core.clock import Clock
from avatar.core.program import Command
from avatar.pipeline.runner import supervise
from avatar.streams.base import Source
from avatar.streams.sources.program import sources


def listeners(config: InputTable) -> list[Source[Command]]:
    """What the configuration asks for; none by default."""
    return sources({"program": config.program_port, "osc": config.osc_port})


async def pump(source: Source[Command], clock: Clock, put: Callable[[Command], None]) -> None:
    """Hand on what comes until cancelled. Raises what ends it for good."""

    async def run() -> None:
        await source.open(clock)
        try:
            async for command in source.items():
                put(command)
        finally:
            await source.close()

    await supervise(source.name, run, clock, on_fault=lambda line: None)


async def beside(
    session: Coroutine[Any, Any, None], config: InputTable, clock: Clock, put: Callable[[Command], None]
) -> None:
    """Run a session, and the inputs that the configuration asks for as long as it runs."""
    async with asyncio.TaskGroup() as group:
        told = [group.create_task(pump(source, clock, put)) for source in listeners(config)]
        try:
            await session
        finally:
            for task in told:
                task.cancel()
