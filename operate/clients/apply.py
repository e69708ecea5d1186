"""`rosterd client apply`: sets up the clients of a file, each as a whole; run again it changes nothing."""

from __future__ import annotations

import enum
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from operate.change import EXIT_NOT_DONE
from operate.clients import setup
from operate.clients.listed import Listed, NotAList, clients_in
from operate.clients.reload import Reloaded, reload_service
from operate.clients.setup import Wanted
from operate.options import config_file_option, json_option
from operate.output import counted, print_json, say
from operate.provision import steps
from operate.provision.drop_ins import problems_with
from operate.provision.edits import NotEditable
from operate.provision.keys import KeyRefused
from operate.provision.plan import ForRoot, apply_option, fail
from operate.provision.steps import StepFailed
from watcher.config import ConfigError, load
from watcher.settings import Config


class State(enum.StrEnum):
    """What became of a client, or would by --apply."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    REFUSED = "refused"  # nothing of it was changed
    FAILED = "failed"  # in the middle; the same command completes it


class Result(msgspec.Struct, frozen=True):
    """A client of the file."""

    client: str
    state: State
    steps: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class _Summary(msgspec.Struct, frozen=True):
    changed: bool
    applied: bool
    clients: list[Result]
    service: str


@click.command("apply", cls=ForRoot)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@config_file_option
@apply_option
@json_option
def apply_(file: Path, config_file: Path, *, apply: bool, as_json: bool) -> None:
    """
    Set up the clients of FILE, TOML or CSV: name, email, key and other settings.

    Shows each step; --apply executes it. What is as the file says is left alone; what the file does not say stays, keys
    as well. A client that cannot be set up is named and left as it is, and the others are set up.
    """
    try:
        listed, config = clients_in(file), load(config_file)
    except (NotAList, ConfigError) as error:
        remedy = "Correct this, and run it again."
        fail("Nothing was changed:", *(f"  {line}" for line in str(error).splitlines()), remedy)
    refused = _refused(listed, config_file)
    results = []
    for each in listed:
        wanted = Wanted(each.name, each.keys, each.values)
        problems = (*each.problems, *setup.conflicts(wanted, config_file, config), *refused.get(each.name, ()))
        results.append(_result(wanted, problems, config_file, config, apply=apply))
        if not as_json and results[-1].state is not State.UNCHANGED:
            _tell(results[-1])
    reloaded = reload_service(config_file) if apply else Reloaded(done=True, text="")
    if as_json:
        print_json(_Summary(any(result.steps for result in results), apply, results, reloaded.text))
    else:
        _tell_all(results, reloaded, apply=apply)
    if not reloaded.done or any(result.problems for result in results):
        sys.exit(EXIT_NOT_DONE)


def _refused(listed: Sequence[Listed], config_file: Path) -> dict[str, list[str]]:
    """Return what the configuration would not accept, by the names of clients: of each, and of it with those before."""
    texts: dict[Path, str] = {}
    refused: dict[str, list[str]] = {}
    if not any(_changed(each, config_file, texts) for each in listed) and not [*problems_with(config_file, texts)]:
        return {}
    texts.clear()  # one by one takes long, so only to find out which it is
    for each in listed:
        before = dict(texts)
        if problems := _changed(each, config_file, texts) or [*problems_with(config_file, texts)]:
            texts = before
            refused[each.name] = problems
    return refused


def _changed(each: Listed, config_file: Path, texts: dict[Path, str]) -> list[str]:
    """Add the text of a client's file to the others; return why it cannot be changed."""
    try:
        settings = setup.settings_of(Wanted(each.name, each.keys, each.values), config_file, texts)
    except NotEditable as error:
        return str(error).splitlines()
    texts[settings.file] = settings.after
    return []


def _result(wanted: Wanted, problems: Sequence[str], config_file: Path, config: Config, *, apply: bool) -> Result:
    """Set up a client, or find out what there is to do."""
    if problems:
        return Result(wanted.name, State.REFUSED, problems=tuple(problems))
    done: list[str] = []
    try:
        settings = setup.settings_of(wanted, config_file)
        for step in setup.plan(wanted, settings, config):
            if not step.is_done():
                if apply:
                    steps.make(step)
                done.append(step.shows)
    except (StepFailed, NotEditable, KeyRefused, OSError) as error:
        return Result(wanted.name, State.FAILED, tuple(done), (str(error),))
    return Result(wanted.name, State.CHANGED if done else State.UNCHANGED, tuple(done))


# What is told


def _tell(result: Result) -> None:
    say(f"{result.client}: {result.state}")
    for text in (*result.steps, *result.problems):
        say("  " + text.replace("\n", "\n      "))


def _tell_all(results: Sequence[Result], reloaded: Reloaded, *, apply: bool) -> None:
    counts = [f"{sum(result.state is state for result in results)} {state}" for state in State]
    say(f"{counted(len(results), 'client', 'clients')}: {', '.join(counts)}")
    if not apply and any(result.steps for result in results):
        say("Dry run; to make these changes, add --apply.")
    if reloaded.text:
        say(reloaded.text)
