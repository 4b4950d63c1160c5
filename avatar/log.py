"""Logging for the command: one line each, on standard error."""

from __future__ import annotations

import logging


class _Discreet(logging.Formatter):
    """Writes "***" for what must not be read in a log."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        for secret in _secrets:
            text = text.replace(secret, "***")
        return text


_secrets: set[str] = set()


def hide(*secrets: str) -> None:
    """Keep these out of every line from now on: tokens, passwords, keys. Empty ones are none."""
    _secrets.update(secret for secret in secrets if secret)


def set_up(verbose: int = 0) -> None:
    """Warnings by default; once -v for what happens, twice for everything of ours."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    handler = logging.StreamHandler()
    handler.setFormatter(_Discreet("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("avatar").setLevel(level)
    for noisy in ("aioice", "aiortc", "aiohttp.access", "libav"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
