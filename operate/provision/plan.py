"""What the commands of `rosterd client` share: only for root, refused if there is a conflict, shown first."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Final, NoReturn

import click

from operate.options import ClientName
from operate.provision import steps
from operate.provision.steps import Step
from watcher.exits import EXIT_CANNOT_ANSWER, EXIT_NOT_PERMITTED

Conflicts = Iterator[str]

apply_option: Final = click.option("--apply", is_flag=True, help="Make the changes instead of only showing them.")
name_argument: Final = click.argument("name", type=ClientName())


class ForRoot(click.Command):
    """A command for root; it ends with EXIT_NOT_PERMITTED for other users."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command, for root."""
        if os.geteuid() != 0:
            click.echo(f"{ctx.command_path}: only root may do this", err=True)
            sys.exit(EXIT_NOT_PERMITTED)
        return super().invoke(ctx)


def refuse(conflicts: Conflicts) -> None:
    """End the program if there is a conflict: nothing is started that cannot be finished."""
    if listed := list(conflicts):
        fail("Nothing was changed:", *(f"  {conflict}" for conflict in listed))


def fail(*lines: str) -> NoReturn:
    """End the program with these lines on standard error."""
    click.echo("\n".join(lines), err=True)
    sys.exit(EXIT_CANNOT_ANSWER)


def play(plan: Sequence[Step], *, apply: bool, reloads: bool = True) -> None:
    """Show or execute the steps that are still to be done; ends the program when one fails."""
    try:
        steps.play(plan, apply=apply, reloads=reloads)
    except steps.StepFailed as error:
        fail(str(error))
