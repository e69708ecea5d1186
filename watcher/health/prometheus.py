"""
Metrics in the text format of Prometheus. The only user of its library.

Nothing is counted during the work: every metric is read from the ledger and from the status file when it is scraped.
So metrics survive restarts, and scraping cannot disturb the work loop.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
import os
import platform
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Final

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from importer.durable import discard_unfinished, replace
from importer.model import Outcome, Tally
from importer.store import queries
from importer.store.connection import Connection
from importer.store.errors import StoreError, StoreUnusable
from importer.store.roster import held_files
from importer.store.sqlite.connection import VERSION as SQLITE_VERSION
from importer.store.tables import hooks as hook_events
from importer.store.tables.hooks import HookCounts
from watcher.health.checks.results import BACKUP, CHECKS, DOCTOR, last_run
from watcher.health.http_endpoint import Endpoint
from watcher.health.metrics_source import Source
from watcher.health.status import ClientStatus, State, Status, read_status
from watcher.lock import is_locked
from watcher.settings import MetricsSettings

log = structlog.get_logger()

_TEXTFILE_INTERVAL_S: Final = 30.0
_BUCKETS_S: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 1800.0)  # the ledger has whole seconds


class Figures(Collector):
    """Reads all metrics again at each collection."""

    def __init__(self, source: Callable[[], Source]) -> None:
        self._source_now = source

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics. What cannot be read is left out, so that an alert on its absence fires."""
        source = self._source_now()
        labels = (importlib.metadata.version("rosterd"), platform.python_version(), SQLITE_VERSION)
        yield _gauge("build_info", "Versions", [(labels, 1)], "version", "python", "sqlite")
        with contextlib.suppress(OSError):
            is_running = is_locked(source.state_dir)
            yield _gauge("daemon_running", "1 while a daemon holds the state directory", [((), is_running)])
            status = read_status(source.state_dir) if is_running else None
            if status is not None:
                yield from _status_figures(status)
        with contextlib.suppress(StoreError, StoreUnusable), source.database.reading() as conn:
            yield from _ledger_figures(conn, source.clients)
            yield from _on_hold_figures(conn, source.clients)
            yield from _mail_figures(conn, source.clients)
            yield from _hook_figures(conn, source.hooks)
            yield _gauge("mail_by_smtp", "0 while mail is only put into the Maildir", [((), source.is_mail_sent)])
        yield from _check_figures(source.state_dir)
        yield from _pgp_figures(source.state_dir)
        yield from _backup_figures(source.state_dir)
        expected = [((client,), seconds) for client, seconds in source.expected_s.items()]
        yield _gauge("upload_expected_seconds", "A client should upload at least this often", expected, "client")


def as_text(source: Source) -> bytes:
    """Return all metrics in the text format."""
    return generate_latest(_registry(lambda: source))


def _registry(source: Callable[[], Source]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Figures(source))
    return registry


class Exporter:
    """
    Serves the metrics by HTTP and keeps the textfile fresh, on separate threads.

    `source` is called at each collection: a reload may change what is expected of clients.
    """

    def __init__(self, settings: MetricsSettings, source: Callable[[], Source]) -> None:
        self._settings = settings
        self._registry = _registry(source)
        self._over = threading.Event()
        self._is_failing = False
        self._writer = threading.Thread(target=self._write, name="metrics-textfile", daemon=True)
        self._endpoint = Endpoint(self._text, CONTENT_TYPE_LATEST)

    def start(self) -> None:
        """Start. Raises OSError when it cannot listen on the address."""
        if self._settings.listen:
            host, _, port = self._settings.listen.rpartition(":")
            self._endpoint.start(host.strip("[]"), int(port))
        if self._settings.textfile:
            self._writer.start()

    @property
    def port(self) -> int:
        """Return the port that it listens on, 0 for none."""
        return self._endpoint.port

    def close(self) -> None:
        """End."""
        self._over.set()
        self._endpoint.close()
        if self._writer.is_alive():
            self._writer.join()

    def _text(self) -> bytes | None:
        """Return all metrics; None, reported once, when a bug prevents reading them."""
        try:
            text = generate_latest(self._registry)
        except Exception as error:
            if not self._is_failing:
                log.error("metrics.failed", exc_info=error)
            self._is_failing = True
            return None
        self._is_failing = False
        return text

    def _write(self) -> None:
        is_refused = False
        with contextlib.suppress(OSError):  # it is reported below
            discard_unfinished(os.path.dirname(self._settings.textfile))
        while True:
            try:
                if text := self._text():
                    replace(self._settings.textfile, text, mode=0o644)  # for the node exporter to read
                is_refused = False
            except OSError as error:
                if not is_refused:
                    log.warning("metrics.refused", reason=str(error))
                is_refused = True
            if self._over.wait(_TEXTFILE_INTERVAL_S):
                return


