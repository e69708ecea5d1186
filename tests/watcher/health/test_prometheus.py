from __future__ import annotations

import contextlib
import json
import re
import socket
import sqlite3
import stat
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from importer.model import Outcome
from importer.settings import ClientSettings
from importer.store.places import Place
from tests import REPOSITORY
from tests.lab import wait_until
from tests.lab.daemon import Rosterd
from watcher.config import load
from watcher.health import http_endpoint
from watcher.health.checks.results import BACKUP, CHECKS, DOCTOR, record_run
from watcher.health.http_endpoint import MAX_CONNECTIONS
from watcher.health.metrics_source import Source, source_of
from watcher.health.prometheus import Exporter, as_text
from watcher.health.status import CheckFolderStatus, ClientStatus, State, Status, WaitingFile, write_status
from watcher.lock import locked
from watcher.log import configured
from watcher.settings import Config, LogSettings, MetricsSettings

AT = datetime(2026, 11, 22, 7, 42, 5, tzinfo=UTC)
HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "1,OPSCOM,Ann,Lee,ann@school.example\n"
BAD = "2,OPSCOM,Bob,,bob\n"
Labels = frozenset[tuple[str, str]]

STATUS = Status(
    pid=1,
    started_at=AT,
    written_at=AT,
    watch_restarts=2,
    clients=(
        ClientStatus(
            client="acme",
            is_watched=True,
            swept_at=AT,
            sweep_s=0.25,
            claims=1,
            counts={State.HELD: 1},
            files=(WaitingFile(file="cut.csv", state=State.HELD, size_bytes=9, since=AT),),
            check_folder=CheckFolderStatus(waiting=2, answered={Outcome.PARTLY: 3}),
        ),
        ClientStatus(client="beta", is_watched=False, swept_at=None, sweep_s=0.0, trouble="ENOENT"),
    ),
)


HOOK_EVENT = (
    "INSERT INTO hook_events (event_id, hook, event, client, created_at, due_at, body) VALUES "
    "('evt_1', 'chat', 'mail.dead', '', '2026-11-22T07:42:05Z', '2026-11-22T07:42:05Z', '{}')"
)
ON_HOLD = (
    "INSERT INTO on_hold VALUES ('claim', 3, 'acme', '', 'users.csv', 0, 'K7Q2MD', '[]', '[]', '2026-11-22T07:42:05Z', "
    "7, 0, 0, '', '', NULL, 'file', 0, ''), ('other', 4, 'beta', 's', 's.csv', 0, 'K7Q2ME', '[]', '[]', "
    "'2026-11-22T07:42:05Z', 7, 0, 0, '', '', NULL, 'removals', 12, '')"
)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    """Yield where the figures of an installation come from that has imported and refused, and waits to send."""
    (tmp_path / "acme").mkdir()
    with Rosterd(tmp_path, {"acme": tmp_path / "acme"}) as installation:
        installation.drop("users.csv", HEADER + ANN + BAD)
        installation.drop("useless.csv", "nonsense\n1\n")
        assert installation.execute("sweep").returncode == 0
        installation.change("UPDATE outbox SET state = 'waiting', sent_at = NULL")
        installation.change(ON_HOLD)
        state_dir = str(tmp_path / "state")
        write_status(state_dir, STATUS)
        for check in CHECKS:
            record_run(state_dir, check, {"warning": 1, "fault": 0}, pgp_key_expires_at=AT)
        record_run(state_dir, BACKUP, {})
        installation.change(HOOK_EVENT)
        yield Source(
            state_dir=state_dir,
            database=Place(f"{state_dir}/rosterd.db"),
            clients=("acme", "beta"),
            expected_s={"acme": 3600.0},
            hooks=("chat", "tickets"),
        )


