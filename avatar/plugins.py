"""Engines, sources and sinks of other packages, by entry point.

A package adds one with, say,

    [project.entry-points."avatar.engines"]
    mine = "my_package.engine:MyEngine"

Groups: ``avatar.engines`` (:class:`avatar.engines.base.Engine`), ``avatar.sources`` (``Source``) and ``avatar.sinks``
(``Sink`` of :mod:`avatar.streams.base`); sources and sinks are called with the keyword arguments of their config table.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal

from avatar.errors import UsageError

Group = Literal["engines", "sources", "sinks"]


@cache  # reading every installed package's metadata takes milliseconds
def names(group: Group) -> list[str]:
    """What is installed, sorted."""
    return sorted({point.name for point in entry_points(group=f"avatar.{group}")})


def load(group: Group, name: str) -> Any:
    """The class behind a name. Raises UsageError with the known names."""
    for point in entry_points(group=f"avatar.{group}", name=name):
        try:
            return point.load()
        except ImportError as error:
            raise UsageError(f"{group[:-1]} {name}: cannot be imported ({error}); reinstall its package") from error
    raise UsageError(f"no {group[:-1]} named {name!r}; there are: {', '.join(names(group)) or 'none'}")
