"""Logging for the command: one line each, on standard error."""

from __future__ import annotations

import logging


def set_up(verbose: int = 0) -> None:
    """Warnings by default; once -v for what happens, twice for everything of ours."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("avatar").setLevel(level)
    for noisy in ("aioice", "aiortc", "aiohttp.access", "libav"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
