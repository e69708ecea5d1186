"""`rosterd verify`: compares the promises with the disk and the database. Changes nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import click
import msgspec

from importer.model import printable
from importer.settings import ClientSettings
from importer.store import integrity, retention
from importer.store.connection import stamp, stored
from importer.store.integrity import Finding, Record
from importer.store.sqlite.damage import database_findings
from operate.database import database
from operate.folders import Folders, opened
from operate.options import json_option, record_option, service_config_option, steps_bar
from operate.output import counted, print_json
from watcher.health.checks.results import record_run
from watcher.lock import is_locked
from watcher.settings import Config

EXIT_NEEDS_ATTENTION: Final = 1
EXIT_BROKEN: Final = 2
_BYTES_PER_IMPORT: Final = 8192  # to look at a file takes as long as to read this much
_LONG_WORK_BYTES: Final = 256 << 20  # half a second
_LONG_QUICK_IMPORTS: Final = 30_000  # likewise, without reading them: 100,000 take 2.5 s
_RECHECK_AFTER_S: Final = 2.0  # after it, what the service is doing now has changed


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked, and which promises are not kept."""

    imports: int
    clients: int
    is_running: bool
    findings: list[Finding]

    @property
    def exit_code(self) -> int:
        """Return 0, or the severity of the worst finding."""
        if any(finding.is_grave for finding in self.findings):
            return EXIT_BROKEN
        return EXIT_NEEDS_ATTENTION if self.findings else 0


@click.command()
@click.option("--quick", is_flag=True, help="Compare only sizes and times of archives, and not all users.")
@record_option
@service_config_option
@json_option
def verify(config: Config, *, quick: bool, is_recorded: bool, as_json: bool) -> None:
    """
    Check that nothing was lost, duplicated or damaged.

    Compares ledger, users and outbox with each other and with the folders of each client; changes nothing. Exits with
    0 when every promise is kept, 1 when something needs attention, 2 when one is broken or cannot be checked.
    """
    audit = _audit(config, quick=quick)
    if is_recorded:
        broken = sum(finding.is_grave for finding in audit.findings)
        record_run(config.service.state_dir, "verify", {"warning": len(audit.findings) - broken, "fault": broken})
    if as_json:
        print_json(audit)
    else:
        click.echo(_as_text(audit, quick=quick))
    sys.exit(audit.exit_code)


def _audit(config: Config, *, quick: bool) -> Audit:
    is_running = is_locked(config.service.state_dir)
    imports, findings = _look(config, is_running=is_running, quick=quick)
    if findings and is_running:
        time.sleep(_RECHECK_AFTER_S)
        imports, later = _look(config, is_running=is_running, quick=quick)
        findings = [finding for finding in findings if finding in later]
    return Audit(imports=imports, clients=len(config.clients), is_running=is_running, findings=findings)


def _look(config: Config, *, is_running: bool, quick: bool) -> tuple[int, list[Finding]]:
    """Return how many imports there are and what is wrong at this moment."""
    with database(config) as conn:
        findings = [] if quick or config.service.place.file is None else list(database_findings(conn))
        findings += integrity.ledger_findings(conn, quick=quick)
        findings += integrity.outbox_findings(conn, datetime.now(UTC))
        ledger = integrity.records(conn)
    by_client: dict[str, list[Record]] = {}
    for record in ledger:
        by_client.setdefault(record.client, []).append(record)
    work = sum(map(_work_of, ledger))
    is_long = len(ledger) >= _LONG_QUICK_IMPORTS if quick else work >= _LONG_WORK_BYTES
    with steps_bar(work, "archives", is_long=is_long) as advance:
        for client in config.clients:
            own = _advancing(by_client.get(client.name, []), advance)
            kept_since = _kept_since(config, client)
            findings += _client_findings(client, own, kept_since=kept_since, is_running=is_running, quick=quick)
    findings += _left_unchecked(ledger, set(config.clients_by_name))
    return len(ledger), findings


def _work_of(record: Record) -> int:
    """Return how many bytes take as long to read as the files of an import to check."""
    return _BYTES_PER_IMPORT + (0 if record.is_purged else record.size_bytes)


def _advancing(records: Iterable[Record], advance: Callable[[int], None]) -> Iterator[Record]:
    """Yield the records, and advance by each once it was dealt with."""
    for record in records:
        yield record
        advance(_work_of(record))


def _kept_since(config: Config, client: ClientSettings) -> str:
    """Return since when all archives of a client must exist; "" means always."""
    days = retention.days_of(client, config.retention)
    return stamp(datetime.now(UTC) - timedelta(days=days)) if days else ""


def _client_findings(
    client: ClientSettings, ledger: Iterable[Record], *, kept_since: str, is_running: bool, quick: bool
) -> Iterator[Finding]:
    try:
        with opened(client.inbox) as folders:
            yield from _folder_findings(
                client.name, ledger, folders, kept_since=kept_since, is_running=is_running, quick=quick
            )
    except OSError as error:
        text = f"The folders of {client.inbox} cannot be checked: {error.strerror}."
        yield Finding(check="inbox.unusable", client=client.name, text=text)


