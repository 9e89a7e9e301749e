"""The floor: the least Spawner that works. What JupyterHub itself allows, and no feature at all."""

from __future__ import annotations

from typing import Any

from jupyterhub.spawner import Spawner
from jupyterhub.utils import url_path_join
from traitlets import Unicode

from .bare import PORT, BareEngine


class FloorSpawner(Spawner):  # type: ignore[misc]  # JupyterHub has no types
    """Create, start, inspect, wait for the first answer; stop, remove."""

    image = Unicode(config=True)
    prefix = Unicode("floor", config=True)
    container = ""
    _engine: BareEngine | None = None

    @classmethod
    def engine(cls) -> BareEngine:
        """One for all servers."""
        FloorSpawner._engine = FloorSpawner._engine or BareEngine()
        return FloorSpawner._engine

    async def start(self) -> str:
        """Return the server's URL once it answers."""
        self.ip, self.port = "0.0.0.0", PORT  # as seen in the container, for get_env
        env = {key: str(value) for key, value in self.get_env().items()}
        name = f"{self.prefix}-{self.user.name}--{self.name}"
        path = url_path_join(self.server.base_url, "api")
        self.container, port = await self.engine().start(name, self.image, env, path)
        return f"http://127.0.0.1:{port}"

    async def stop(self, now: bool = False) -> None:
        """Stop and remove."""
        await self.engine().stop(self.container)

    async def poll(self) -> int | None:
        """Ask the Engine."""
        if self.container and await self.engine().is_running(self.container):
            return None
        return 0

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a server."""
        super().load_state(state)
        self.container = state.get("container", "")

    def get_state(self) -> dict[str, Any]:
        """What the Hub keeps."""
        return {**super().get_state(), "container": self.container}

    def clear_state(self) -> None:
        """Forget the container."""
        super().clear_state()
        self.container = ""
