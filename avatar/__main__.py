"""``python -m avatar`` is the command ``avatar``."""

from avatar.cli import main

if __name__ == "__main__":
    main()
