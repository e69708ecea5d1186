"""`rosterd changes`: the feed for other systems."""

from __future__ import annotations

import click
import msgspec

from importer.store.roster import changes as feed
from operate.database import cannot_answer, check_known, database
from operate.options import one_client_option, service_config_option
from operate.output import print_table
from watcher.settings import Config


@click.command()
@click.option(
    "--since",
    "cursor",
    metavar="IMPORT_ID",
    type=click.IntRange(min=0),
    required=True,
    help="The cursor at the end of the last answer; 0 for all users.",
)
@one_client_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a user on each line, the cursor on the last.")
@service_config_option
def changes(config: Config, cursor: int, client: str | None, *, as_json: bool) -> None:
    """
    List every user that was created or changed since an import, as it is now.

    The answer ends with the cursor for the next question. A user that nobody has recorded any more, because it was
    erased or has another id now, is named with its id alone.
    """
    with database(config) as conn:
        check_known(config, conn, client)
        newest = feed.newest(conn)
        try:
            if as_json:
                for changed in feed.since(conn, cursor, client):
                    click.echo(msgspec.json.encode(changed))
                click.echo(msgspec.json.encode({"cursor": newest}))
                return
            rows = [
                (each.import_id, each.client, each.unique_id, ", ".join(each.kinds), _state(each))
                for each in feed.since(conn, cursor, client)
            ]
        except feed.CursorUnusable as error:
            cannot_answer(f"{error} Begin anew with an empty copy and --since 0.")
    print_table(("import", "client", "unique_id", "what", "state"), rows, empty="Nothing has changed.")
    click.echo(f"cursor: {newest}")


def _state(changed: feed.ChangedUser) -> str:
    if changed.user is None:
        return "gone"
    return "inactive" if changed.user["inactive_by"] else "active"
