"""Everything that touches a device or a socket: sources, sinks, signalling, the page."""

if __name__ != "avatar.streams":  # a second import name would make every class exist twice
    raise ImportError(f"import avatar.streams, not {__name__}")
