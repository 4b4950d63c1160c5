"""How a program that runs until it is told to end hears of it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable

ENDS = (signal.SIGINT, signal.SIGTERM)


def on_signal(call: Callable[[], object], *signals: signal.Signals) -> None:
    """Call ``call`` on the running event loop when one of ``signals`` comes; without any named, when the program is to
    end (Ctrl-C, SIGTERM)."""
    loop = asyncio.get_running_loop()
    # Event loops of Windows take no signal handlers; Ctrl-C is a KeyboardInterrupt there, which ends the program too.
    with contextlib.suppress(NotImplementedError):
        for number in signals or ENDS:
            loop.add_signal_handler(number, call)
