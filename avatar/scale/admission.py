"""How many sessions a machine takes: places, and the cores that they cost as measured.

Nothing here waits for anything: a place is taken in one step, so two hundred offers at once find as many places as
there are. A further session makes all of them be drawn more cheaply before it makes anybody's picture late.
"""

from __future__ import annotations

from avatar.errors import RunError

SHARE = 0.85
"""Part of the cores that sessions may take: the rest is for bursts, the door and the system."""
WEIGHT = 0.1
"""Of a new measurement of what a live session costs."""
ROOM_S, LONGEST_S, SPARE = 20.0, 600.0, 0.9
"""A better tier comes back after so many seconds in which this part of the cores would have been enough for it; after
twice as many, up to the second, with each time that pictures were late all the same."""
TRUST = 3.0
"""What live sessions cost may lead away from the first measurement by this factor, up or down."""


class Admission:
    """Who gets a place, and how well each may be drawn so that there is one for all of them.

    :param places: sessions at the same time, at most. :param cores: that all sessions may use together.
    :param costs: cores that one session takes in each way to draw (tier), as measured at the start, best first.
    """

    def __init__(self, places: int, cores: float, *costs: float) -> None:
        if places < 1 or cores <= 0 or not costs or min(costs) <= 0:
            raise ValueError(f"{places} places, {cores} cores, {costs} a session: all of them more than 0")
        self.places, self.cores = places, cores
        self.open = True
        """False: it is ending, nobody is taken any more."""
        self.refused = 0
        self.tier = 0
        """The way in which all sessions are drawn; 0 = the best."""
        self._first = costs
        self._live = 1.0
        """What live sessions take over what was measured at the start."""
        self._holders: set[str] = set()
        self._room_since: float | None = None
        self._patience = ROOM_S

    @property
    def cost(self) -> float:
        """Cores that one session takes now."""
        return self._first[self.tier] * self._live

    @property
    def limit(self) -> int:
        """Sessions that may be there at the same time; one at least, however slow the machine is."""
        return max(1, min(self.places, self._carried(len(self._first) - 1)))

    @property
    def taken(self) -> int:
        return len(self._holders)

    @property
    def has_room(self) -> bool:
        return self.open and self.taken < self.limit

    def reserve(self, holder: str) -> None:
        """Take a place; where there would be too few otherwise, the tier goes down. Raises RunError where there is
        none; call it before anything is awaited."""
        if not self.has_room:
            self.refused += 1
            why = f"{self.taken} sessions are all that it carries" if self.open else "it is ending"
            raise RunError(f"no session can be taken now ({why}); try again later")
        self._holders.add(holder)
        self._room_since = None
        self.tier = max(self.tier, self._best(self.taken))

    def release(self, holder: str) -> None:
        """Give a place back. Safe to call twice."""
        self._holders.discard(holder)

    def settle(self, now: float) -> int:
        """The tier from now on; ``now`` is any clock in seconds. Down at once where sessions have turned out to take
        more than there is, up one at a time after :data:`ROOM_S` in which the better one would have had :data:`SPARE`
        to spare."""
        self.tier = max(self.tier, self._best(self.taken))
        if self.tier and self.taken <= self._carried(self.tier - 1, SPARE):
            self._room_since = now if self._room_since is None else self._room_since
            if now - self._room_since >= self._patience:
                self.tier, self._room_since = self.tier - 1, None
        else:
            self._room_since = None
        return self.tier

    def overrun(self) -> None:
        """Pictures are late although there ought to be room for all: a session takes more than was measured, or the
        machine has less to give. The tier goes down, where there is a cheaper one."""
        self._room_since = None
        if self.tier < len(self._first) - 1:
            self.tier += 1
            self._patience = min(2 * self._patience, LONGEST_S)

    def learn(self, cores: float) -> None:
        """A session that is watched takes so many cores, as measured just now."""
        live = self._live + WEIGHT * (cores / self._first[self.tier] - self._live)
        self._live = min(max(live, 1 / TRUST), TRUST)

    def _best(self, count: int) -> int:
        """The best tier in which there is room for so many."""
        return next((k for k in range(len(self._first)) if count <= self._carried(k)), len(self._first) - 1)

    def _carried(self, tier: int, part: float = 1.0) -> int:
        """How many sessions of a tier ``part`` of the cores that are given out carries."""
        return int(part * self.cores * SHARE / (self._first[tier] * self._live) + 1e-9)
