"""Whose pull is next: some at once, and of one user never more than a few.

Guarantees, held by property tests:

- At most ``at_once`` pulls run, and at most ``per_user`` that count for one user.
- A pull that waits goes on as soon as there is a free slot and one of those who wait for it has
  fewer than ``per_user``; of several, the one whose user has fewest, and then the first to come.
- What nobody waits for (a prepull) goes on only when no user's pull could.

A pull counts for one of the users who wait for it, and for another one of them when that one goes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

#: Who is said to wait for a pull that no user waits for.
NOBODY = ""


@dataclass(frozen=True)
class PullLimits:
    """How many pulls may be under way.

    Attributes:
        at_once: of everybody.
        per_user: that count for one user.
    """

    at_once: int = 16
    per_user: int = 2


#: As the settings have them by default.
PULL_LIMITS = PullLimits()


@dataclass(eq=False)
class Ticket:
    """A pull that waits or is under way.

    Attributes:
        users: who waits for it, in the order in which they came; `NOBODY` for a prepull.
        counts_for: whose slot it has; None while it has none.
    """

    users: list[str] = field(default_factory=list)
    counts_for: str | None = None
    turn: asyncio.Event = field(default_factory=asyncio.Event)


class PullQueue:
    """The slots of one Engine; belongs to one event loop."""

    def __init__(self, limits: PullLimits) -> None:
        self._limits = limits
        self._waiting: list[Ticket] = []
        self._running: list[Ticket] = []

    @asynccontextmanager
    async def slot(self, ticket: Ticket) -> AsyncIterator[None]:
        """Wait for the turn of a pull, and have its slot until the block ends."""
        self._waiting.append(ticket)
        self._give()
        try:
            await ticket.turn.wait()
            yield
        finally:
            for where in (self._waiting, self._running):
                if ticket in where:
                    where.remove(ticket)
            self._give()

    def join(self, ticket: Ticket, user: str) -> None:
        """Somebody waits for a pull as well."""
        ticket.users.append(user)
        self._give()

    def leave(self, ticket: Ticket, user: str) -> None:
        """Somebody waits for it no longer."""
        ticket.users.remove(user)
        if ticket.counts_for is not None and ticket.counts_for not in ticket.users:
            ticket.counts_for = self._payer(ticket) if ticket.users else user
            self._give()

    def waits(self, ticket: Ticket) -> bool:
        """Whether a pull that was begun, or is about to begin, has to wait for its turn now."""
        if ticket in self._running:
            return False
        return len(self._running) >= self._limits.at_once or not self._may(ticket)

    def _give(self) -> None:
        while len(self._running) < self._limits.at_once:
            ready = [ticket for ticket in self._waiting if self._may(ticket)]
            if not ready:
                return
            # Stable: of equals the first.
            ticket = min(ready, key=self._rank)
            self._waiting.remove(ticket)
            self._running.append(ticket)
            ticket.counts_for = self._payer(ticket)
            ticket.turn.set()

    def _may(self, ticket: Ticket) -> bool:
        payer = self._payer(ticket)
        return payer == NOBODY or self._counts()[payer] < self._limits.per_user

    def _rank(self, ticket: Ticket) -> tuple[bool, int]:
        payer = self._payer(ticket)
        return payer == NOBODY, self._counts()[payer]

    def _payer(self, ticket: Ticket) -> str:
        """Who it counts for: the first user who has room, else the one with fewest."""
        counts = self._counts()
        users = [user for user in ticket.users if user != NOBODY]
        room = (user for user in users if counts[user] < self._limits.per_user)
        return next(room, min(users, key=counts.__getitem__, default=NOBODY))

    def _counts(self) -> Counter[str]:
        return Counter(one.counts_for for one in self._running if one.counts_for)
