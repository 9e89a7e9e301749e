"""The journal of one start."""

from __future__ import annotations

import asyncio
from typing import Any

from dockernamed.desired.plan import Op
from dockernamed.lifecycle.progress import StartProgress


async def heard(journal: StartProgress) -> list[dict[str, Any]]:
    return [event async for event in journal.listen()]


async def test_every_listener_hears_everything() -> None:
    """Early, late and after the end: all listeners get all events, in order."""
    journal = StartProgress()
    early = asyncio.ensure_future(heard(journal))
    await asyncio.sleep(0)
    journal.tell(10, "a")
    late = asyncio.ensure_future(heard(journal))
    await asyncio.sleep(0)
    journal.tell(20, "b")
    journal.close()
    expected = [{"progress": 10, "message": "a"}, {"progress": 20, "message": "b"}]
    assert await early == await late == await heard(journal) == expected


async def test_progress_never_goes_down() -> None:
    """A late percent of a pull cannot pull the bar back."""
    journal = StartProgress()
    journal.tell(50, "a")
    journal.tell(20, "b")
    journal.close()
    assert [event["progress"] for event in await heard(journal)] == [50, 50]


async def test_steps_are_told_of_what_a_server_is() -> None:
    """A user of a Swarm reads of a service, not of a container."""
    journal = StartProgress()
    journal.step(Op.CREATE, "service")
    journal.step(Op.START, "container")
    journal.close()
    messages = [event["message"] for event in await heard(journal)]
    assert messages == ["Creating the service", "Starting the container"]


async def test_listeners_cannot_change_what_others_hear() -> None:
    """JupyterHub edits the events that it is given."""
    journal = StartProgress()
    journal.tell(1, "a")
    journal.close()
    async for event in journal.listen():
        event.clear()
    assert await heard(journal) == [{"progress": 1, "message": "a"}]
