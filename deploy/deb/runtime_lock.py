"""
Print those entries of requirements.lock that rosterd, its console and its store on PostgreSQL need to run.

Those in `libraries.LEFT_OUT` are not printed; the lock has what building needs, too.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.deb.libraries import LEFT_OUT

REPOSITORY = Path(__file__).parents[2]


def entries() -> dict[str, str]:
    """Return the entries of the lock, each with its hashes, by the name of the package."""
    found = re.findall(
        r"^([A-Za-z0-9._-]+)(==.*?)(?=^\S|\Z)", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE | re.DOTALL
    )
    return {canonicalize_name(name): name + rest for name, rest in found}


def needed(requirements: Iterable[str], seen: set[str]) -> Iterator[str]:
    """
    Yield the packages that are required, and all that these need in turn, each once. They are installed here.

    Those that are left out are only added to `seen`.
    """
    for requirement in map(Requirement, requirements):
        name = canonicalize_name(requirement.name)
        if name not in seen and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            seen.add(name)
            if name not in LEFT_OUT:
                yield name
                yield from needed(requires(name) or [], seen)


def main() -> None:
    """Print the entries; exit with what is left out although nothing requires it."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    locked, seen = entries(), set[str]()
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["console"], *extras["postgresql"]]
    sys.stdout.write("".join(locked[name] for name in sorted(needed(wanted, seen))))
    if stale := LEFT_OUT.keys() - seen:
        sys.exit(f"deploy/deb/libraries.py leaves out what nothing requires: {', '.join(sorted(stale))}")


if __name__ == "__main__":
    main()