# The metrics

_Samples = Iterable[tuple[tuple[str, ...], float]]  # values of the labels, value


def _gauge(name: str, documentation: str, samples: _Samples, *labels: str) -> Metric:
    family = GaugeMetricFamily(f"rosterd_{name}", documentation, labels=labels)
    for values, figure in samples:
        family.add_metric(values, figure)
    return family


def _counter(name: str, documentation: str, samples: _Samples, *labels: str) -> Metric:
    family = CounterMetricFamily(f"rosterd_{name}", documentation, labels=labels)
    for values, figure in samples:
        family.add_metric(values, figure)
    return family


def _at(moment: datetime) -> float:
    return moment.timestamp()


def _ledger_figures(conn: Connection, clients: Iterable[str]) -> Iterator[Metric]:
    """Yield what is recorded. Counters begin at 0, else the first refusal of a client would be no increase."""
    totals = {(t.client, t.outcome): t for t in queries.totals(conn)}
    names = sorted({*clients, *(client for client, _ in totals)})
    ends = [(name, str(outcome)) for name in names for outcome in Outcome if outcome is not Outcome.ON_HOLD]
    uploads = [(end, totals[end].uploads if end in totals else 0) for end in ends]
    yield _counter("uploads", "Files dealt with", uploads, "client", "outcome")
    sizes = [(end, totals[end].size_bytes if end in totals else 0) for end in ends]
    yield _counter("uploaded_bytes", "Bytes of files dealt with", sizes, "client", "outcome")
    # One sample for each client and outcome of rows, for files of every outcome.
    rows = dict.fromkeys(itertools.product(names, Tally.OF_ROWS), 0)
    for total, outcome in itertools.product(totals.values(), Tally.OF_ROWS):
        rows[total.client, outcome] += getattr(total, outcome)
    yield _counter("rows", "Rows of files dealt with", rows.items(), "client", "outcome")
    left = dict.fromkeys(((name,) for name in names), 0)
    for total in totals.values():
        left[total.client,] += total.deactivated
    yield _counter(
        "deactivated_users",
        "Users who became inactive: missing from a snapshot, or by their status",
        left.items(),
        "client",
    )
    last = [(end, _at(total.last_finished_at)) for end, total in totals.items()]
    yield _gauge("last_upload_timestamp_seconds", "When a file was last dealt with", last, "client", "outcome")
    unarchived = queries.unarchived_by_client(conn)
    files = [((name,), unarchived.get(name, 0)) for name in sorted({*names, *unarchived})]
    yield _gauge("unarchived_files", "Files recorded that are not known to lie in .bak yet", files, "client")
    yield _durations(conn)


def _durations(conn: Connection) -> Metric:
    counts, sum_s = queries.durations(conn, _BUCKETS_S)
    buckets = list(zip([*map(str, _BUCKETS_S), "+Inf"], counts, strict=True))
    name, text = "rosterd_import_duration_seconds", "From the claim of a file to its end"
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=sum_s)


