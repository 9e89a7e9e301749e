"""Waiting for so long and no longer, and being cancelled meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from dockernamed.timeouts import during, within


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
