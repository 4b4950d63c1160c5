"""The sessions behind a front door: each in a worker, admitted by what it costs, started again where its worker dies,
ended where nobody is there."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from avatar.config import Config
from avatar.errors import AvatarError, RunError, UsageError
from avatar.scale.admission import Admission
from avatar.scale.shedding import LADDER
from avatar.scale.workers import Worker, Workers

log = logging.getLogger(__name__)

Json = dict[str, Any]

RESTARTS, WITHIN_S = 3, 60.0
"""A session's worker is started again so often in this time; then the session ends."""
SETTLED_S = 15.0
"""After a change of the tier sessions have so long to take back what they gave up, before the tier is to blame."""
END_S = 5.0
"""Seconds that a worker has to close its connections in order."""
VOICES = ("demo", "page", "silence")
CHOICES = frozenset(("avatar", "source", "voice", "emotion"))


class State(Enum):
    STARTING = "starting"
    LIVE = "live"
    RESTARTING = "restarting"
    ENDED = "ended"


def turn(number: int) -> float:
    """When between two pictures the session of this number draws, 0 to 1: halves, then quarters, then eighths (van der
    Corput), so that however many there are, they come one after the other. At once they would wait for each other's
    cores, each of them every time."""
    bits = f"{number:b}"[::-1]
    return int(bits, 2) / (1 << len(bits))


