"""Model definitions, training, evaluation and the shipped weights."""

if __name__ != "avatar.models":  # a second import name would make every class exist twice
    raise ImportError(f"import avatar.models, not {__name__}")
