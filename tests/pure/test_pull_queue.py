"""Whose pull is next: nobody's many keep another one's waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hypothesis import given
from hypothesis import strategies as st

from dockernamed.images.pull_queue import NOBODY, PullLimits, PullQueue, Ticket


class Pull:
    """A pull that goes on until it is told to end."""

    def __init__(self, queue: PullQueue, *users: str) -> None:
        self.queue, self.ticket, self.end = queue, Ticket(), asyncio.Event()
        self.running = False
        self.task = asyncio.ensure_future(self._run())
        for user in users:
            queue.join(self.ticket, user)

    async def _run(self) -> None:
        async with self.queue.slot(self.ticket):
            self.running = True
            await self.end.wait()
        self.running = False

    async def finish(self) -> None:
        """End it, as it goes or by force where it has not begun."""
        if not self.running:
            self.task.cancel()
        self.end.set()
        await asyncio.wait({self.task})
        await settle()


async def settle() -> None:
    """Let all tasks come as far as they can."""
    for _ in range(5):
        await asyncio.sleep(0)


@asynccontextmanager
async def pulls(limits: PullLimits, *users: str) -> AsyncIterator[list[Pull]]:
    """Pulls of some users, begun in this order; ended with the block."""
    queue = PullQueue(limits)
    made = [Pull(queue, user) for user in users]
    await settle()
    try:
        yield made
    finally:
        for one in made:
            await one.finish()


def which(made: list[Pull]) -> list[int]:
    """The numbers of those that run."""
    return [number for number, one in enumerate(made) if one.running]


async def test_many_of_one_user_leave_room_for_others() -> None:
    """Sixteen of one user: a few run, and the next user's runs at once."""
    async with pulls(PullLimits(16, 2), *["ann"] * 16, "bob") as made:
        assert which(made) == [0, 1, 16]
        await made[0].finish()
        assert which(made) == [1, 2, 16]


async def test_who_has_fewest_is_next() -> None:
    """Whenever a slot is free, whoever came first."""
    async with pulls(PullLimits(2, 2), "ann", "ann", "ann", "bob") as made:
        assert which(made) == [0, 1]
        await made[0].finish()
        assert which(made) == [1, 3]


async def test_a_prepull_yields() -> None:
    """Also one that has waited longer; while nobody else waits it goes on."""
    async with pulls(PullLimits(1, 1), NOBODY, NOBODY, "ann") as made:
        assert which(made) == [0]
        await made[0].finish()
        assert which(made) == [2]
        await made[2].finish()
        assert which(made) == [1]


async def test_who_joins_brings_their_own_room() -> None:
    """A pull that waits since its user has many goes on when another user wants it as well."""
    async with pulls(PullLimits(4, 1), "ann", "ann") as made:
        assert which(made) == [0]
        made[0].queue.join(made[1].ticket, "bob")
        await settle()
        assert which(made) == [0, 1]
        assert made[1].ticket.counts_for == "bob"


async def test_it_counts_for_those_who_stay() -> None:
    """Whoever began it and went has room for another one."""
    async with pulls(PullLimits(4, 1), "ann", "ann") as made:
        queue = made[0].queue
        queue.join(made[0].ticket, "bob")
        assert (made[0].ticket.counts_for, which(made)) == ("ann", [0])
        queue.leave(made[0].ticket, "ann")
        await settle()
        assert (made[0].ticket.counts_for, which(made)) == ("bob", [0, 1])


async def test_whether_it_waits() -> None:
    """What is told to the one who waits."""
    async with pulls(PullLimits(4, 1), "ann", "ann") as made:
        assert [one.queue.waits(one.ticket) for one in made] == [False, True]


@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from(["ann", "bob", NOBODY]), st.integers(0, 9)), max_size=14),
)
async def test_slots_are_kept_and_used(
    at_once: int, per_user: int, happened: list[tuple[str, int]]
) -> None:
    """Never more than the limits; and no slot is free that somebody with room waits for."""
    queue = PullQueue(PullLimits(at_once, per_user))
    made: list[tuple[str, Pull]] = []
    for user, number in happened:
        if number > 6 and made:
            _, one = made.pop(number % len(made))
            await one.finish()
        else:
            made.append((user, Pull(queue, user)))
            await settle()
        running = [user for user, one in made if one.running]
        waiting = [user for user, one in made if not one.running]
        assert len(running) <= at_once
        assert all(running.count(user) <= per_user for user in ("ann", "bob"))
        if len(running) < at_once:
            assert all(user and running.count(user) == per_user for user in waiting)
    for _, one in made:
        await one.finish()
