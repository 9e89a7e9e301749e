"""A simulated Engine or Swarm with many running servers, in a process of its own.

    python -m benchmarks.populated NUMBER LABELS engine|swarm

LABELS is a JSON object; ``{n}`` in its values is the number of the server. The first line that it
writes is JSON: ``url``, the ``ids`` of all servers, and of those ``ending``. What is written to its
input makes it act: ``events`` tells of something that happened to the servers, in a Swarm of the
end of those ``ending``; ``lose`` ends the event streams. Each is answered by an empty line.
"""

from __future__ import annotations

import json
import sys

from support.fake_engine import FakeEngine

IMAGE = "lab:latest"
EVENTS = 2000
NODES = 20  # of the Swarm
ENDING = 10  # of so many services there, one ends


def main() -> None:
    """Serve until the input ends."""
    count, template, kind = int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]

    def labels(number: int) -> dict[str, str]:
        return {key: value.replace("{n}", str(number)) for key, value in template.items()}

    with FakeEngine() as engine:
        engine.add_image(IMAGE)
        if kind == "swarm":
            swarm = engine.init_swarm(NODES)
            ids = swarm.populate(count, labels)
            ending = ids[::ENDING]
        else:
            ids, ending = engine.populate(count, labels, IMAGE), []
        print(json.dumps({"url": engine.url, "ids": ids, "ending": ending}), flush=True)
        for line in sys.stdin:
            if line.strip() == "lose":
                engine.lose_streams()
            elif kind == "swarm":
                for id in ending:
                    swarm.end(id)
            else:
                for number in range(EVENTS):
                    attributes = labels(number % count) | {"name": "x", "image": IMAGE}
                    engine.emit("container", "exec_start", ids[number % count], attributes)
            print(flush=True)


if __name__ == "__main__":
    main()