@dataclass(eq=False, slots=True)
class Session:
    """One session. Its id is the only thing that leads to it."""

    id: str
    config: Json
    token: str
    state: State = State.STARTING
    address: str = ""
    """Of its worker's door, for the front door alone."""
    worker: Worker | None = None
    beat: Json = field(default_factory=dict)
    number: int = 0
    """The least that no other session has."""
    used: float = 0.0
    """When somebody was last connected, in seconds of the monotonic clock."""
    restarts: deque[float] = field(default_factory=deque)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its worker has gone; another one comes with another event."""
    why: str = ""
    """It has ended, because."""
    keeper: asyncio.Task[None] | None = None
    quality: str = ""
    """How it is drawn."""

    @property
    def live(self) -> bool:
        return self.state is State.LIVE

    @property
    def status(self) -> str:
        return self.state.value

    @property
    def short(self) -> str:
        """For logs: whoever reads them must not be able to watch."""
        return self.id[:4] + "…"


class Sessions:
    """All sessions of this program.

    :param config: what every session begins with; ``server`` says how many there may be.
    :param workers: where they run.
    """

    def __init__(self, config: Config, workers: Workers, seconds: Callable[[], float] = time.monotonic) -> None:
        self._config, self._workers, self._seconds = config, workers, seconds
        self._sessions: dict[str, Session] = {}
        self._reaper: asyncio.Task[None] | None = None
        self.admission = Admission(1, 1.0, 1.0)
        self.counters = {"started": 0, "reaped": 0, "deaths": 0, "restarts": 0, "abandoned": 0, "tier_changes": 0}
        self.costs: list[Json] = []
        """Of a session in each way to draw, best first (:class:`avatar.scale.cost.Cost`)."""
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Measure what a session costs, and be ready. Raises RunError."""
        server = self._config.server
        await self._workers.start()
        self.costs = await self._workers.measure(self._config.model_dump(mode="json"))
        cores = server.cores or self._workers.cores()
        self.admission = Admission(server.workers, cores, *(each["cores"] for each in self.costs))
        self._reaper = asyncio.create_task(self._reap())

    def __contains__(self, name: str) -> bool:
        return name in self._sessions

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, name: str) -> Session:
        """Raises KeyError where there is no such session."""
        return self._sessions[name]

    @property
    def has_room(self) -> bool:
        """Whether one more session would be taken."""
        return self.admission.has_room

    @property
    def tier(self) -> Json:
        """The way in which all sessions are drawn now, and what it costs."""
        return self.costs[self.admission.tier]

    @property
    def connected(self) -> int:
        """Pages and programs."""
        return sum(session.beat.get("peers", 0) for session in self._sessions.values())

    # --- beginning and ending ------------------------------------------------------------------------------------

    async def create(self, choice: Json) -> Session:
        """A new session, ready to be connected to. Raises UsageError for a choice that cannot be used, RunError where
        there is no place: it is taken before anything is awaited."""
        config = self._chosen(choice)
        session = Session(secrets.token_urlsafe(16), config, secrets.token_urlsafe(24), used=self._seconds())
        self.admission.reserve(session.id)
        taken = {other.number for other in self._sessions.values()}
        session.number = next(k for k in itertools.count() if k not in taken)
        self._sessions[session.id] = session
        session.config["server"]["token"] = session.token
        try:
            await self._draw_alike()  # before there is one more
            await self._begin(session, None)
        except BaseException as error:
            await self.end(session.id, str(error))
            raise
        self.counters["started"] += 1
        session.keeper = asyncio.create_task(self._keep(session))
        return session

    def _chosen(self, choice: Json) -> Json:
        if unknown := set(choice) - CHOICES:
            raise UsageError(f"unknown key {sorted(unknown)[0]!r}; there are: {', '.join(sorted(CHOICES))}")
        for key, value in choice.items():
            if not isinstance(value, str) or len(value) > 100:
                raise UsageError(f"{key}: a text of at most 100 characters")
        made = self._config.model_dump(mode="json")
        if "avatar" in choice:
            if "/" in choice["avatar"] or "\\" in choice["avatar"] or "." in choice["avatar"]:
                raise UsageError("avatar: the name of one, not a file")
            made["avatar"]["name"] = choice["avatar"]
        if choice.get("source", "demo") not in VOICES:
            raise UsageError(f"source: one of {', '.join(VOICES)}")
        for key, (table, name) in {
            "source": ("input", "audio"), "voice": ("input", "voice"), "emotion": ("face", "emotion")
        }.items():  # fmt: skip
            if key in choice:
                made[table][name] = choice[key]
        if made["face"]["calibration"] == "auto":
            made["face"]["calibration"] = "none"  # the head of whoever runs the program is not everybody's
        made["server"] |= {"port": 0, "host": "127.0.0.1", "workers": 0, "cluster": "", "origins": [], "enabled": True}
        try:
            Config.model_validate(made)
        except ValueError:
            raise UsageError(f"emotion {choice.get('emotion', '')!r} is not one of those that there are") from None
        return made

    async def _begin(self, session: Session, before: Worker | None) -> None:
        session.over = asyncio.Event()

        def on_beat(beat: Json) -> None:
            session.beat = beat
            if beat["peers"]:
                session.used = self._seconds()

        session.worker = await self._workers.take(on_beat, before)
        session.quality = session.config["avatar"]["quality"] = self.tier["quality"]
        said = await session.worker.begin(session.config, turn(session.number))
        if session.state is State.ENDED:  # while it was being started
            await session.worker.end(0.0)
            raise RunError(session.why)
        session.address, session.state, session.used = said["address"], State.LIVE, self._seconds()

    async def end(self, name: str, why: str) -> bool:
        """End a session in order; False where there is none of that id."""
        session = self._sessions.pop(name, None)
        if session is None:
            return False
        session.state, session.why = State.ENDED, why
        keeper = session.keeper
        if keeper is not None and keeper is not asyncio.current_task():
            keeper.cancel()
        try:
            if session.worker is not None:
                await session.worker.end(END_S)
        finally:
            session.over.set()
            self.admission.release(name)
        return True

    async def _draw_alike(self) -> None:
        """Tell every live session to be drawn in the tier of now, one after the other: to change costs work too."""
        async with self._changing:
            for session in list(self._sessions.values()):
                if not session.live or session.worker is None or session.quality == self.tier["quality"]:
                    continue
                session.quality = self.tier["quality"]
                with contextlib.suppress(RunError):  # it has just died: it begins again in the tier of then
                    await session.worker.draw_at(session.quality)
                    self.counters["tier_changes"] += 1

    # --- looking after them ----------------------------------------------------------------------------------------

    async def _keep(self, session: Session) -> None:
        """Start the session's worker again when it dies, but not for ever."""
        while True:
            assert session.worker is not None
            why = await session.worker.gone()
            self.counters["deaths"] += 1
            session.state, session.beat = State.RESTARTING, {}
            session.over.set()
            now = self._seconds()
            while session.restarts and now - session.restarts[0] > WITHIN_S:
                session.restarts.popleft()
            name, session.why = session.worker.name, f"its {session.worker.name} {why or 'ended'}"
            if len(session.restarts) >= RESTARTS:
                self.counters["abandoned"] += 1
                log.error(
                    "session %s: its %s %s, for the %dth time in a minute; it has ended",
                    *(session.short, name, why or "ended", RESTARTS + 1),
                )
                await self.end(session.id, session.why)
                return
            session.restarts.append(now)
            log.warning("session %s: its %s %s; started again (%d of %d)", session.short, name, why or "ended",
                        len(session.restarts), RESTARTS)  # fmt: skip
            try:
                await self._begin(session, session.worker)
            except AvatarError as error:
                log.error("session %s cannot be started again: %s; it has ended", session.short, error)
                await self.end(session.id, str(error))
                return
            self.counters["restarts"] += 1

    async def _reap(self) -> None:
        """End what nobody uses, and learn what sessions really cost."""
        idle = self._config.server.idle_s
        changed, tier = self._seconds(), self.admission.tier
        while True:
            await asyncio.sleep(min(1.0, idle / 4))
            self.admission.cores = self._config.server.cores or self._workers.cores()
            for session in list(self._sessions.values()):
                if session.state is not State.LIVE:
                    continue
                if self._typical(session):
                    self.admission.learn(session.beat["cpu_cores"])
                if self._seconds() - session.used > idle:
                    self.counters["reaped"] += 1
                    log.info("session %s: nobody for %g s; it has ended", session.short, idle)
                    await self.end(session.id, f"nobody was connected for {idle:g} s")
            now = self._seconds()
            if now - changed >= SETTLED_S and any(session.beat.get("level") for session in self._sessions.values()):
                self.admission.overrun()
            before, tier = tier, self.admission.settle(now)
            changed = changed if tier == before else now
            await self._draw_alike()

    def _typical(self, session: Session) -> bool:
        """Whether what it takes now is what a session of this tier takes: watched, and all of its pictures drawn."""
        beat = session.beat
        return bool(
            beat.get("viewers") and not beat["level"] and beat["cpu_cores"]
            and beat["fps"] >= 0.9 * self._config.avatar.fps and session.quality == self.tier["quality"]
        )  # fmt: skip

    async def close(self, patience: float = 0.0) -> None:
        """Take nobody any more, let those who are connected go on for up to ``patience`` seconds, end everything."""
        self.admission.open = False
        end = self._seconds() + patience
        while self._seconds() < end and self.connected:  # noqa: ASYNC110 - workers tell it four times a second
            await asyncio.sleep(0.1)
        if self._reaper is not None:
            self._reaper.cancel()
        await asyncio.gather(*(self.end(name, "the program has ended") for name in list(self._sessions)))
        await self._workers.close()

    # --- telling -----------------------------------------------------------------------------------------------------

    def meters(self) -> Json:
        """Figures of all sessions together; no id of any."""
        beats = [session.beat for session in self._sessions.values() if session.beat]
        levels = [beat["level"] for beat in beats]
        return {
            "sessions": {
                "count": len(self._sessions),
                "limit": self.admission.limit,
                "places": self.admission.places,
                "refused": self.admission.refused,
                **self.counters,
            },
            "cost_cores": {"first": self.tier["cores"], "learnt": round(self.admission.cost, 4)},
            "tier": self.admission.tier,
            "cores": self.admission.cores,
            "peers": sum(beat["peers"] for beat in beats),
            "viewers": sum(beat["viewers"] for beat in beats),
            "fps_min": min((beat["fps"] for beat in beats if beat["viewers"]), default=0.0),
            "late_ms_max": max((beat["late_ms"] for beat in beats), default=0.0),
            "shed": sum(beat["shed"] for beat in beats),
            "given_up": {
                name.replace(" ", "_"): sum(level >= k for level in levels)
                for k, name in enumerate(LADDER) if k
            },
            "cpu_cores": round(sum(beat["cpu_cores"] for beat in beats), 3),
            "rss_mb": round(sum(beat["rss_mb"] for beat in beats), 1),
        }  # fmt: skip
