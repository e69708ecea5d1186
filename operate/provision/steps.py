"""Changes of the host, as steps that can be shown first, and repeated safely."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from importer import fs
from importer.durable import SyncFailed, discard_unfinished, write_durably
from operate.output import say

SERVICE: Final = "rosterd.service"


class StepFailed(Exception):
    """A step failed; the text says which, and why."""


class Step(msgspec.Struct, frozen=True):
    """One change. `shows` is the command that a person would type, or says what is written where."""

    shows: str
    is_done: Callable[[], bool]
    make: Callable[[], object]


def play(steps: Iterable[Step], *, apply: bool, reloads: bool) -> None:
    """
    Show the steps that are still to be done, and execute them if `apply`; the service `reloads` finally.

    Raises StepFailed; earlier steps are not undone.
    """
    open_steps = [step for step in steps if not step.is_done()]
    if not open_steps:
        say("Nothing to do: everything is set up as requested.")
        return
    say("Doing:" if apply else "Dry run; to make these changes, add --apply:")
    for step in [*open_steps, *(step for step in [reload()] if reloads and not step.is_done())]:
        say("  " + step.shows.replace("\n", "\n      "))
        if apply:
            make(step)


def make(step: Step) -> None:
    """Execute a step. Raises StepFailed."""
    try:
        step.make()
    except (OSError, SyncFailed, KeyError) as error:
        raise StepFailed(f"{step.shows.splitlines()[0]}: {error}. Earlier steps are not undone") from error


def command(arguments: Sequence[str], is_done: Callable[[], bool]) -> Step:
    """Return the step that runs a program of the system."""
    return Step(shlex.join(arguments), is_done, lambda: run(arguments))


def environment() -> dict[str, str]:
    """Return the environment in which programs of the system are found, and answer in English."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # not in the PATH of every user
    return {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"}


def run(arguments: Sequence[str], *, sent: str = "", with_errors: bool = False) -> str:
    """Run a program of the system, with `sent` as its input, and return its output. Raises StepFailed."""
    try:
        done = subprocess.run(  # noqa: S603 - programs of the system, by arguments that were checked
            arguments, input=sent, capture_output=True, text=True, errors="replace", check=False, env=environment()
        )
    except OSError as error:
        raise StepFailed(f"{arguments[0]}: {error.strerror}") from error
    if done.returncode:
        raise StepFailed(f"{shlex.join(arguments)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout + (done.stderr if with_errors else "")


def file(path: Path, content: str) -> Step:
    """Return the step that writes a file that all may read; its content is shown."""
    return Step(
        f"write {path}:\n{content}".rstrip(),
        lambda: path.is_file() and not path.is_symlink() and path.read_bytes() == content.encode(),
        lambda: _write(path, content),
    )


@contextlib.contextmanager
def locked(folder: str | Path) -> Iterator[int]:
    """Yield a folder of the operator whose files no other command changes meanwhile. Raises OSError."""
    with fs.open_folder(folder, flags=fs.OWN_FOLDER) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        discard_unfinished(str(folder))
        yield fd


def _write(path: Path, content: str) -> None:
    with locked(path.parent) as fd:
        write_durably(fd, os.fsencode(path.name), [content.encode()], mode=0o644)


def renaming(path: Path, new_path: Path) -> Step:
    """Return the step that renames a file."""
    return Step(shlex.join(["mv", str(path), str(new_path)]), lambda: not path.exists(), lambda: path.rename(new_path))


def deletion(path: Path) -> Step:
    """Return the step that deletes a file."""
    return Step(shlex.join(["rm", str(path)]), lambda: not os.path.lexists(path), path.unlink)


def reload() -> Step:
    """Return the step that reloads the service, or starts it; counts as done on a host without its unit."""
    return command(("systemctl", "reload-or-restart", SERVICE), lambda: not _is_served())


def _is_served() -> bool:
    units = (
        f"{folder}/{SERVICE}" for folder in ("/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system")
    )
    return os.path.isdir("/run/systemd/system") and any(map(os.path.exists, units))
