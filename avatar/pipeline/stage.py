"""The contract of everything that computes.

A stage is a synchronous object without I/O: it reads no clock, sleeps nowhere, knows no event loop. Its time is the
``pts`` of what it is given, so it runs the same live, offline and in a test, and the same input gives the same output.
"""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)


@runtime_checkable
class Stage(Protocol[In, Out]):
    """One step of the pipeline."""

    def step(self, item: In, /) -> Out | None:
        """Take one item, return one, or None while there is nothing to say yet. Items come in order of ``pts``."""
        ...

    def reset(self) -> None:
        """Forget everything heard so far, as after a discontinuity. Models stay loaded."""
        ...