def figures(text: bytes) -> dict[tuple[str, Labels], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def figure(found: dict[tuple[str, Labels], float], name: str, **labels: str) -> float:
    return found[f"rosterd_{name}", frozenset(labels.items())]


def names(text: bytes) -> set[str]:
    return {name for name, _ in figures(text)}


def test_figures_of_webhooks(source: Source) -> None:
    """Each hook that is configured, or has events, has all its counts, from 0 on."""
    found = figures(as_text(source))
    for hook, waiting in (("chat", 1), ("tickets", 0)):
        assert waiting == figure(found, "hook_events", hook=hook, state="waiting")
        assert 0 == figure(found, "hook_events", hook=hook, state="dead")
        assert 0 == figure(found, "hook_events_sent_total", hook=hook)
        assert 0 == figure(found, "hook_attempts_failed_total", hook=hook)
    since = datetime(2026, 11, 22, 7, 42, 5, tzinfo=UTC).timestamp()
    assert since == figure(found, "hook_waiting_since_timestamp_seconds", hook="chat")


def test_figures_of_a_running_daemon(source: Source) -> None:
    """The figures are those of ledger, outbox and status."""
    with locked(source.state_dir):
        found = figures(as_text(source))
    assert 1 == figure(found, "daemon_running")
    assert 1 == figure(found, "uploads_total", client="acme", outcome="partly")
    assert 1 == figure(found, "uploads_total", client="acme", outcome="refused")
    kinds = [(client, kind) for client in ("acme", "beta") for kind in ("file", "removals")]
    assert [1, 0, 0, 1] == [figure(found, "on_hold", client=client, kind=kind) for client, kind in kinds]
    assert (0, 12) == tuple(figure(found, "removals_on_hold_users", client=client) for client in ("acme", "beta"))
    since = datetime(2026, 11, 22, 7, 42, 5, tzinfo=UTC)
    assert since.timestamp() == figure(found, "on_hold_since_timestamp_seconds", client="acme", kind="file")
    assert 1 == figure(found, "rows_total", client="acme", outcome="created")
    assert 1 == figure(found, "rows_total", client="acme", outcome="failed")
    assert 0 < figure(found, "mails", client="acme", state="waiting")
    assert 0 == figure(found, "mails", client="", state="dead")
    assert 0 == figure(found, "unarchived_files", client="acme")
    assert (
        2
        == figure(found, "import_duration_seconds_count")
        == figure(found, "import_duration_seconds_bucket", le="+Inf")
    )
    assert 0 <= figure(found, "import_duration_seconds_sum") < 60 * 2
    assert 2 == figure(found, "import_duration_seconds_bucket", le="1800.0")
    assert 0 == figure(found, "mails_sent_total", client="acme")
    assert 1 == figure(found, "config_last_reload_successful")
    [(_, build)] = [key for key in found if key[0] == "rosterd_build_info"]
    assert {"version", "python", "sqlite"} == {label for label, value in build if value}
    assert 3600 == figure(found, "upload_expected_seconds", client="acme")
    assert 2 == figure(found, "watch_restarts_total")
    assert (1, 0) == (figure(found, "inbox_usable", client="acme"), figure(found, "inbox_usable", client="beta"))
    assert (1, 0) == (figure(found, "inbox_watched", client="acme"), figure(found, "inbox_watched", client="beta"))
    assert 1 == figure(found, "files_waiting", client="acme", state="held")
    assert AT.timestamp() == figure(found, "file_waiting_since_timestamp_seconds", client="acme")
    assert 0.25 == figure(found, "sweep_duration_seconds", client="acme")


def test_figures_of_checks(source: Source) -> None:
    """What was checked is counted for each outcome from 0 on, of clients with the folder alone; what waits, too."""
    with locked(source.state_dir):
        found = figures(as_text(source))
    counts = {tuple(sorted(labels)): value for (name, labels), value in found.items() if name == "rosterd_checks_total"}
    assert {
        (("client", "acme"), ("outcome", outcome)): 3 if outcome == "partly" else 0
        for outcome in ("imported", "partly", "refused", "on_hold")
    } == counts
    waiting = {labels: value for (name, labels), value in found.items() if name == "rosterd_checks_waiting"}
    assert {frozenset({("client", "acme")}): 2} == waiting


def test_the_expiry_of_the_key_is_that_which_doctor_read(source: Source) -> None:
    """The figure is there, service or not, as long as doctor finds a key that expires."""
    assert AT.timestamp() == figure(figures(as_text(source)), "pgp_key_expiry_timestamp_seconds")
    record_run(source.state_dir, DOCTOR, {"warning": 0, "fault": 1})
    assert "rosterd_pgp_key_expiry_timestamp_seconds" not in names(as_text(source))


def test_counters_begin_at_zero(source: Source) -> None:
    """A client that has uploaded nothing has its counters, so that its first refusal is seen as an increase."""
    found = figures(as_text(source))
    assert 0 == figure(found, "uploads_total", client="beta", outcome="refused")
    assert 0 == figure(found, "rows_total", client="beta", outcome="failed")
    assert 0 == figure(found, "mails", client="beta", state="dead")


def test_figures_without_a_daemon(source: Source) -> None:
    """What an ended daemon said of itself counts no more; what is recorded does."""
    found = figures(as_text(source))
    assert 0 == figure(found, "daemon_running")
    assert "rosterd_status_timestamp_seconds" not in {name for name, _ in found}
    assert 1 == figure(found, "uploads_total", client="acme", outcome="partly")


def test_figures_without_a_database(tmp_path: Path) -> None:
    """Before the first start there are figures, too."""
    source = Source(
        state_dir=str(tmp_path), database=Place(str(tmp_path / "rosterd.db")), clients=("acme",), expected_s={}
    )
    assert {"rosterd_build_info", "rosterd_daemon_running"} == names(as_text(source))


def test_mail_is_counted(source: Source) -> None:
    """Mail that was sent, and mail that waits after a failed try, is counted for each client."""
    with contextlib.closing(sqlite3.connect(source.database.name)) as database, database:
        database.execute("UPDATE outbox SET last_error = '535 5.7.8 no' WHERE id = 1")
        database.execute("UPDATE outbox SET state = 'sent', sent_at = '2026-11-22T07:42:05Z' WHERE id > 1")
        [(others,)] = database.execute("SELECT count(*) FROM outbox WHERE id > 1 AND client = 'acme'")
    found = figures(as_text(source))
    assert (others, 1) == (
        figure(found, "mails_sent_total", client="acme"),
        figure(found, "mails_failing", client="acme"),
    )


@pytest.mark.parametrize(
    ("path", "status"), [("/metrics", 200), ("/metrics?name=x", 200), ("/", 404), ("/metrics/", 404), ("/other", 404)]
)
def test_only_the_metrics_are_there(source: Source, path: str, status: int) -> None:
    """Any path but /metrics is answered with 404."""
    with exporting(source) as exporter:
        answer = asked(exporter.port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert f"HTTP/1.1 {status} ".encode() == answer[:13]


def test_figures_by_http_and_textfile(source: Source, tmp_path: Path) -> None:
    """Both ways offer the same, and end with the exporter."""
    textfile = tmp_path / "rosterd.prom"
    exporter = Exporter(MetricsSettings(listen="127.0.0.1:0", textfile=str(textfile)), lambda: source)
    exporter.start()
    with contextlib.closing(exporter):
        wait_until(textfile.exists, "the textfile")
        with urllib.request.urlopen(f"http://127.0.0.1:{exporter.port}/metrics", timeout=60) as answer:
            by_http = answer.read()
    assert 0o644 == stat.S_IMODE(textfile.stat().st_mode)
    assert names(as_text(source)) == names(by_http) == names(textfile.read_bytes())


def test_a_textfile_that_is_refused_is_told_once(source: Source, tmp_path: Path) -> None:
    """A folder that is missing is no reason to end."""
    exporter = Exporter(MetricsSettings(textfile=str(tmp_path / "gone" / "rosterd.prom")), lambda: source)
    exporter.start()
    exporter.close()
    assert not (tmp_path / "gone").exists()


@contextlib.contextmanager
def exporting(source: Source) -> Iterator[Exporter]:
    exporter = Exporter(MetricsSettings(listen="127.0.0.1:0"), lambda: source)
    exporter.start()
    with contextlib.closing(exporter):
        yield exporter


def asked(port: int, request: bytes = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") -> bytes:
    """Return the answer to one request."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_idle_connections_cost_nothing(source: Source) -> None:
    """However many connections are open and say nothing, the figures are offered, by one thread."""
    with exporting(source) as exporter, contextlib.ExitStack() as idle:
        threads = threading.active_count()
        connections = [
            idle.enter_context(socket.create_connection(("127.0.0.1", exporter.port), timeout=60)) for _ in range(60)
        ]
        for _ in range(3):
            assert asked(exporter.port).startswith(b"HTTP/1.1 200 OK\r\n")
        assert threads == threading.active_count()
        assert b"" == connections[0].recv(1)  # closed for those that came later
        assert len(exporter._endpoint._connections) <= MAX_CONNECTIONS


@pytest.mark.parametrize("request_", [b"", b"GET / HTTP/1.1\r\n", b"GET /metrics HTTP/1.1\r\n\r\n"])
def test_a_slow_connection_is_closed(source: Source, monkeypatch: pytest.MonkeyPatch, request_: bytes) -> None:
    """Whoever says nothing, or not all, or does not take the answer, is left after a while."""
    monkeypatch.setattr(http_endpoint, "TIME_OUT_S", 0.2)
    monkeypatch.setattr(http_endpoint, "_response", lambda *_: bytes(64 << 20))  # more than a connection takes unread
    with exporting(source) as exporter, socket.create_connection(("127.0.0.1", exporter.port)) as connection:
        connection.sendall(request_)
        wait_until(lambda: exporter._endpoint._connections, "the connection")
        wait_until(lambda: not exporter._endpoint._connections, "its end")


def test_a_connection_that_says_a_little_now_and_then_is_closed(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of a connection counts as a whole, not from byte to byte."""
    monkeypatch.setattr(http_endpoint, "TIME_OUT_S", 0.3)
    with exporting(source) as exporter, socket.create_connection(("127.0.0.1", exporter.port)) as connection:

        def is_closed() -> bool:
            try:
                connection.send(b"x")
            except OSError:
                return True
            return False

        wait_until(is_closed, "the end of the connection")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"HTTP/1.1 405 Method Not Allowed"),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 405 Method Not Allowed"),
        (b"GET /" + b"x" * 100_000, b""),
    ],
    ids=["head", "post", "nonsense", "too long"],
)
def test_other_requests(source: Source, request_: bytes, status: bytes) -> None:
    """What is no GET is refused, what is too long is not even read."""
    with exporting(source) as exporter:
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = asked(exporter.port, request_)
        assert status == answer.partition(b"\r\n")[0]
        assert b"" == answer.partition(b"\r\n\r\n")[2] or status != b"HTTP/1.1 200 OK"
        assert names(as_text(source)) <= names(asked(exporter.port).partition(b"\r\n\r\n")[2])


