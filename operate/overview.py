"""`rosterd status`: how the service and each client are doing. Only reads, whether the service runs or not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import click
import msgspec

from importer.model import OnHold
from importer.store import queries
from importer.store.connection import Connection
from importer.store.queries import Host, Import
from importer.store.roster import held_files, pauses
from importer.store.roster.pauses import Freeze, Pause
from operate.database import database
from operate.options import json_option, service_config_option
from operate.output import age, counted, print_fields, print_json, print_table, shown_size
from watcher.health.checks.results import DOCTOR, CheckRun, last_run
from watcher.health.obstacle import full_disk, obstacle
from watcher.health.status import IDLE_INTERVAL_S, ClientStatus, State, Status, read_status
from watcher.inbox.settle import Names
from watcher.lock import is_locked
from watcher.owner import owner_of
from watcher.settings import Config

EXIT_NEEDS_ATTENTION: Final = 1
_SILENCE_S: Final = 10 * IDLE_INTERVAL_S  # a work loop that has not reported for this long may be stuck
_MAX_CAUSES: Final = 3
_DOCTOR_LASTS_S: Final = 3600
_STRAY_IS_NEW: Final = timedelta(days=1)
_DOCTOR: Final = "`rosterd doctor` says what to do."
_HELD: Final = "`rosterd release` and `rosterd refuse`"


class ClientSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one client."""

    client: str
    inbox: str
    waiting: int | None  # names in the inbox that are uploads; None: it cannot be read
    status: ClientStatus | None  # None: the service is not running, or has not reported yet
    last_import: Import | None
    expected_s: float | None  # how often it should upload; None: not expected

    def overdue_sentence(self, at: datetime) -> str:
        """Return in a sentence that an upload is overdue, "" when none is."""
        if self.status is None or not self.status.is_overdue:
            return ""
        if self.last_import is None:
            return f"{self.client}: no file has arrived yet."
        return f"{self.client}: no file has arrived for {age(self.last_import.finished_at, at)}."


class FileOnHold(msgspec.Struct, frozen=True, kw_only=True):
    """One file that waits for an approval, or users who are missing from one and stay active until then."""

    id: int  # of its import
    kind: str  # "file" or "removals"
    client: str
    file: str
    since: datetime
    until: datetime  # then it is given up
    guards: tuple[str, ...]  # which limits it is above
    changes: int  # above them, all together; users who are missing

    @property
    def concern(self) -> str:
        """Return in a sentence what waits, and how it is decided."""
        if self.kind == "file":
            return (
                f"{self.client}: {self.file} is on hold: `rosterd preview {self.id}` shows what it would change, "
                f"`rosterd approve {self.id} --client {self.client}` and `rosterd reject {self.id} --client "
                f"{self.client}` decide."
            )
        users, decide = counted(self.changes, "user is", "users are"), _decide(self.id, self.client)
        return f"{self.client}: {users} missing from {self.file} and active until you decide: {decide}."


class FrozenFeed(msgspec.Struct, frozen=True, kw_only=True):
    """A feed of which no file is imported from a day through a day."""

    client: str
    feed: str  # "": that of all files that belong to no other
    first: str
    last: str


class ServiceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the service and its clients."""

    is_running: bool
    has_failed: bool  # too often for systemd, or for a reason that a restart does not cure
    is_config_outdated: bool  # config.toml has errors: the configuration is the one that the service last accepted
    at: datetime
    status: Status | None
    clients: tuple[ClientSummary, ...]
    database_trouble: str  # why nothing can be recorded
    maildir: str  # where mail is stored without a server; "": a server is configured
    mail_waiting: int
    doctor: CheckRun | None  # what it found last, if that was recorded and is not long ago
    mail_failing: int  # waiting after failed tries
    mail_trouble: str  # why, in words
    mail_causes: dict[str, int]  # what went wrong with how many of them, most first
    mail_dead: int
    hook_failing: dict[str, dict[str, int]]  # what went wrong with how many events of which hook, most first
    hook_dead: dict[str, int]  # how many events of which hook were given up
    unarchived: int
    on_hold: tuple[FileOnHold, ...]
    pauses: tuple[Pause, ...]  # limits that do not count for a time
    frozen: tuple[FrozenFeed, ...]  # of which no file is imported for a time, now or later

    hosts: tuple[Host, ...] = ()  # that share a database on a server

    @property
    def concerns(self) -> list[str]:
        """Return what needs attention, in sentences."""
        return [*self._of_service(), *(file.concern for file in self.on_hold), *self._of_mail_and_checks()]

    @property
    def troubles(self) -> list[str]:
        """Return the same without files on hold: they wait for a decision, and the host has no fault."""
        return [*self._of_service(), *self._of_mail_and_checks()]

    def _of_service(self) -> list[str]:
        concerns: list[str] = []
        if not self.is_running:
            reset = "systemctl reset-failed rosterd && " if self.has_failed else ""
            concerns.append(f"The service is not running, so nothing is imported: `{reset}systemctl start rosterd`.")
        elif self.status is not None and (self.at - self.status.written_at).total_seconds() > _SILENCE_S:
            concerns.append(f"The service has not reported for {age(self.status.written_at, self.at)}: busy, or stuck.")
        concerns += self._config_concerns()
        if self.database_trouble:
            concerns.append(f"Nothing can be recorded, so uploads wait: {self.database_trouble}.")
        if self.status is not None and self.status.clock_trouble:
            concerns.append(f"The clock {self.status.clock_trouble}: `timedatectl`; set both clocks by NTP.")
        concerns += [concern for client in self.clients for concern in _concerns_of(client, self.at)]
        concerns += [f"The host {each.host} was last there {age(each.last_seen, self.at)} ago." for each in self.silent]
        return concerns

    @property
    def silent(self) -> list[Host]:
        """Return the hosts of which nothing was seen for some minutes."""
        return [each for each in self.hosts if each.is_silent(self.at)]

    def _of_mail_and_checks(self) -> list[str]:
        concerns = [late for client in self.clients if (late := client.overdue_sentence(self.at))]
        if self.status is not None and self.status.ping_trouble:
            concerns.append(f"The heartbeat fails: {self.status.ping_trouble}.")
        if self.status is not None and self.status.mail_trouble:
            concerns.append(f"Mail cannot be sent and waits: {self.status.mail_trouble}. {_DOCTOR}")
        if self.doctor is not None and self.doctor.problems.get("fault"):
            faults = counted(self.doctor.problems["fault"], "fault", "faults")
            words = "; ".join(self.doctor.faults)
            concerns.append(f"`rosterd doctor` found {faults} {age(self.doctor.at, self.at)} ago: {words}.")
        if self.mail_failing:
            mails = counted(self.mail_failing, "mail was", "mails were")
            concerns.append(f"{mails} not delivered and will be retried: {self.mail_trouble}. See `rosterd mail list`.")
        if self.mail_dead:
            concerns.append(f"{counted(self.mail_dead, 'mail was', 'mails were')} given up: see `rosterd mail list`.")
        return [*concerns, *self._hook_concerns]

    @property
    def _hook_concerns(self) -> Iterator[str]:
        """Yield what needs attention about webhooks."""
        if self.status is not None and self.status.hook_trouble:
            yield f"Events for webhooks wait: {self.status.hook_trouble}. {_DOCTOR}"
        for hook, causes in self.hook_failing.items():
            were = f"{counted(sum(causes.values()), 'event was', 'events were')} not taken by the hook {hook}"
            yield f"{were} and will be retried: {_trouble_of(causes)}. See `rosterd hook list`."
        for hook, count in self.hook_dead.items():
            yield f"{counted(count, 'event was', 'events were')} given up for the hook {hook}: see `rosterd hook list`."

    def _config_concerns(self) -> list[str]:
        if self.is_config_outdated and not self.is_running:
            return [f"The configuration has errors, so the service does not start. {_DOCTOR}"]
        if self.is_config_outdated:
            return [f"The configuration has errors; the service uses the previous one until it stops. {_DOCTOR}"]
        if self.status is not None and self.status.reload_trouble:
            reason = self.status.reload_trouble
            return [f"The service refused a reload, and uses the previous configuration: {reason}. {_DOCTOR}"]
        return []


def _concerns_of(client: ClientSummary, at: datetime) -> list[str]:
    status = client.status
    if client.waiting is None:
        return [f"{client.client}: the inbox {client.inbox} cannot be read. {_DOCTOR}"]
    if status is None:
        return []
    concerns = [f"{client.client}: {status.trouble}. {_DOCTOR}"] if status.trouble else []
    if status.deferred:
        concerns.append(f"{client.client}: files wait and will be retried: {status.deferred}. {_DOCTOR}")
    if not status.is_watched and not status.trouble:
        concerns.append(f"{client.client}: the inbox is not watched, only swept, so uploads are found late. {_DOCTOR}")
    if status.used_bytes is not None and status.used_bytes > status.max_inbox_bytes:
        used, limit = shown_size(status.used_bytes), shown_size(status.max_inbox_bytes)
        sizes = f"{used} of files stay in the inbox; max_inbox_bytes is {limit}"
        concerns.append(f"{client.client}: {sizes}: new files are refused.")
    if held := status.counts.get(State.HELD, 0):
        concerns.append(f"{client.client}: {counted(held, 'file is held', 'files are held')}: see {_HELD}.")
    # Older ones are in the table alone: only the client can remove them.
    new = [each for each in status.files if each.state is State.STRAY and at - each.since < _STRAY_IS_NEW]
    if new:
        files, others = counted(len(new), "file is", "files are"), " and others" if new[1:] else ""
        concerns.append(f"{client.client}: {files} not imported because of name or folder: {new[0].file}{others}.")
    return concerns


def _database_trouble(config: Config, status: Status | None) -> str:
    """Return why nothing can be recorded. Checked here, too: the service may be unable to write its status."""
    told, file = status.database_trouble if status is not None else "", config.service.place.file
    if file is None:
        return told
    what, remedy = obstacle(file, owner_of(config.service.state_dir)[0])
    return f"{what}: {remedy}" if what else told or full_disk(str(file.parent))


@click.command()
@service_config_option
@json_option
def status(config: Config, *, as_json: bool) -> None:
    """
    Show how the service and each client are doing.

    Exits with 0 when all is well, 1 when something needs attention, 2 when that cannot be known.
    """
    with database(config) as conn:
        summary = summary_of(config, conn)
    if as_json:
        fields = msgspec.structs.asdict(summary)
        if not summary.hosts:
            del fields["hosts"]
        print_json({"concerns": summary.concerns, **fields})
    else:
        _print_summary(summary)
    sys.exit(EXIT_NEEDS_ATTENTION if summary.concerns else 0)


def summary_of(config: Config, conn: Connection, *, looks_into_inboxes: bool = True) -> ServiceSummary:
    """Return how service and clients are doing; unless inboxes are looked into, what waits there is as it last said."""
    is_running = is_locked(config.service.state_dir)
    status = read_status(config.service.state_dir) if is_running else None
    known = {client.client: client for client in status.clients} if status else {}
    accepts = Names(config.intake.pattern)
    causes = queries.failing_mail(conn)
    last = queries.last_imports(conn, [client.name for client in config.clients])
    return ServiceSummary(
        is_running=is_running,
        has_failed=not is_running and _has_failed(),
        is_config_outdated=config.is_outdated,
        at=datetime.now(UTC),
        status=status,
        clients=tuple(
            ClientSummary(
                client=client.name,
                inbox=client.inbox,
                waiting=_count_uploads(client.inbox, accepts)
                if looks_into_inboxes
                else _count_known(known.get(client.name)),
                status=known.get(client.name),
                last_import=last.get(client.name),
                expected_s=client.expected_s,
            )
            for client in config.clients
        ),
        database_trouble=_database_trouble(config, status),
        maildir="" if config.mail.is_sent else config.mail.maildir,
        mail_waiting=queries.count_mails(conn, "waiting"),
        doctor=_doctor(config.service.state_dir),
        mail_failing=sum(causes.values()),
        mail_trouble=_trouble_of(causes),
        mail_causes=causes,
        mail_dead=queries.count_mails(conn, "dead"),
        hook_failing=queries.failing_events(conn),
        hook_dead=queries.dead_events(conn),
        unarchived=queries.count_unarchived(conn),
        hosts=tuple(queries.hosts(conn)),
        on_hold=tuple(map(_on_hold, held_files.waiting(conn))),
        pauses=tuple(pauses.active(conn, datetime.now(UTC))),
        frozen=tuple(_frozen(each, config.mail.timezone) for each in pauses.freezes(conn, datetime.now(UTC))),
    )


def _frozen(freeze: Freeze, timezone: str) -> FrozenFeed:
    first, last = freeze.days(timezone)
    return FrozenFeed(client=freeze.client, feed=freeze.feed, first=first, last=last)


def _decide(id_: int, client: str) -> str:
    return (
        f"`rosterd preview {id_} --csv` lists them, `rosterd approve {id_} --client {client}` deactivates them, "
        f"`rosterd reject {id_} --client {client}` keeps them active"
    )


def _doctor(state_dir: str) -> CheckRun | None:
    """Return what doctor found last; older results may be long mended."""
    run = last_run(state_dir, DOCTOR)
    return run if run and (datetime.now(UTC) - run.at).total_seconds() < _DOCTOR_LASTS_S else None


def _trouble_of(causes: dict[str, int]) -> str:
    """Return what goes wrong with mail; of several causes each with the number of mails."""
    if len(causes) <= 1:
        return next(iter(causes), "")
    most = list(causes.items())[:_MAX_CAUSES]
    others = sum(causes.values()) - sum(count for _, count in most)
    parts = [f"{count} because of {cause}" for cause, count in most]
    return "; ".join([*parts, *([f"{others} for other reasons"] if others else [])])


def _on_hold(held: OnHold) -> FileOnHold:
    return FileOnHold(
        id=held.import_id,
        kind=held.kind,
        client=held.client,
        file=held.file,
        since=held.held_at,
        until=held.held_at + timedelta(days=held.approval_days),
        guards=tuple(sorted({each.guard for each in held.tripped})),
        changes=held.users or sum(each.count for each in held.tripped),
    )


def _has_failed() -> bool:
    """Return whether systemd has given the service up; without systemd the answer is no."""
    from operate.provision import steps  # with subprocess, 3 ms: only when the service does not run

    try:
        return "failed" in steps.run(("systemctl", "show", steps.SERVICE, "--property=ActiveState"))
    except steps.StepFailed:
        return False


def _count_known(status: ClientStatus | None) -> int:
    return sum(count for state, count in status.counts.items() if state != State.IGNORED) if status else 0


def _count_uploads(inbox: str, names: Names) -> int | None:
    try:
        return sum(map(names.accept, os.listdir(os.fsencode(inbox))))
    except OSError:
        return None


def _print_summary(summary: ServiceSummary) -> None:
    click.echo("\n".join(summary.concerns) or "All is well.")
    click.echo()
    status = summary.status
    print_fields(
        [
            ("service", "running" if summary.is_running else "not running"),
            ("since", status and f"{age(status.started_at, summary.at)}, process {status.pid}"),
            ("watcher restarts", status and status.watch_restarts),
            (
                "mail",
                summary.maildir and f"no SMTP server is configured: only stored in {summary.maildir}",
            ),
            ("mail waiting", summary.mail_waiting),
            ("mail given up", summary.mail_dead),
            ("not yet archived", summary.unarchived),
            *(("files to check", f"{count} of {name}") for name, count in _files_to_check(status)),
            *(("limit paused", f"{each.guard} of {each.client} through {each.last_day}") for each in summary.pauses),
            *(
                ("no import of", f"{each.feed or 'files'} of {each.client} from {each.first} through {each.last}")
                for each in summary.frozen
            ),
        ]
    )
    click.echo()
    header = ("client", "inbox", "last sweep", "waiting", "in progress", "last import", "ago", "outcome")
    rows = [_client_row(client, summary.at) for client in summary.clients]
    print_table(header, rows, empty="No client is configured.")
    if summary.on_hold:
        click.echo()
        rows = [
            (f.id, f.client, f.file, f.kind, age(f.since, summary.at), f.guards, f.changes, f.until)
            for f in summary.on_hold
        ]
        print_table(("id", "client", "on hold", "what", "for", "limits", "changes", "given up (UTC)"), rows, empty="")
    files = [
        (
            client.client,
            file.file,
            file.state,
            "" if file.size_bytes is None else file.size_bytes,
            age(file.since, summary.at),
            age(summary.at, file.until) if file.until else "",
            file.reason if file.state == State.BEHIND else file.reason.replace("_", " "),
        )
        for client in (status.clients if status else ())
        for file in client.files
    ]
    if files:
        click.echo()
        print_table(
            ("client", "waiting file", "state", "bytes", "unchanged for", "decided in", "because"), files, empty=""
        )


def _files_to_check(status: Status | None) -> Iterator[tuple[str, int]]:
    """Yield clients with files that wait in their folder `check`, and how many."""
    for client in status.clients if status is not None else ():
        if client.check_folder is not None and client.check_folder.waiting:
            yield client.client, client.check_folder.waiting


def _client_row(client: ClientSummary, at: datetime) -> tuple[object, ...]:
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
