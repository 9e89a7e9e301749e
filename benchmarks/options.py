"""What a choice costs the Hub: judging one request, and making one form.

``python -m benchmarks.options`` prints a table. The profiles are many more than any Hub has, 200
with 20 options each, since all of it happens in the Hub's one thread. Reading the settings is part
of judging, as a callable may give others at each request.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from dockernamed.images.allowed import AllowedImages
from dockernamed.options import form, profile_config, user_options
from dockernamed.options.overrides import OverridableSettings
from dockernamed.options.profiles import Requester
from dockernamed.options.schema import schema
from dockernamed.options.user_options import Menu

WORDS = OverridableSettings(frozenset({"image", "environment", "mem_limit"}))
WHO = Requester("ann", frozenset({"staff"}))


def profile_list(profiles: int, per_profile: int, choices: int) -> list[dict[str, Any]]:
    """Profiles of equal size, no two alike."""
    return [
        {
            "display_name": f"Profile {number}",
            "allowed_groups": ["staff", f"group-{number}"],
            "spawner_override": {"mem_limit": f"{number + 1}G"},
            "profile_options": {
                f"option{index}": {
                    "display_name": f"Option {number}/{index}",
                    "choices": {
                        f"choice{choice}": {
                            "display_name": f"Choice {number}/{index}/{choice}",
                            "spawner_override": {"environment": {f"V{index}": str(choice)}},
                        }
                        for choice in range(choices)
                    },
                }
                for index in range(per_profile)
            },
        }
        for number in range(profiles)
    ]


def menu(profiles: list[dict[str, Any]]) -> Menu:
    """The menu of one request, from settings as they are."""
    catalogue = profile_config.read(profiles, {}, WORDS).seen_by(WHO)
    return Menu(AllowedImages(["lab"]), catalogue, WORDS)


def median_ms(work: Callable[[], object], runs: int) -> float:
    """Milliseconds of CPU time of the median run: others on the machine do not count."""
    took = []
    for _ in range(runs):
        start = time.thread_time()
        work()
        took.append(time.thread_time() - start)
    return statistics.median(took) * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=31)
    runs = parser.parse_args().runs
    print(
        f"{'profiles x options x choices':30} {'judge':>9} {'form':>9} {'schema':>9}   (ms of CPU)"
    )
    for shape in ((5, 3, 4), (20, 10, 4), (200, 20, 2), (200, 20, 4)):
        profiles = profile_list(*shape)
        last = {"profile": f"profile-{shape[0] - 1}"}
        sent = last | {f"option{index}": "choice1" for index in range(shape[1])}
        read = menu(profiles)
        profile_config.check(read.catalogue)
        # mypy cannot tell the types of a lambda's defaults.
        judged = median_ms(lambda p=profiles, s=sent: user_options.parse(s, menu(p)), runs)  # type: ignore[misc]
        made = median_ms(lambda r=read: form.render(r), runs)  # type: ignore[misc]
        told = median_ms(lambda r=read: schema(r), runs)  # type: ignore[misc]
        name = " x ".join(map(str, shape))
        print(f"{name:30} {judged:9.2f} {made:9.2f} {told:9.2f}")


if __name__ == "__main__":
    main()
