"""Waiting for so long and no longer, being cancelled meanwhile, and trying again."""

from __future__ import annotations

import asyncio

import pytest

from dockernamed.timeouts import before_raising, during, retry, within


async def test_in_time() -> None:
    """What the work returns or raises comes through."""
    assert await within(30, asyncio.sleep(0, "done")) == "done"
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    failed.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await within(30, failed)


async def test_too_late() -> None:
    """The work is cancelled, and over when that is told."""
    work = asyncio.ensure_future(asyncio.Event().wait())
    with pytest.raises(asyncio.TimeoutError):
        await within(0.001, work)
    assert work.cancelled()


async def test_done_at_the_last_moment() -> None:
    """Work that a cancel can't stop any more is not lost."""

    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "done all the same"
        return ""

    assert await within(0.001, stubborn()) == "done all the same"


@pytest.mark.parametrize("result", ["done", ValueError("no")])
async def test_cancelled_just_when_the_work_is_done(result: object) -> None:
    """The cancel comes through: it is not swallowed in favour of the result, nor of an error."""
    work: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(within(30, work))
    await asyncio.sleep(0)
    if isinstance(result, Exception):
        work.set_exception(result)
    else:
        work.set_result(result)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_cancelled_before() -> None:
    """The work is cancelled too; an error that it ends with then is nobody's business."""

    async def fail() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("while it was cancelled") from None

    work = asyncio.ensure_future(fail())
    waiting = asyncio.ensure_future(within(30, work))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait({work})
    assert work.done()


async def test_during_its_time() -> None:
    """Work that is done while the other task goes on leaves that alone; its errors come through."""
    other: asyncio.Task[None] = asyncio.ensure_future(forever())
    await during(other, asyncio.sleep(0))
    with pytest.raises(ValueError, match="no"):
        await during(other, fails())
    assert not other.done()
    other.cancel()


async def test_during_something_that_ends() -> None:
    """The work is cancelled, and what the other task raised comes through."""
    work = asyncio.ensure_future(forever())

    async def working() -> None:
        await work

    with pytest.raises(ValueError, match="no"):
        await during(asyncio.ensure_future(fails()), working())
    assert work.cancelled()


async def forever() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise ValueError("no")


class Failing:
    """Work that fails so many times with a ValueError, then is done."""

    def __init__(self, times: int) -> None:
        self.times, self.tries = times, 0

    async def __call__(self) -> str:
        self.tries += 1
        if self.tries <= self.times:
            raise ValueError(self.tries)
        return "done"


async def test_tried_again() -> None:
    """What fails in a way that may pass is done again after each pause, and then it has failed."""
    work = Failing(2)
    assert await retry(work, (0, 0), on=ValueError) == "done"
    assert work.tries == 3
    work = Failing(3)
    with pytest.raises(ValueError, match="3"):
        await retry(work, (0, 0), on=ValueError)
    assert work.tries == 3


async def test_not_tried_again() -> None:
    """Any other failure is raised at once, and so is what the waiting raises."""
    work = Failing(1)
    with pytest.raises(ValueError, match="1"):
        await retry(work, (0, 0), on=KeyError)
    waited: list[tuple[str, float]] = []

    async def give_up(error: ValueError, pause: float) -> None:
        waited.append((str(error), pause))
        if pause > 1:
            raise KeyError(pause)

    work = Failing(9)
    with pytest.raises(KeyError, match="5"):
        await retry(work, (0, 5, 7), on=ValueError, wait=give_up)
    assert waited == [("1", 0), ("2", 5)]


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_moment_before_a_failure_is_told(cancelled: bool) -> None:
    """It is told soon, also where a cancel comes meanwhile; what takes it back goes on."""
    undo = asyncio.ensure_future(asyncio.Event().wait())
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    failed.set_exception(ValueError("no"))

    async def fail() -> None:
        try:
            await failed
        except ValueError:
            await before_raising(undo, 30 if cancelled else 0.001)
            raise

    failing = asyncio.ensure_future(fail())
    await asyncio.sleep(0)
    if cancelled:
        failing.cancel()
    with pytest.raises(ValueError, match="no"):
        await within(30, failing)
    assert not undo.done()
    undo.cancel()


async def test_no_longer_than_needed_before_a_failure_is_told() -> None:
    """What is taken back already is not waited for; how that ended is not told in its place."""
    undo: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def take_back() -> None:
        await undo

    task = asyncio.ensure_future(take_back())
    undo.set_exception(OSError("away"))
    await within(30, before_raising(task, 60))
    assert isinstance(task.exception(), OSError)
