"""The picture of the documentation: one shipped avatar, a line for each method.

Made again by ``python -m avatar.models.laboratory.sheet --out docs/images/laboratory.jpg``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from avatar.models.expression.gallery import cell, grid, save, state_of
from avatar.parts import find_avatar, make_engine

METHODS = ("map", "eri", "geometry", "coefficients", "statistical", "retrieve", "morph", "morph3d", "viewmorph",
           "transplant")  # fmt: skip
STATES = ("smile", "laugh", "angry", "surprised", "ou", "look aside")
_SIZE = 512


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="draw the laboratory's methods side by side")
    parser.add_argument("--out", type=Path, default=Path("docs/images/laboratory.jpg"))
    parser.add_argument("--avatar", default="iris")
    given = parser.parse_args()
    bundle, cells = find_avatar(given.avatar), []
    for name in METHODS:
        draw = make_engine(name, bundle, _SIZE).render
        cells += [cell(draw(state_of(state)), f"{name}: {state}") for state in STATES]
    save(given.out, grid(cells, len(STATES)))


if __name__ == "__main__":
    main()
