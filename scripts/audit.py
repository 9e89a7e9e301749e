"""Look for known vulnerabilities in what dockernamed needs to run: scripts/audit.py PIP-AUDIT

Audits the versions that this Python has of dockernamed's dependencies and of theirs, with the
program PIP-AUDIT. Its data come from the package index; where they cannot be reached, nothing is
known, which is told and is no failure unless DOCKERNAMED_AUDIT=required.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib import metadata

from packaging.requirements import Requirement

TIMEOUT_S = 300


def needed(root: str) -> dict[str, str]:
    """Name → version of all that a package needs to run, the package left out."""
    found: dict[str, str] = {}
    todo = [root]
    while todo:
        for text in metadata.requires(todo.pop()) or ():
            requirement = Requirement(text)
            marker, name = requirement.marker, requirement.name.lower()
            if name not in found and (marker is None or marker.evaluate({"extra": ""})):
                found[name] = metadata.version(name)
                todo.append(name)
    return found


def answer_of(program: str, packages: dict[str, str]) -> list[dict[str, object]]:
    """What pip-audit says of each package; nothing where it could not ask."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{name}=={version}\n" for name, version in packages.items()))
        file.flush()
        arguments = ["--no-deps", "--disable-pip", "--progress-spinner=off", "--timeout=10"]
        try:
            done = subprocess.run(
                [program, *arguments, "--format=json", "--requirement", file.name],
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            print(error)
            return []
    try:
        listed: list[dict[str, object]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        print(done.stderr.strip().rpartition("\n")[2] or "pip-audit said nothing")
        return []
    return listed


def main(program: str) -> int:
    """Print what is known, and return the exit code."""
    packages = needed("dockernamed")
    answers = answer_of(program, packages)
    audited = [one for one in answers if "skip_reason" not in one]
    vulnerable = [one for one in audited if one.get("vulns")]
    for one in vulnerable:
        print(f"{one['name']} {one['version']}: {json.dumps(one['vulns'])}")
    print(f"{len(audited)} of {len(packages)} packages audited, {len(vulnerable)} vulnerable")
    if len(audited) < len(packages):
        print("the data of the others could not be reached: nothing is known of them")
        if os.environ.get("DOCKERNAMED_AUDIT") == "required":
            return 1
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