def _on_hold_figures(conn: Connection, clients: Iterable[str]) -> Iterator[Metric]:
    """Yield which files and removals wait for an approval, and since when the oldest of each client does."""
    waiting = held_files.waiting(conn)
    counts = Counter((held.client, held.kind) for held in waiting)
    users = Counter(dict.fromkeys(clients, 0))
    for held in waiting:
        users[held.client] += held.users
    since = {(held.client, held.kind): _at(held.held_at) for held in reversed(waiting)}
    ends = [(name, kind) for name in sorted({*users}) for kind in ("file", "removals")]
    yield _gauge("on_hold", "Files and removals on hold", [(end, counts[end]) for end in ends], "client", "kind")
    oldest = "Since when the oldest of them is on hold"
    yield _gauge("on_hold_since_timestamp_seconds", oldest, since.items(), "client", "kind")
    missing = [((name,), count) for name, count in sorted(users.items())]
    yield _gauge("removals_on_hold_users", "Users who are missing from a snapshot on hold", missing, "client")


def _mail_figures(conn: Connection, clients: Iterable[str]) -> Iterator[Metric]:
    counts = {state: queries.mails_by_client(conn, state) for state in ("waiting", "dead")}
    # Those without a client are for the operator.
    names = sorted({"", *clients, *(client for by_client in counts.values() for client in by_client)})
    mails = [((name, state), by_client.get(name, 0)) for state, by_client in counts.items() for name in names]
    yield _gauge("mails", "Mails not sent", mails, "client", "state")
    sent, failing = queries.mails_sent(conn), queries.mails_failing(conn)
    sent_mails = [((name,), sent.get(name, 0)) for name in sorted({*names, *sent})]
    yield _counter("mails_sent", "Mails sent", sent_mails, "client")
    waiting = [((name,), failing.get(name, 0)) for name in names]
    yield _gauge("mails_failing", "Mails that wait after a failed try", waiting, "client")
    oldest = queries.oldest_waiting_mail(conn)
    if oldest is not None:
        description = "When the longest-waiting mail was written"
        yield _gauge("mail_waiting_since_timestamp_seconds", description, [((), _at(oldest))])


def _hook_figures(conn: Connection, hooks: Iterable[str]) -> Iterator[Metric]:
    """Yield counts of events for webhooks, also for webhooks that are no longer configured."""
    counts = {**{hook: HookCounts() for hook in hooks}, **hook_events.counts(conn)}
    totals = [((hook,), each.sent) for hook, each in counts.items()]
    yield _counter("hook_events_sent", "Events that the hook has taken", totals, "hook")
    failed = [((hook,), each.failed) for hook, each in counts.items()]
    yield _counter("hook_attempts_failed", "Attempts that failed", failed, "hook")
    states = [
        ((hook, state), count)
        for hook, each in counts.items()
        for state, count in (("waiting", each.waiting), ("dead", each.dead))
    ]
    yield _gauge("hook_events", "Events not sent", states, "hook", "state")
    since = [((hook,), _at(each.waiting_since)) for hook, each in counts.items() if each.waiting_since]
    yield _gauge("hook_waiting_since_timestamp_seconds", "When the longest-waiting event was queued", since, "hook")


def _check_figures(state_dir: str) -> Iterator[Metric]:
    """Yield what commands found that check the host and the archives, when they last ran to be recorded."""
    for check in CHECKS:
        if run := last_run(state_dir, check):
            problems = [((severity,), count) for severity, count in run.problems.items()]
            yield _gauge(f"{check}_problems", f"What rosterd {check} found wrong", problems, "severity")
            yield _gauge(f"{check}_timestamp_seconds", f"When rosterd {check} last ran", [((), _at(run.at))])


def _pgp_figures(state_dir: str) -> Iterator[Metric]:
    """Yield when our key for encrypted uploads expires, as doctor last read it: nothing if it never does."""
    run = last_run(state_dir, DOCTOR)
    if run and run.pgp_key_expires_at:
        expires = [((), _at(run.pgp_key_expires_at))]
        yield _gauge("pgp_key_expiry_timestamp_seconds", "When our key for encrypted uploads expires", expires)


