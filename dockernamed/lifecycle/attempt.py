"""What is known of one start of a server, from the pre-spawn hook to its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..desired.resolved import ResolvedSettings


@dataclass(eq=False)
class StartAttempt:
    """One start. What it found stays until the next one begins.

    Attributes:
        settings: final once they are resolved; None before.
        image: ``GET /images/{name}/json``; empty where the Engine is left to find the image.
        files: to put into the container before it runs: absolute path there → content.
        under_way: ``start()`` runs: the server is neither up nor down.
        container_kept: its container died, and is kept on purpose.
    """

    settings: ResolvedSettings | None = None
    image: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    under_way: bool = False
    container_kept: bool = False

    @property
    def command_line(self) -> tuple[str, ...]:
        """What the container runs: ENTRYPOINT and CMD in one; empty as long as nobody knows."""
        return self.settings.command_line(self.image) if self.settings else ()
