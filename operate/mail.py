"""`rosterd mail`: list, show, retry and drop the mail of the outbox."""

from __future__ import annotations

import email
import email.policy
import json
from email.message import EmailMessage
from typing import Final

import click
import msgspec

from importer.model import printable
from importer.store import queries
from importer.store.queries import QueuedMail
from operate.change import give
from operate.database import cannot_answer, check_known, database
from operate.options import json_option, limit_option, one_client_option, service_config_option
from operate.output import print_fields, print_json, print_table
from watcher.control.client import Order
from watcher.settings import Config

_PENDING: Final = ("waiting", "dead")
_ALL: Final = (*_PENDING, "joined", "sent", "dropped")
_MANY: Final = 1_000_000

_ids_argument: Final = click.argument("ids", metavar="[ID]...", nargs=-1, type=click.IntRange(min=1))


@click.group()
def mail() -> None:
    """List, show, retry or drop mail that is still to be sent."""


@mail.command(name="list")
@one_client_option
@click.option("--all", "with_done", is_flag=True, help="Also mail that was sent, dropped, or joined into another one.")
@limit_option
@service_config_option
@json_option
def list_(config: Config, client: str | None, limit: int, *, with_done: bool, as_json: bool) -> None:
    """List mail that waits or was given up, newest first."""
    with database(config) as conn:
        check_known(config, conn, client)
        mails = queries.mails(conn, client=client, states=_ALL if with_done else _PENDING, limit=limit)
    if as_json:
        print_json(mails)
        return
    header = ("id", "state", "client", "to", "subject", "tries", "written (UTC)", "next try (UTC)", "last error")
    rows = [
        (m.id, m.state, m.client, _addresses(m), m.subject, m.attempts, m.created_at, _next_try(m), m.last_error)
        for m in mails
    ]
    print_table(header, rows, empty="No mail." if with_done else "No mail is waiting or was given up.")


@mail.command()
@click.argument("id_", metavar="ID", type=click.IntRange(min=1))
@click.option("--raw", is_flag=True, help="Print the mail exactly as it is sent, and nothing else.")
@service_config_option
@json_option
def show(config: Config, id_: int, *, raw: bool, as_json: bool) -> None:
    """Show one mail."""
    with database(config) as conn:
        sent_mail = queries.find_mail(conn, id_)
    if sent_mail is None:
        cannot_answer(f"there is no mail {id_}; `rosterd mail list --all` lists all")
    about, body = sent_mail
    if raw:
        click.echo(body, nl=False)
    elif as_json:
        print_json({"mail": about, "text": _text(body)})
    else:
        fields = {**msgspec.structs.asdict(about), "recipients": _addresses(about)}
        print_fields(fields.items())
        click.echo()
        click.echo(_text(body) or "Its content is no longer stored.")


@mail.command()
@_ids_argument
@click.option("--dead", is_flag=True, help="All mail that was given up.")
@service_config_option
def retry(config: Config, ids: tuple[int, ...], *, dead: bool) -> None:
    """Retry mail now; if that fails, keep retrying for hours."""
    give(config, *_orders("mail.retry", config, ids, dead=dead))


@mail.command()
@_ids_argument
@click.option("--dead", is_flag=True, help="All mail that was given up.")
@service_config_option
def drop(config: Config, ids: tuple[int, ...], *, dead: bool) -> None:
    """Drop mail without sending it, and delete its content."""
    give(config, *_orders("mail.drop", config, ids, dead=dead))


def _orders(do: str, config: Config, ids: tuple[int, ...], *, dead: bool) -> list[Order]:
    if not ids and not dead:
        raise click.UsageError("give the ids of the mails, or --dead")
    if dead:
        with database(config) as conn:
            ids += tuple(mail.id for mail in queries.mails(conn, client=None, states=("dead",), limit=_MANY))
    return [Order(do=do, id=str(id_)) for id_ in dict.fromkeys(ids)]


def _addresses(about: QueuedMail) -> str:
    return ", ".join(json.loads(about.recipients))


def _next_try(about: QueuedMail) -> object:
    return about.due_at if about.state == "waiting" else None


def _text(body: bytes) -> str:
    """Return what a reader of the mail sees, the names of attachments below."""
    message = email.message_from_bytes(body, policy=email.policy.default)
    part = message.get_body(("plain",))
    if not isinstance(part, EmailMessage):
        return ""
    lines = [printable(line.encode()) for line in str(part.get_content()).splitlines()]
    attached = [f"[attached: {printable(a.get_filename('').encode())}]" for a in message.iter_attachments()]
    return "\n".join([*lines, *attached])
