"""`rosterd feed`: the feeds of clients, the users who are missing from their snapshots, and freezes."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import click

from importer.roster.protection import protected_users
from importer.settings import ClientSettings, FeedSettings
from importer.store.connection import Connection
from importer.store.roster import removal
from operate.change import give
from operate.database import cannot_answer, database
from operate.options import ClientName, chosen_client, service_config_option
from operate.output import print_table
from operate.roster.change_options import apply_option
from watcher.control.client import Order
from watcher.settings import Config


@click.group()
def feed() -> None:
    """List the feeds of clients, and freeze one for a time."""


@feed.command(name="list")
@service_config_option
def list_(config: Config) -> None:
    """List feeds, and how many users are missing from each who are still active, because they are very many."""
    with database(config) as conn:
        rows = [
            (client.name, each.name, each.files, each.mode, missing or "")
            for client in config.clients
            for each, missing in _missing(conn, client)
        ]
    print_table(("client", "feed", "files", "mode", "missing"), rows, empty="No feeds.")


def _missing(conn: Connection, client: ClientSettings) -> Iterator[tuple[FeedSettings, int]]:
    """Yield the feeds of a client, and how many users are missing from each."""
    protected = protected_users(client)
    return ((each, removal.count_missing(conn, client.name, each, protected)) for each in client.feed)


_DAY: Final = click.DateTime(["%Y-%m-%d"])


@feed.command()
@click.argument("client_name", metavar="CLIENT", type=ClientName())
@click.argument("feed_name", metavar="[FEED]", default="")
@click.option("--from", "first", required=True, type=_DAY, help="The first day.")
@click.option("--until", "last", required=True, type=_DAY, help="The last day; one that is past ends a freeze.")
@apply_option
@service_config_option
def freeze(
    config: Config, client_name: str, feed_name: str, first: datetime, last: datetime, *, is_applied: bool
) -> None:
    """
    Import no files of FEED for a time, such as the summer.

    They are archived and answered meanwhile (feed.frozen), and nothing of them is applied. The client gets a mail the
    day before. The freeze ends by itself. Without FEED it is that of all files that belong to no feed. Days are those
    of [mail] timezone.
    """
    client = chosen_client(config, client_name)
    if feed_name and feed_name not in (each.name for each in client.feed):
        cannot_answer(f"{client.name} has no feed {feed_name}; `rosterd feed list` lists all feeds")
    if last < first:
        raise click.BadParameter("is before --from", param_hint="--until")
    if not is_applied:
        files = f"files of {client.name}{feed_name and f', feed {feed_name}'}"
        click.echo(f"Would import no {files} from {first:%F} through {last:%F}. Add --apply to do it.")
        return
    zone = zoneinfo.ZoneInfo(config.mail.timezone) if config.mail.timezone else None
    since, until = (day.replace(tzinfo=zone).astimezone(zone).isoformat() for day in (first, last + timedelta(days=1)))
    give(config, Order(do="feed.freeze", client=client.name, feed=feed_name, since=since, until=until))
