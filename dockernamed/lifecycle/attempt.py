"""What is known of one start of a server, from the pre-spawn hook to its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..desired.private import PrivateFile
from ..desired.resolved import ResolvedSettings


@dataclass(eq=False)
class StartAttempt:
    """One start. What it found stays until the next one begins.

    Attributes:
        settings: final once they are resolved; None before.
        image: ``GET /images/{name}/json``; empty where the Engine is left to find the image.
        certificates: to put into the container before it runs: absolute path there → content.
        under_way: ``start()`` runs: the server is neither up nor down.
        container_kept: its container died, and is kept on purpose.
    """

    settings: ResolvedSettings | None = None
    image: Mapping[str, Any] = field(default_factory=dict)
    certificates: Mapping[str, bytes] = field(default_factory=dict)
    under_way: bool = False
    container_kept: bool = False

    @property
    def files(self) -> dict[str, PrivateFile]:
        """All files to put there."""
        secret = self.settings.secrets.files if self.settings else {}
        # Readable for every user of the container: a server may change its own before it runs.
        certificates = {
            path: PrivateFile(content, 0o444) for path, content in self.certificates.items()
        }
        return {**secret, **certificates}

    @property
    def command_line(self) -> tuple[str, ...]:
        """What the container runs: ENTRYPOINT and CMD in one; empty as long as nobody knows.

        Also where ``extra_create_kwargs`` says what it runs: messages have no values of that.
        """
        settings = self.settings
        if settings is None or settings.config.keys() & {"Entrypoint", "Cmd"}:
            return ()
        return settings.command_line(self.image)
