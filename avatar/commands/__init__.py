"""What each command of :mod:`avatar.cli` does: parsed arguments in, exit code out; raises AvatarError with one line."""