def _backup_figures(state_dir: str) -> Iterator[Metric]:
    """Yield when the last backup was made; nothing before the first one, so that its absence can be alerted on."""
    if run := last_run(state_dir, BACKUP):
        yield _gauge("backup_timestamp_seconds", "When rosterd backup last made one", [((), _at(run.at))])


def _status_figures(status: Status) -> Iterator[Metric]:
    yield _gauge("started_timestamp_seconds", "When the daemon started", [((), _at(status.started_at))])
    yield _gauge("status_timestamp_seconds", "When the work loop last reported", [((), _at(status.written_at))])
    yield _counter("watch_restarts", "Times that events had stopped arriving", [((), status.watch_restarts)])
    yield _gauge("database_writable", "1 while the database can be written", [((), not status.database_trouble)])
    clock = "By how much the clock is ahead of that of the file system of an inbox, the most of all"
    yield _gauge("clock_ahead_seconds", clock, [((), status.clock_ahead_s)])
    reloaded = [((), not status.reload_trouble)]
    yield _gauge("config_last_reload_successful", "0 while an old configuration is in use", reloaded)
    yield _gauge("mail_usable", "1 while mail can leave, as far as this host knows", [((), not status.mail_trouble)])
    for client_figures in (_inbox_figures, _waiting_figures, _check_folder_figures):
        yield from client_figures(status.clients)


def _inbox_figures(clients: Iterable[ClientStatus]) -> Iterator[Metric]:
    watched = [((c.client,), c.is_watched) for c in clients]
    yield _gauge("inbox_watched", "1 while events of the inbox are received", watched, "client")
    usable = [((c.client,), not c.trouble) for c in clients]
    yield _gauge("inbox_usable", "1 while the inbox can be used", usable, "client")
    overdue = [((c.client,), c.is_overdue) for c in clients]
    yield _gauge("upload_overdue", "1 while no file has come within expect_every", overdue, "client")
    used = [((c.client,), c.used_bytes) for c in clients if c.used_bytes is not None]
    yield _gauge("inbox_bytes", "Bytes of the files that stay in an inbox that has a limit", used, "client")
    limits = [((c.client,), c.max_inbox_bytes) for c in clients if c.max_inbox_bytes]
    yield _gauge("inbox_limit_bytes", "max_inbox_bytes of the client", limits, "client")
    deferred = [((c.client,), bool(c.deferred)) for c in clients]
    yield _gauge("imports_deferred", "1 while the host keeps files from being imported", deferred, "client")
    swept = [((c.client,), _at(c.swept_at)) for c in clients if c.swept_at is not None]
    yield _gauge("last_sweep_timestamp_seconds", "When the inbox was last listed", swept, "client")
    durations = [((c.client,), c.sweep_s) for c in clients]
    yield _gauge("sweep_duration_seconds", "How long the last sweep took", durations, "client")


def _waiting_figures(clients: Iterable[ClientStatus]) -> Iterator[Metric]:
    waiting = [((c.client, state), c.counts.get(state, 0)) for c in clients for state in State]
    yield _gauge("files_waiting", "Names in the inbox that are not taken yet", waiting, "client", "state")
    since = [
        ((c.client,), _at(min(moments)))
        for c in clients
        if (moments := [file.since for file in c.files if file.state not in (State.IGNORED, State.STRAY)])
    ]
    yield _gauge("file_waiting_since_timestamp_seconds", "Last change of the file that waits longest", since, "client")
    claims = [((c.client,), c.claims) for c in clients]
    yield _gauge("claims", "Files taken and not archived yet", claims, "client")


def _check_folder_figures(clients: Iterable[ClientStatus]) -> Iterator[Metric]:
    folders = [(c.client, c.check_folder) for c in clients if c.check_folder is not None]
    answered = [((name, outcome), f.answered.get(outcome, 0)) for name, f in folders for outcome in Outcome]
    yield _counter("checks", "Files in the folder check that were answered", answered, "client", "outcome")
    waiting = [((name,), folder.waiting) for name, folder in folders]
    yield _gauge("checks_waiting", "Files in the folder check that are not answered yet", waiting, "client")
