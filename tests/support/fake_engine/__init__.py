"""A Docker Engine in memory, speaking the Engine API on a Unix socket, for tests and benchmarks.

The real Docker SDK talks to it; the contract suite (tests/real/engine/test_contract.py) runs over
it and over real Engines, so that it says what they say. It makes no processes: a container that is
started answers HTTP at its address and its published ports, from this process.
"""

from support.fake_engine.faults import Fault
from support.fake_engine.objects import Behaviour, Container, Image, RemoteImage
from support.fake_engine.server import FakeEngine
from support.fake_engine.swarm_control import FakeSwarm

__all__ = [
    "Behaviour", "Container", "FakeEngine", "FakeSwarm", "Fault", "Image", "RemoteImage"
]  # fmt: skip
