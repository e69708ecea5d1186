"""`rosterd guard`: let limits of a client not count for a time, such as for the rollover of a year."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from importer.roster.guards import GUARDS
from importer.store.roster import pauses
from operate.change import give
from operate.database import database
from operate.options import ClientName, chosen_client, service_config_option
from operate.output import print_table
from watcher.control.client import Order
from watcher.settings import Config


@click.group()
def guard() -> None:
    """Let limits of [guard] not count for a time, and list where they do not."""


@guard.command(
    help=f"""
    Let limits of a client not count until a day.

    GUARDS are names of limits: {", ".join(GUARDS)}. Files are not put on hold for them meanwhile; warnings go on. The
    pass ends by itself. It does not release what is on hold already.
    """
)
@click.argument("client_name", metavar="CLIENT", type=ClientName())
@click.argument("guards", nargs=-1, required=True, type=click.Choice(GUARDS))
@click.option(
    "--until", required=True, type=click.DateTime(["%Y-%m-%d"]), help="The last day, in UTC; a past one ends a pass."
)
@click.option("--apply", is_flag=True, help="Do it; without this the command only says what it would do.")
@service_config_option
def pause(config: Config, client_name: str, guards: tuple[str, ...], until: datetime, *, apply: bool) -> None:
    """Let limits of a client not count until a day."""
    client = chosen_client(config, client_name).name
    names = ", ".join(guards)
    if not apply:
        click.echo(f"Would pause {names} of {client} through {until:%Y-%m-%d} (UTC). Add --apply to do it.")
        return
    give(config, Order(do="guard.pause", client=client, guards=guards, until=f"{until:%Y-%m-%d}"))


@guard.command(name="list")
@service_config_option
def list_(config: Config) -> None:
    """List the limits that do not count now."""
    with database(config) as conn:
        paused = pauses.active(conn, datetime.now(UTC))
    rows = [(each.client, each.guard, str(each.last_day)) for each in paused]
    print_table(("client", "limit", "paused through (UTC)"), rows, empty="No limit is paused.")
