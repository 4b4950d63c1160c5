"""What the parameter sinks share. Each gets the state of every picture at that picture's present time, shapes it
(:class:`~avatar.streams.sinks.parameters.shaping.Shaper`) and hands it over without waiting.

* :class:`DatagramSink`: UDP to any number of receivers. The system's buffer is the only queue.
* :class:`LinkSink`: a connection that is made again whenever it breaks, with room for :data:`WAITING` states: a
  receiver that stalls for longer misses the oldest, counted in ``dropped``.

A receiver that is not there is no error: people start their programs in any order. One line says so, one more when
it has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import ClassVar

from avatar.core.types import AvatarFrame, FaceState
from avatar.errors import ConfigError, DeviceError
from avatar.streams.base import Sink, StreamFormat
from avatar.streams.sinks.parameters.shaping import Shape, Shaper

log = logging.getLogger(__name__)

Address = tuple[str, int]
BUFFER = 32 * 1024
"""Bytes that may wait on our side of a connection: some ten states, more than a late acknowledgement (40 ms) keeps."""
WAITING = 8
"""States that wait for a slow connection beyond that; then the oldest goes."""
RETRY_FIRST, RETRY_MOST = 1.0, 10.0
"""Seconds between attempts to connect: doubled each time, up to the second."""


class LinkError(Exception):
    """The other program does not do what its protocol says; the text is for the log. The link is made anew."""


class RefusedError(Exception):
    """The other program's user has said no; the text is for the log. It is not asked again."""


def parse_address(text: str, port: int, setting: str) -> Address:
    """``host``, ``host:port`` or ``[v6]:port``. Raises ConfigError that names ``setting``."""
    host, colon, number = text.strip().rpartition(":")
    if not colon or (host.count(":") and not host.startswith("[")):  # no port, or a bare IPv6 address
        host, number = text.strip(), str(port)
    host = host.strip("[]")
    if not host or not number.isdecimal() or not 0 < int(number) < 65536:
        raise ConfigError(f"{setting}: {text!r} is no address; write host:port, as 127.0.0.1:{port}")
    return host, int(number)


class StateSink(Sink):
    """Takes states. Sound and pixels are not looked at."""

    name: ClassVar[str]

    def __init__(self, shape: Shape = Shape()) -> None:  # noqa: B008 - immutable
        self._shape = shape
        self._shaper = Shaper(shape, 60)
        self.fps = 60
        """The session's pictures a second."""
        self.sent = 0
        """States handed over."""
        self.dropped = 0
        """States that a receiver missed because it was too slow or not there."""

    @property
    def hears(self) -> bool:
        return False

    async def open(self, form: StreamFormat) -> None:
        self._shaper = Shaper(self._shape, form.fps)
        self.fps = form.fps
        await self.start()

    async def video(self, frame: AvatarFrame) -> None:
        await self.state(frame.state)

    async def state(self, state: FaceState) -> None:
        """Take a state."""
        shaped = self._shaper.step(state)
        if shaped is not None:
            self.send(shaped)

    @abstractmethod
    async def start(self) -> None:
        """Get ready to send."""

    @abstractmethod
    def send(self, state: FaceState) -> None:
        """Hand a state over at once; never waits."""


class _Receiver:
    """One address that datagrams go to."""

    def __init__(self, sink: str, line: socket.socket, address: Address) -> None:
        self._line, self._where = line, f"{address[0]}:{address[1]}"
        self._sink = sink
        self._silent = False

    def send(self, datagrams: Sequence[bytes]) -> bool:
        """Whether the system took all of them and nobody has refused one."""
        fine = True
        for data in datagrams:
            fine &= self._one(data)
        if self._silent and fine:
            log.info("%s: %s is listening now", self._sink, self._where)
            self._silent = False
        return fine

    def _one(self, data: bytes) -> bool:
        try:
            self._line.send(data)
            return True
        except BlockingIOError:
            self._say("the system's buffer is full")
            return False
        except OSError as error:
            # An answer to an earlier datagram ("nobody listens there"): this one has not been sent yet.
            with contextlib.suppress(OSError):
                self._line.send(data)
            self._say(str(error.strerror or error).lower())
            return False

    def _say(self, reason: str) -> None:
        if not self._silent:
            log.warning("%s: nobody takes what is sent to %s (%s); it goes on", self._sink, self._where, reason)
            self._silent = True

    def close(self) -> None:
        self._line.close()


