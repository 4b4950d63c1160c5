"""Keeping things running: restarts for faults that pass, one clear end for those that do not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from avatar.core.clock import Clock
from avatar.core.types import SECOND, Ns
from avatar.errors import DeviceError

log = logging.getLogger(__name__)


async def supervise(
    name: str,
    work: Callable[[], Awaitable[None]],
    clock: Clock,
    retry_after: float = 0.5,
    on_fault: Callable[[str], None] = lambda line: None,
) -> None:
    """Run ``work`` until it returns. A DeviceError (unplugged, busy) is logged once per run of failures and tried again
    every ``retry_after`` seconds for as long as the session lives, since a device may come back at any time. Every
    other error ends the pipeline: it is raised.
    """
    last = ""
    while True:
        try:
            await work()
            return
        except DeviceError as error:
            if str(error) != last:
                last = str(error)
                log.warning("%s: %s (trying again every %g s)", name, error, retry_after)
                on_fault(last)
            await clock.sleep_until(Ns(clock.now() + round(retry_after * SECOND)))


async def cancel_and_wait(*tasks: asyncio.Task[object] | None) -> None:
    """Cancel tasks and wait for their end; their errors have been reported by whoever owned them."""
    live = [t for t in tasks if t is not None and not t.done()]
    for task in live:
        task.cancel()
    await asyncio.gather(*live, return_exceptions=True)
