"""`rosterd users`: find recorded users, deactivate or reactivate them."""

from __future__ import annotations

from typing import Final

import click

from importer.store import queries
from operate.change import give
from operate.database import check_known, database
from operate.options import (
    Abbreviated,
    chosen_client,
    client_option,
    json_option,
    limit_option,
    one_client_option,
    service_config_option,
)
from operate.output import print_fields, print_json, print_table
from watcher.control.client import Order
from watcher.settings import Config

_ids_argument: Final = click.argument("unique_ids", metavar="UNIQUE_ID...", nargs=-1, required=True)


@click.group(cls=Abbreviated, default="find")
def users() -> None:
    """
    Find recorded users, deactivate or reactivate them.

    `rosterd users QUERY` is short for `rosterd users find QUERY`.
    """


@users.command()
@click.argument("query", default="")
@click.option("--inactive", "is_inactive", is_flag=True, help="Only inactive users; without QUERY all, newest first.")
@one_client_option
@limit_option
@service_config_option
@json_option
def find(config: Config, query: str, client: str | None, limit: int, *, is_inactive: bool, as_json: bool) -> None:
    """
    Find recorded users.

    QUERY is a unique id, an e-mail address or a user name; if nobody has it, part of an id or a name.
    """
    if not (query or is_inactive):
        raise click.UsageError("expected QUERY, or --inactive")
    with database(config) as conn:
        check_known(config, conn, client)
        matches = queries.users(conn, query, client=client, limit=limit, is_inactive=is_inactive)
    if as_json:
        print_json(matches)
    elif query and len(matches) == 1:
        print_fields(matches[0].items())
    else:
        names = ("client", "unique_id", "first_name", "last_name", "email", "user_name", "inactive_by", "updated_at")
        print_table(names, [[user[name] for name in names] for user in matches], empty="No such user.")


@users.command()
@_ids_argument
@client_option
@service_config_option
def deactivate(config: Config, unique_ids: tuple[str, ...], client_name: str | None) -> None:
    """
    Make users inactive until you reactivate them, whatever uploads say.

    They stay recorded; their e-mail addresses and user names are free for others.
    """
    client = chosen_client(config, client_name)
    give(config, Order(do="roster.deactivate", client=client.name, unique_ids=unique_ids))


@users.command()
@_ids_argument
@client_option
@service_config_option
def reactivate(config: Config, unique_ids: tuple[str, ...], client_name: str | None) -> None:
    """Make inactive users active again, unless others have their e-mail addresses or user names by now."""
    client = chosen_client(config, client_name)
    give(config, Order(do="roster.reactivate", client=client.name, unique_ids=unique_ids))
