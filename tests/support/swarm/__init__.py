"""A Swarm on one machine, for tests and benchmarks: each node is a dockerd in its own namespaces.

    with Swarm(nodes=3, managers=1, images=[BUSYBOX, LAB]) as swarm:
        swarm.manager.url       # for DOCKER_HOST
        swarm.manager.client    # its Docker SDK client
        swarm["n2"].kill()      # and .start(), .partition(), .heal(), …

Needs root.
"""

from support.swarm.node import Node
from support.swarm.swarm import Swarm, alive, fallen

__all__ = ["Node", "Swarm", "alive", "fallen"]
