"""What the commands of `rosterd client` share: for root alone, refused for any obstacle, shown before it is done."""

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
    """A command that ends with EXIT_NOT_PERMITTED for everybody else."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command, for root."""
        if os.geteuid() != 0:
            click.echo(f"{ctx.command_path}: only root may do this", err=True)
            sys.exit(EXIT_NOT_PERMITTED)
        return super().invoke(ctx)


def refuse(conflicts: Conflicts) -> None:
    """End when there is a conflict: nothing is begun that cannot be finished."""
    if found := list(conflicts):
        fail("Nothing was changed:", *(f"  {conflict}" for conflict in found))


def fail(*lines: str) -> NoReturn:
    """End with these lines on standard error."""
    click.echo("\n".join(lines), err=True)
    sys.exit(EXIT_CANNOT_ANSWER)


def play(plan: Sequence[Step], *, apply: bool) -> None:
    """Show or make the steps that are still to be made; ends when one fails."""
    try:
        steps.play(plan, apply=apply)
    except steps.StepFailed as error:
        fail(str(error))
