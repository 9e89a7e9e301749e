"""A simulated Engine with many running servers, in a process of its own.

    python -m benchmarks.populated NUMBER LABELS

LABELS is a JSON object; ``{n}`` in its values is the number of the server. What is written to its
input makes it act: ``events`` tells of something that happened to the servers, ``lose`` ends the
event streams. Each is answered by an empty line.
"""

from __future__ import annotations

import json
import sys

from support.fake_engine import FakeEngine

IMAGE = "lab:latest"
EVENTS = 2000


def main() -> None:
    """Serve until the input ends."""
    count, template = int(sys.argv[1]), json.loads(sys.argv[2])

    def labels(number: int) -> dict[str, str]:
        return {key: value.replace("{n}", str(number)) for key, value in template.items()}

    with FakeEngine() as engine:
        engine.add_image(IMAGE)
        ids = engine.populate(count, labels, IMAGE)
        print(json.dumps({"url": engine.url, "ids": ids}), flush=True)
        for line in sys.stdin:
            if line.strip() == "lose":
                engine.lose_streams()
            else:
                for number in range(EVENTS):
                    attributes = labels(number % count) | {"name": "x", "image": IMAGE}
                    engine.emit("container", "exec_start", ids[number % count], attributes)
            print(flush=True)


if __name__ == "__main__":
    main()
