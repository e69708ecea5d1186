"""`rosterd status`: how the service and each client are doing. Only reads, whether the service runs or not."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import msgspec

from importer.store import queries
from importer.store.queries import Import
from operate.database import database
from operate.options import json_option, service_config_option
from operate.output import age, counted, print_fields, print_json, print_table
from operate.provision import steps
from watcher.health.obstacle import obstacle
from watcher.health.status import IDLE_INTERVAL_S, ClientStatus, State, Status, read_status
from watcher.inbox.settle import Names
from watcher.lock import is_locked
from watcher.owner import owner_of
from watcher.settings import Config

EXIT_NEEDS_A_LOOK: Final = 1
_SILENCE_S: Final = 10 * IDLE_INTERVAL_S  # a work loop that has written nothing for so long may be stuck
_DOCTOR: Final = "`rosterd doctor` says what to do."
_HELD: Final = "`rosterd release` and `rosterd refuse`"


class ClientPicture(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one client."""

    client: str
    inbox: str
    waiting: int | None  # names in the inbox that are uploads; None: it cannot be read
    status: ClientStatus | None  # None: the service is not running, or has not reported yet
    last_import: Import | None
    expected_s: float | None  # how often it should upload; None: whenever it likes

    def lateness(self, at: datetime) -> str:
        """Return in a sentence that an upload is overdue, "" when none is."""
        if self.status is None or not self.status.is_overdue:
            return ""
        if self.last_import is None:
            return f"{self.client}: no file has arrived yet."
        return f"{self.client}: no file has arrived for {age(self.last_import.finished_at, at)}."


class ServiceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the service and its clients."""

    is_running: bool
    has_failed: bool  # too often for systemd, or in a way that a restart does not cure
    is_config_outdated: bool  # config.toml has errors: the configuration is the one that the service last accepted
    at: datetime
    status: Status | None
    clients: tuple[ClientPicture, ...]
    database_trouble: str  # why nothing can be recorded
    maildir: str  # where mail is put that no server gets; "": a server is set
    mail_waiting: int
    mail_failing: int  # of those that wait: tried in vain
    mail_trouble: str  # why
    mail_dead: int
    unarchived: int

    @property
    def concerns(self) -> list[str]:
        """Return what needs attention, in sentences."""
        told: list[str] = []
        if not self.is_running:
            reset = "systemctl reset-failed rosterd && " if self.has_failed else ""
            told.append(f"The service is not running, so nothing is imported: `{reset}systemctl start rosterd`.")
        elif self.status is not None and (self.at - self.status.written_at).total_seconds() > _SILENCE_S:
            told.append(f"The service has not reported for {age(self.status.written_at, self.at)}: busy, or stuck.")
        if self.is_config_outdated:
            told.append(f"The configuration has errors; the service uses the previous one until it stops. {_DOCTOR}")
        if self.database_trouble:
            told.append(f"Nothing can be recorded, so uploads wait: {self.database_trouble}.")
        told += [concern for client in self.clients for concern in _concerns_of(client)]
        told += [late for client in self.clients if (late := client.lateness(self.at))]
        if self.status is not None and self.status.ping_trouble:
            told.append(f"The heartbeat fails: {self.status.ping_trouble}.")
        if self.status is not None and self.status.mail_trouble:
            told.append(f"Mail cannot be sent and waits: {self.status.mail_trouble}. {_DOCTOR}")
        if self.mail_failing:
            mails = counted(self.mail_failing, "mail was", "mails were")
            told.append(f"{mails} not delivered and will be retried: {self.mail_trouble}. See `rosterd mail list`.")
        if self.mail_dead:
            told.append(f"{counted(self.mail_dead, 'mail was', 'mails were')} given up: see `rosterd mail list`.")
        return told


def _concerns_of(client: ClientPicture) -> list[str]:
    status = client.status
    if client.waiting is None:
        return [f"{client.client}: the inbox {client.inbox} cannot be read. {_DOCTOR}"]
    if status is None:
        return []
    told = [f"{client.client}: {status.trouble}. {_DOCTOR}"] if status.trouble else []
    if status.deferred:
        told.append(f"{client.client}: files wait and will be retried: {status.deferred}. {_DOCTOR}")
    if not status.is_watched and not status.trouble:
        told.append(f"{client.client}: the inbox is not watched, only swept, so uploads are found late. {_DOCTOR}")
    if held := status.counts.get(State.HELD, 0):
        told.append(f"{client.client}: {counted(held, 'file is held', 'files are held')}: see {_HELD}.")
    return told


def _database_trouble(config: Config, told: Status | None) -> str:
    """Return why nothing can be recorded. A service that cannot write its status either does not say so itself."""
    what, remedy = obstacle(Path(config.service.database), owner_of(config.service.state_dir)[0])
    return f"{what}: {remedy}" if what else told.database_trouble if told is not None else ""


@click.command()
@service_config_option
@json_option
def status(config: Config, *, as_json: bool) -> None:
    """
    Show how the service and each client are doing.

    Exits with 0 when all is well, 1 when something needs attention, 2 when that cannot be known.
    """
    summary = _summary(config)
    if as_json:
        print_json({"concerns": summary.concerns, **msgspec.structs.asdict(summary)})
    else:
        _print_summary(summary)
    sys.exit(EXIT_NEEDS_A_LOOK if summary.concerns else 0)


def _summary(config: Config) -> ServiceSummary:
    is_running = is_locked(config.service.state_dir)
    told = read_status(config.service.state_dir) if is_running else None
    known = {client.client: client for client in told.clients} if told else {}
    accepts = Names(config.intake.pattern)
    with database(config) as conn:
        failing, trouble = queries.failing_mail(conn)
        return ServiceSummary(
            is_running=is_running,
            has_failed=not is_running and _has_failed(),
            is_config_outdated=config.is_outdated,
            at=datetime.now(UTC),
            status=told,
            clients=tuple(
                ClientPicture(
                    client=client.name,
                    inbox=client.inbox,
                    waiting=_count_uploads(client.inbox, accepts),
                    status=known.get(client.name),
                    last_import=queries.last_import(conn, client.name),
                    expected_s=client.expected_s,
                )
                for client in config.clients
            ),
            database_trouble=_database_trouble(config, told),
            maildir="" if config.mail.host else config.mail.maildir,
            mail_waiting=queries.count_mails(conn, "waiting"),
            mail_failing=failing,
            mail_trouble=trouble,
            mail_dead=queries.count_mails(conn, "dead"),
            unarchived=queries.count_unarchived(conn),
        )


def _has_failed() -> bool:
    """Return whether systemd has given the service up; without systemd the answer is no."""
    try:
        return "failed" in steps.run(("systemctl", "show", steps.SERVICE, "--property=ActiveState"))
    except steps.StepFailed:
        return False


def _count_uploads(inbox: str, names: Names) -> int | None:
    try:
        return sum(map(names.accept, os.listdir(os.fsencode(inbox))))
    except OSError:
        return None


def _print_summary(summary: ServiceSummary) -> None:
    click.echo("\n".join(summary.concerns) or "All is well.")
    click.echo()
    told = summary.status
    print_fields(
        [
            ("service", "running" if summary.is_running else "not running"),
            ("since", told and f"{age(told.started_at, summary.at)}, process {told.pid}"),
            ("watcher restarts", told and told.watch_restarts),
            (
                "mail",
                summary.maildir and f"no SMTP server is configured: only stored in {summary.maildir}",
            ),
            ("mail waiting", summary.mail_waiting),
            ("mail given up", summary.mail_dead),
            ("not yet archived", summary.unarchived),
        ]
    )
    click.echo()
    header = ("client", "inbox", "last sweep", "waiting", "in progress", "last import", "ago", "outcome")
    rows = [_client_row(client, summary.at) for client in summary.clients]
    print_table(header, rows, empty="No client is configured.")
    files = [
        (
            client.client,
            file.file,
            file.state,
            file.size_bytes,
            age(file.since, summary.at),
            _decided(file.until, summary),
            file.reason.replace("_", " "),
        )
        for client in (told.clients if told else ())
        for file in client.files
    ]
    if files:
        click.echo()
        print_table(
            ("client", "waiting file", "state", "bytes", "unchanged for", "decided in", "because"), files, empty=""
        )


def _client_row(client: ClientPicture, at: datetime) -> tuple[object, ...]:
    status, last = client.status, client.last_import
    if client.waiting is None or (status and status.trouble):
        inbox = "unusable"
    elif status is None:
        inbox = "?"
    else:
        inbox = "watched" if status.is_watched else "swept"
    return (
        client.client,
        inbox,
        age(status.swept_at, at) if status and status.swept_at else "",
        client.waiting,
        status.claims if status else "",
        last.file if last else "none yet",
        age(last.finished_at, at) if last else "",
        last.outcome if last else "",
    )


def _decided(until: datetime | None, summary: ServiceSummary) -> str:
    return age(summary.at, until) if until else ""
