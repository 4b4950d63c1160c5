"""The engines that a judge is asked for: ``--engine E[,E...]`` or ``all``."""

from __future__ import annotations

from avatar import plugins
from avatar.errors import UsageError


def engine_names(text: str) -> list[str]:
    """The engines of ``E[,E...]`` or ``all``. Raises UsageError for an unknown one."""
    known = plugins.names("engines")
    names = known if text.strip() == "all" else list(dict.fromkeys(n for n in map(str.strip, text.split(",")) if n))
    for name in names:
        if name not in known:
            raise UsageError(f"no engine named {name!r}; there are: {', '.join(known)}, or all")
    if not names:
        raise UsageError(f"--engine: name at least one of: {', '.join(known)}, or all")
    return names