def test_figures_that_cannot_be_read(source: Source, capfd: pytest.CaptureFixture[str]) -> None:
    """A fault of ours is told once, in the log, until the figures can be read again."""
    faults: list[Exception] = [RuntimeError("Tremblay-4711")] * 2

    def failing() -> Source:
        if faults:
            raise faults.pop()
        return source

    exporter = Exporter(MetricsSettings(listen="127.0.0.1:0"), failing)
    with configured(LogSettings()):
        exporter.start()
        with contextlib.closing(exporter):
            answers = [asked(exporter.port)[:12] for _ in range(3)]
    assert [b"HTTP/1.1 503", b"HTTP/1.1 503", b"HTTP/1.1 200"] == answers
    out, err = capfd.readouterr()
    assert ["metrics.failed"] == [json.loads(line)["event"] for line in out.splitlines()]
    assert "" == err
    assert "Tremblay" not in out


@pytest.mark.parametrize("name", ["rosterd.prom", "rosterd.prom.new"])
def test_a_link_in_the_folder_of_the_textfile(source: Source, tmp_path: Path, name: str) -> None:
    """Nothing is written through a link that somebody made in the folder of the textfile."""
    (tmp_path / "precious").write_text("precious")
    folder = tmp_path / "exporter"
    folder.mkdir()
    (folder / name).symlink_to(tmp_path / "precious")
    (folder / ".new-0123456789abcdef").touch()  # of a service that was killed
    exporter = Exporter(MetricsSettings(textfile=str(folder / "rosterd.prom")), lambda: source)
    exporter.start()
    with contextlib.closing(exporter):
        textfile = folder / "rosterd.prom"
        wait_until(lambda: textfile.is_file() and not textfile.is_symlink(), "the textfile")
    assert "precious" == (tmp_path / "precious").read_text()
    assert {"rosterd.prom", name} == {path.name for path in folder.iterdir()}


