"""Configuration files that ship with the package."""

if __name__ != "avatar.configs":  # a second import name would make every class exist twice
    raise ImportError(f"import avatar.configs, not {__name__}")
