"""Changes of the host, as steps that can be shown first, and repeated without harm."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import click
import msgspec

from importer import fs
from importer.durable import SyncFailed, write_durably

SERVICE: Final = "rosterd.service"


class StepFailed(Exception):
    """A step failed; the text says which, and why."""


class Step(msgspec.Struct, frozen=True):
    """One change. `shows` is what a person would type, or says what is written where."""

    shows: str
    is_done: Callable[[], bool]
    make: Callable[[], object]


def play(steps: Iterable[Step], *, apply: bool) -> None:
    """
    Show the steps that are still to be made, and make them if `apply`; last the service reads its configuration.

    Raises StepFailed; what was done before stays done.
    """
    open_steps = [step for step in steps if not step.is_done()]
    if not open_steps:
        click.echo("Nothing to do: everything is set up as requested.")
        return
    click.echo("Doing:" if apply else "Dry run; to make these changes, add --apply:")
    for step in [*open_steps, *(step for step in [reload()] if not step.is_done())]:
        click.echo("  " + step.shows.replace("\n", "\n      "))
        if apply:
            _make(step)


def _make(step: Step) -> None:
    try:
        step.make()
    except (OSError, SyncFailed, KeyError) as error:
        raise StepFailed(f"{step.shows.splitlines()[0]}: {error}. Earlier steps are not undone") from error


def command(arguments: Sequence[str], is_done: Callable[[], bool]) -> Step:
    """Return the step that runs a program of the system."""
    return Step(shlex.join(arguments), is_done, lambda: run(arguments))


def environment() -> dict[str, str]:
    """Return the environment in which programs of the system are found, and speak English."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # not on everybody's
    return {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"}


def run(arguments: Sequence[str], *, with_errors: bool = False) -> str:
    """Run a program of the system and return what it says. Raises StepFailed."""
    try:
        done = subprocess.run(  # noqa: S603 - programs of the system, by arguments that were checked
            arguments, capture_output=True, text=True, errors="replace", check=False, env=environment()
        )
    except OSError as error:
        raise StepFailed(f"{arguments[0]}: {error.strerror}") from error
    if done.returncode:
        raise StepFailed(f"{shlex.join(arguments)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout + (done.stderr if with_errors else "")


def file(path: Path, content: str, shows: str = "") -> Step:
    """Return the step that writes a file that all may read; unless `shows` says otherwise, its content is shown."""
    return Step(
        shows or f"write {path}:\n{content}".rstrip(),
        lambda: path.is_file() and not path.is_symlink() and path.read_bytes() == content.encode(),
        lambda: _write(path, content),
    )


def _write(path: Path, content: str) -> None:
    with fs.open_folder(path.parent, flags=fs.OWN_FOLDER) as fd:
        write_durably(fd, os.fsencode(path.name), [content.encode()], mode=0o644)


def renaming(path: Path, new_path: Path) -> Step:
    """Return the step that renames a file."""
    return Step(shlex.join(["mv", str(path), str(new_path)]), lambda: not path.exists(), lambda: path.rename(new_path))


def deletion(path: Path) -> Step:
    """Return the step that deletes a file."""
    return Step(shlex.join(["rm", str(path)]), lambda: not os.path.lexists(path), path.unlink)


def reload() -> Step:
    """Return the step that reloads the service, or starts it; done already on a host without its unit."""
    return command(("systemctl", "reload-or-restart", SERVICE), lambda: not _is_served())


def _is_served() -> bool:
    units = (
        f"{folder}/{SERVICE}" for folder in ("/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system")
    )
    return os.path.isdir("/run/systemd/system") and any(map(os.path.exists, units))
