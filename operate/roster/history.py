"""`rosterd history`: everything that happened to one person."""

from __future__ import annotations

import click

from importer.store import queries
from importer.store.roster.history import Change, later_id, story
from operate.database import cannot_answer, check_known, database
from operate.options import chosen_client, client_option, did_you_mean, json_option, service_config_option
from operate.output import print_json, print_table
from watcher.settings import Config


@click.command()
@click.argument("unique_id")
@client_option
@service_config_option
@json_option
def history(config: Config, unique_id: str, client_name: str | None, *, as_json: bool) -> None:
    """
    Show everything that happened to one person, oldest first.

    With file and line, and the old and new value of everything that changed. `inactive_by` is empty for an active user.
    """
    with database(config) as conn:
        check_known(config, conn, client_name)
        client = client_name or chosen_client(config, client_name).name
        changes = story(conn, client, unique_id)
        if not changes and (new_id := later_id(conn, client, unique_id)):
            cannot_answer(f"{client}: {unique_id} was given the unique id {new_id}: `rosterd history {new_id}`")
        if not changes:
            near = did_you_mean(unique_id, queries.similar_ids(conn, client, unique_id))
            cannot_answer(f"{client}: no user with this unique id is recorded{f';{near}' if near else '.'}")
    if as_json:
        print_json(changes)
        return
    rows = [
        (
            each.import_id,
            each.changed_at,
            each.kind,
            each.file,
            each.line or "",
            each.approved_by or each.requested_by,
            told,
        )
        for each in changes
        for told in _told(each)
    ]
    print_table(("import", "time (UTC)", "what", "file", "line", "by", "changed"), rows, empty="")


def _told(change: Change) -> list[str]:
    pairs = change.changes.items()
    return [f"{name}: {old or '(empty)'} -> {new or '(empty)'}" for name, (old, new) in pairs] or [""]
