"""That the start of a Hub is noticed, whichever way its configuration names the spawner."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from jupyterhub.app import JupyterHub

from dockernamed.hub import app as hub_start
from dockernamed.hub import handlers

SUBCLASS = """
from dockernamed.{module} import {name}
class Mine({name}):
    pass
c.JupyterHub.spawner_class = Mine
"""
OURS = [
    'c.JupyterHub.spawner_class = "dockernamed"',
    'c.JupyterHub.spawner_class = "dockernamed-swarm"',
    'c.JupyterHub.spawner_class = "dockernamed.DockerNamedSpawner"',
    'c.JupyterHub.spawner_class = "dockernamed.spawner.DockerNamedSpawner"',
    'c.JupyterHub.spawner_class = "dockernamed.swarm_spawner.DockerNamedSwarmSpawner"',
    SUBCLASS.format(module="spawner", name="DockerNamedSpawner"),
    SUBCLASS.format(module="swarm_spawner", name="DockerNamedSwarmSpawner"),
]


async def looked_after(
    monkeypatch: pytest.MonkeyPatch, folder: Path, config: str
) -> tuple[JupyterHub, list[Any]]:
    """A Hub that has read a configuration, and what is looked after for it."""
    found: list[Any] = []

    async def look_after(app: Any, ours: Any) -> None:
        found.append((app, ours.__name__))

    monkeypatch.setattr(hub_start, "_look_after", look_after)
    file = folder / "jupyterhub_config.py"
    file.write_text(config)
    app = JupyterHub()
    app.load_config_file(str(file))
    # As its start does, before anything that servers depend on.
    app.init_internal_ssl()
    await asyncio.gather(*hub_start._tasks)
    return app, found


@pytest.mark.parametrize("config", OURS)
async def test_a_hub_with_a_spawner_of_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, config: str
) -> None:
    """By an entry point, by the path of a class, or by a class of the admin's own: the Hub's
    settings and its Engine are looked after, once, and the Hub answers our requests.
    """
    app, found = await looked_after(monkeypatch, tmp_path, config)
    assert found == [(app, "DockerNamedSpawner")]
    assert app.extra_handlers == handlers.default_handlers


async def test_a_hub_with_another_spawner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is left as it is, though JupyterHub has loaded our classes as well."""
    app, found = await looked_after(
        monkeypatch, tmp_path, 'c.JupyterHub.spawner_class = "localprocess"'
    )
    assert (found, app.extra_handlers) == ([], [])