def test_the_command_prints_the_figures(source: Source, tmp_path: Path) -> None:
    """`rosterd metrics` prints what would be offered."""
    _ = source
    config = load(tmp_path / "rosterd.toml")
    assert names(as_text(source_of(config))) >= {"rosterd_daemon_running", "rosterd_uploads_total"}


@pytest.mark.parametrize(("span", "seconds"), [("90min", 5400), ("26h", 93600), ("8d", 691200)])
def test_spans(span: str, seconds: float) -> None:
    """How often a client should upload is written as people say it."""
    assert seconds == ClientSettings(name="acme", inbox="/in", expect_every=span).expected_s
    assert ClientSettings(name="acme", inbox="/in").expected_s is None


def test_settings_that_make_no_sense(tmp_path: Path) -> None:
    """An address without a port and a textfile that nobody would read stop the start."""
    path = tmp_path / "config.toml"
    path.write_text('[metrics]\nlisten = "9188"\ntextfile = "rosterd.txt"\n')
    with pytest.raises(Exception, match=r"listen.*\n.*textfile"):
        load(path)
    path.write_text('[metrics]\ntextfile = "rosterd.prom"\n')
    config: Config = load(path)
    assert str(tmp_path / "rosterd.prom") == config.metrics.textfile


@pytest.mark.parametrize("document", ["prometheus/alerts.yml", "grafana/rosterd.json"])
def test_what_is_watched_exists(source: Source, document: str) -> None:
    """Every figure that an alert or the dashboard names is one that is offered."""
    with locked(source.state_dir):
        offered = names(as_text(source))
    text = (REPOSITORY / "deploy" / document).read_text()
    assert set() == set(re.findall(r"\brosterd_[a-z_]+", text)) - offered


