"""How many sessions a machine takes: places, and the cores that they cost as measured.

Nothing here waits for anything: a place is taken in one step, so two hundred offers at once find as many places as
there are.
"""

from __future__ import annotations

from avatar.errors import RunError

SHARE = 0.85
"""Part of the cores that sessions may take: the rest is for bursts, the door and the system."""
WEIGHT = 0.1
"""Of a new measurement of what a live session costs."""
TRUST = 3.0
"""What live sessions cost may lead away from the first measurement by this factor, up or down."""


class Admission:
    """Who gets a place.

    :param places: sessions at the same time, at most. :param cores: that all sessions may use together.
    :param cost: cores that one session takes, as measured at the start.
    """

    def __init__(self, places: int, cores: float, cost: float) -> None:
        if places < 1 or cores <= 0 or cost <= 0:
            raise ValueError(f"{places} places, {cores} cores, {cost} a session: all of them more than 0")
        self.places, self.cores, self.cost = places, cores, cost
        self.open = True
        """False: it is ending, nobody is taken any more."""
        self.refused = 0
        self._first = cost
        self._holders: set[str] = set()

    @property
    def limit(self) -> int:
        """Sessions that may be there at the same time; one at least, however slow the machine is."""
        return max(1, min(self.places, int(self.cores * SHARE / self.cost + 1e-9)))

    @property
    def taken(self) -> int:
        return len(self._holders)

    @property
    def has_room(self) -> bool:
        return self.open and self.taken < self.limit

    def reserve(self, holder: str) -> None:
        """Take a place. Raises RunError where there is none; call it before anything is awaited."""
        if not self.has_room:
            self.refused += 1
            why = f"{self.taken} sessions are all that it carries" if self.open else "it is ending"
            raise RunError(f"no session can be taken now ({why}); try again later")
        self._holders.add(holder)

    def release(self, holder: str) -> None:
        """Give a place back. Safe to call twice."""
        self._holders.discard(holder)

    def learn(self, cores: float) -> None:
        """A session that is watched takes so many cores, as measured just now."""
        cost = self.cost + WEIGHT * (cores - self.cost)
        self.cost = min(max(cost, self._first / TRUST), self._first * TRUST)
