"""`rosterd hook`: the events that are still to be sent to webhooks, and a test of one."""

from __future__ import annotations

import http.client
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import msgspec

from importer.hooks import events
from importer.hooks.names import TEST
from importer.hooks.post import HookTransport, HookUnusable, failed
from importer.sending.sender import name_of
from importer.settings import HookSettings
from importer.store.tables import hooks as tables
from importer.store.tables.hooks import HookEvent
from operate.change import EXIT_NOT_DONE, give
from operate.database import cannot_answer, database
from operate.options import (
    config_option,
    did_you_mean,
    json_option,
    limit_option,
    service_config_option,
    use_secret_files,
)
from operate.output import print_fields, print_json, print_table
from operate.provision.plan import ForRoot
from watcher.config import ConfigError, hook_secret
from watcher.control.client import Order
from watcher.settings import Config

_PENDING: Final = ("waiting", "dead")
_ALL: Final = (*_PENDING, "sent", "dropped")
_MANY: Final = 1_000_000

_ids_argument: Final = click.argument("ids", metavar="[ID]...", nargs=-1, type=click.IntRange(min=1))
_dead_option: Final = click.option("--dead", is_flag=True, help="All events that were given up.")


@click.group()
def hook() -> None:
    """List, show, retry or drop events for webhooks, or test a webhook."""


@hook.command(name="list")
@click.option("--hook", "name", metavar="NAME", help="Only for this hook.")
@click.option("--all", "with_done", is_flag=True, help="Also events that were sent or dropped in the last 14 days.")
@limit_option
@service_config_option
@json_option
def list_(config: Config, name: str | None, limit: int, *, with_done: bool, as_json: bool) -> None:
    """List events that wait or were given up, newest first."""
    with database(config) as conn:
        found = tables.events(conn, hook=name, states=_ALL if with_done else _PENDING, limit=limit)
    if as_json:
        print_json([_listed(event) for event in found])
        return
    header = ("id", "state", "hook", "event", "client", "tries", "queued (UTC)", "next try (UTC)", "last error")
    rows = [
        (e.id, e.state, e.hook, e.event, e.client, e.attempts, e.created_at, _next_try(e), e.last_error) for e in found
    ]
    print_table(header, rows, empty="No event." if with_done else "No event is waiting or was given up.")


@hook.command()
@click.argument("id_", metavar="ID", type=click.IntRange(min=1))
@service_config_option
@json_option
def show(config: Config, id_: int, *, as_json: bool) -> None:
    """Show one event, with the body that is sent."""
    with database(config) as conn:
        event = tables.find(conn, id_)
    if event is None:
        cannot_answer(f"there is no event {id_}; `rosterd hook list --all` lists all")
    if as_json:
        print_json({"event": _listed(event), "body": json.loads(event.body)})
        return
    print_fields(_listed(event).items())
    click.echo()
    print_json(json.loads(event.body))


@hook.command()
@_ids_argument
@_dead_option
@service_config_option
def retry(config: Config, ids: tuple[int, ...], *, dead: bool) -> None:
    """Retry events now; if that fails, keep retrying for hours."""
    give(config, *_orders("hook.retry", config, ids, dead=dead))


@hook.command()
@_ids_argument
@_dead_option
@service_config_option
def drop(config: Config, ids: tuple[int, ...], *, dead: bool) -> None:
    """Drop events without sending them."""
    give(config, *_orders("hook.drop", config, ids, dead=dead))


@hook.command(cls=ForRoot)
@click.argument("name")
@config_option
def test(config: Config, name: str) -> None:
    """
    Send the event hook.test to a hook now, and print what it answers.

    Exits with 0 when the hook has taken it, 1 when not.
    """
    settings = _chosen(config, name)
    use_secret_files(Path(config.source))
    try:
        transport = HookTransport(settings, hook_secret(settings))
    except (ConfigError, HookUnusable) as error:
        cannot_answer(str(error))
    event = events.made(TEST, datetime.now(UTC), {"hook": name})
    try:
        attempt = transport(event)
    except (OSError, http.client.HTTPException) as error:
        attempt = failed(event, name_of(error))
    if attempt.reason:
        click.echo(f"{settings.host}: {attempt.reason}", err=True)
        sys.exit(EXIT_NOT_DONE)
    click.echo(f"{settings.host} has taken the event {event.event_id}")


def _chosen(config: Config, name: str) -> HookSettings:
    hooks = {each.name: each for each in config.hook}
    if name not in hooks:
        known = f"known hooks: {', '.join(hooks)}" if hooks else "no hook is configured"
        raise click.UsageError(f'unknown hook "{name}";{did_you_mean(name, hooks)} {known}')
    return hooks[name]


def _orders(do: str, config: Config, ids: tuple[int, ...], *, dead: bool) -> list[Order]:
    if not ids and not dead:
        raise click.UsageError("give the ids of the events, or --dead")
    if dead:
        with database(config) as conn:
            ids += tuple(event.id for event in tables.events(conn, hook=None, states=("dead",), limit=_MANY))
    return [Order(do=do, id=str(id_)) for id_ in dict.fromkeys(ids)]


def _listed(event: HookEvent) -> dict[str, object]:
    """Return an event without its body."""
    return {name: value for name, value in msgspec.structs.asdict(event).items() if name != "body"}


def _next_try(event: HookEvent) -> object:
    return event.due_at if event.state == "waiting" else None