def test_every_figure_is_watched(source: Source) -> None:
    """Every figure that is offered stands in an alert or on the dashboard, or says how long something took."""
    with locked(source.state_dir):
        offered = names(as_text(source))
    deploy = REPOSITORY / "deploy"
    text = (deploy / "prometheus/alerts.yml").read_text() + (deploy / "grafana/rosterd.json").read_text()
    unwatched = offered - set(re.findall(r"\brosterd_[a-z_]+", text))
    assert {"rosterd_started_timestamp_seconds", "rosterd_uploaded_bytes_total"} == unwatched


def test_the_dashboard_is_one() -> None:
    """The dashboard is JSON, and each panel has its place and its question."""
    board = json.loads((REPOSITORY / "deploy/grafana/rosterd.json").read_text())
    assert len(board["panels"]) == len({panel["id"] for panel in board["panels"]})
    assert all(target["expr"] for panel in board["panels"] for target in panel["targets"])


def test_the_daemon_keeps_the_textfile(tmp_path: Path) -> None:
    """A running daemon with a textfile configured writes it."""
    (tmp_path / "acme").mkdir()
    textfile = tmp_path / "rosterd.prom"
    settings = {"metrics": {"textfile": str(textfile)}}
    with Rosterd(tmp_path, {"acme": tmp_path / "acme"}, settings=settings) as installation:
        installation.start()
        wait_until(textfile.exists, "the textfile")
        assert 1 == figure(figures(textfile.read_bytes()), "daemon_running")
