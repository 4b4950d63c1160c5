"""What every writer of face states has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from avatar.core.types import FaceState
from avatar.errors import StorageError


class StateWriter(ABC):
    """Takes states in order of time and writes them to a file, which is complete after the ``with``.

    :param fps: states a second; formats without time stamps count them.

    Raises StorageError from any method.
    """

    def __init__(self, path: Path, fps: int) -> None:
        self.path, self.fps = path, fps
        self._file = self._made()

    def _made(self) -> BinaryIO:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return self.path.open("wb")
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(f"{self.path} cannot be written ({error.strerror or error}); choose another place")

    def put(self, data: bytes) -> None:
        """Append to the file."""
        try:
            self._file.write(data)
        except OSError as error:
            raise self._failed(error) from error

    @abstractmethod
    def write(self, state: FaceState) -> None:
        """Take the next state."""

    def finish(self) -> None:  # noqa: B027 - a format of lines has nothing to finish
        """Write what can only be written when all states are known."""

    def __enter__(self) -> Callable[[FaceState], None]:
        return self.write

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            try:
                self._file.close()
            except OSError as fault:
                raise self._failed(fault) from fault
