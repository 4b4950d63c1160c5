"""What the servers have in common."""

from __future__ import annotations

import errno

from avatar.errors import PortInUseError, RunError


def port_error(error: OSError, host: str, port: int, setting: str) -> RunError:
    """The one line for an address that cannot be listened on; ``setting`` is the configuration key that chooses it."""
    # asyncio wraps the number; Windows has its own
    if error.errno in (errno.EADDRINUSE, getattr(errno, "WSAEADDRINUSE", 10048)):
        return PortInUseError(f"port {port} is in use by another program; stop it, or set {setting} to another")
    if error.errno in (errno.EACCES, getattr(errno, "WSAEACCES", 10013)):
        return PortInUseError(f"port {port} may not be used by this user; set {setting} to one above 1023")
    return PortInUseError(f"cannot listen on {host}:{port} ({error.strerror}); check {setting} and the host")