def _folder_findings(
    client: str, ledger: Iterable[Record], folders: Folders, *, kept_since: str, is_running: bool, quick: bool
) -> Iterator[Finding]:
    archived, claims = folders.archived(), folders.claims()
    known: set[bytes] = set()
    known_claims: set[bytes] = set()
    for record in ledger:
        yield from _record_findings(record, folders, archived, claims, kept_since=kept_since, quick=quick)
        known.update((record.archive, *record.answers))
        known_claims.add(record.claim_id.encode())
    unknown = archived - known
    # Next to an archive its sidecar is stored, "users.20261122T074205Z.csv.sha256".
    for name in sorted(name for name in unknown if name.rpartition(b".")[0] not in known):
        text = f"{printable(name)} is in .bak, but belongs to no import. Was it put there, or the database replaced?"
        yield Finding(check="archive.unknown", client=client, text=text)
    if not is_running:
        for claim in sorted(claims - known_claims):
            text = f"Claim {printable(claim)} waits in .work to be imported. Start the service."
            yield Finding(check="claim.waiting", client=client, text=text, is_grave=False)


def _record_findings(
    record: Record, folders: Folders, archived: set[bytes], claims: set[bytes], *, kept_since: str, quick: bool
) -> Iterator[Finding]:
    """Yield what is wrong with the files of one import."""
    name = printable(record.archive)
    if record.is_purged:
        for left in sorted(archived & {record.archive, *record.answers}):
            text = f"{record}: was purged, but {printable(left)} is in .bak again. Delete it."
            yield Finding(check="archive.returned", client=record.client, text=text, is_grave=False)
    elif record.archive in archived:
        yield from _archive_findings(record, folders, quick=quick)
        for answer in record.due_answers:
            if answer not in archived:
                text = f"{record}: its answer {printable(answer)} is not in .bak."
                yield Finding(check="answer.missing", client=record.client, text=text, is_grave=False)
    elif record.claim_id.encode() in claims:
        text = f"{record}: recorded, but its file is still in .work. The service moves it at its next start or sweep."
        yield Finding(check="archive.pending", client=record.client, text=text, is_grave=False)
    elif record.finished_at < kept_since:
        text = f"{record}: its file is gone, at an age to be purged, but not marked so. The next purge marks it."
        yield Finding(check="archive.unmarked", client=record.client, text=text, is_grave=False)
    else:
        text = f"{record}: its file is neither in .bak, as {name}, nor in .work. Restore it from a backup if you can."
        yield Finding(check="archive.missing", client=record.client, text=text)


def _archive_findings(record: Record, folders: Folders, *, quick: bool) -> Iterator[Finding]:
    name = printable(record.archive)
    info = folders.status(record.archive)
    size_bytes = info.st_size if info else None
    if size_bytes != record.size_bytes:
        text = f"{record}: {name} in .bak has {size_bytes} bytes; expected {record.size_bytes}."
        yield Finding(check="archive.changed", client=record.client, text=text)
    elif quick and info and record.mtime_ns and stored(info.st_mtime_ns) != record.mtime_ns:
        text = f"{record}: the time of {name} in .bak differs from what was recorded. `rosterd verify` reads it."
        yield Finding(check="archive.touched", client=record.client, text=text, is_grave=False)
    elif not quick and record.sha256 and folders.sha256(record.archive) != record.sha256:
        text = f"{record}: the content of {name} in .bak differs from what was recorded."
        yield Finding(check="archive.changed", client=record.client, text=text)
    elif not record.is_archived:
        text = f"{record}: {name} is in .bak but not marked so. The service marks it at its next start or sweep."
        yield Finding(check="archive.unmarked", client=record.client, text=text, is_grave=False)


def _left_unchecked(ledger: Iterable[Record], configured: set[str]) -> Iterator[Finding]:
    for client in sorted({record.client for record in ledger} - configured):
        text = f"The client {client} is no longer configured, so its archives were not checked."
        yield Finding(check="client.unknown", client=client, text=text, is_grave=False)


def _as_text(audit: Audit, *, quick: bool) -> str:
    lines = [f"{_where(finding)}{finding.text}" for finding in audit.findings]
    depth = "sizes and times only" if quick else "contents compared"
    imports, clients = counted(audit.imports, "import", "imports"), counted(audit.clients, "client", "clients")
    checked = f"Checked {imports} of {clients}, {depth}: "
    if not lines:
        return checked + "nothing is lost, duplicated or damaged."
    grave = sum(finding.is_grave for finding in audit.findings)
    return "\n".join(
        [*lines, f"{checked}{counted(grave, 'promise', 'promises')} broken, {len(lines) - grave} to look at."]
    )


def _where(finding: Finding) -> str:
    return f"{'BROKEN' if finding.is_grave else 'look'}: {f'{finding.client}: ' if finding.client else ''}"