class DatagramSink(StateSink):
    """UDP.

    :param to: receivers, ``host:port``.
    :param port: where a port is not given.
    :param setting: the configuration key of ``to``, for the error.
    """

    def __init__(self, to: Sequence[str], shape: Shape, port: int, setting: str) -> None:
        super().__init__(shape)
        self.addresses = [parse_address(text, port, setting) for text in to]
        """Where it sends to."""
        self._setting = setting
        self._receivers: list[_Receiver] = []

    @abstractmethod
    def encode(self, state: FaceState) -> Sequence[bytes]:
        """The datagrams of a state, in order."""

    async def start(self) -> None:
        for address in self.addresses:
            self._receivers.append(_Receiver(self.name, await self._connected(address), address))

    async def _connected(self, address: Address) -> socket.socket:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(*address, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, where = found[0]
            line = socket.socket(family, kind, protocol)
            line.setblocking(False)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            line.connect(where)
        except OSError as error:
            raise DeviceError(
                f"{self.name}: {address[0]} cannot be reached ({error.strerror}); check {self._setting}"
            ) from error
        return line

    def send(self, state: FaceState) -> None:
        if not self._receivers:
            return
        datagrams = self.encode(state)
        self.sent += 1
        if not all([receiver.send(datagrams) for receiver in self._receivers]):
            self.dropped += 1

    async def close(self) -> None:
        receivers, self._receivers = self._receivers, []
        for receiver in receivers:
            receiver.close()


class LinkSink(StateSink):
    """A connection to one receiver."""

    faults: ClassVar[tuple[type[Exception], ...]] = (OSError, EOFError, LinkError)
    """What breaks a link; OSError has TimeoutError and ConnectionError in it."""

    def __init__(self, where: str, shape: Shape) -> None:
        super().__init__(shape)
        self.where = where
        """The other side, for people."""
        self.linked = False
        self._waiting: deque[FaceState] = deque(maxlen=WAITING)
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._told_slow = False

    @abstractmethod
    async def converse(self) -> None:
        """Connect, call :meth:`established`, and send what :meth:`take` gives until the link breaks (``faults``)."""

    async def start(self) -> None:
        self._task = asyncio.create_task(self._keep(), name=self.name)

    def established(self) -> None:
        """States are taken from now on."""
        self.linked = True
        self._waiting.clear()
        self._told_slow = False
        log.info("%s: connected to %s", self.name, self.where)

    def send(self, state: FaceState) -> None:
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()  # a mistake of ours ends the sink with its own error
        if not self.linked:
            return
        if len(self._waiting) == WAITING:
            self.dropped += 1
            if not self._told_slow:
                log.warning("%s: %s is slow; states are left out", self.name, self.where)
                self._told_slow = True
        self._waiting.append(state)
        self._wake.set()

    async def take(self, within: float | None = None) -> FaceState | None:
        """The next state; None where none comes ``within`` so many seconds."""
        if not self._waiting:
            self._wake.clear()
            try:
                async with asyncio.timeout(within):
                    await self._wake.wait()
            except TimeoutError:
                return None
        return self._waiting.popleft()

    async def _keep(self) -> None:
        pause, told = RETRY_FIRST, False
        while True:
            try:
                await self.converse()
                reason = "it has ended the connection"
            except RefusedError as error:
                log.warning("%s: %s", self.name, error)
                return
            except self.faults as error:
                reason = str(error) or type(error).__name__
            if self.linked:
                pause, told = RETRY_FIRST, False
            self.linked = False
            if not told:
                log.warning("%s: no connection to %s (%s); it is tried again", self.name, self.where, reason)
                told = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY_MOST)

    async def close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self.linked = False
