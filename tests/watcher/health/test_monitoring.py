"""What monitoring is handed: each file is tried by the program that reads it, where Debian has that program."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from importer.store.places import Place
from tests import REPOSITORY
from tests.conftest import Needs
from tests.lab import wait_until
from tests.test_docs import catalogued
from watcher.health.metrics_source import Source
from watcher.health.prometheus import as_text
from watcher.log import _as_json

DEPLOY = REPOSITORY / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
BOARD = DEPLOY / "grafana" / "rosterd.json"
LOG = DEPLOY / "log"

Event = dict[str, Any]


def promtool(*arguments: str | Path, stdin: str = "") -> str:
    """Return what promtool says; it has to be content."""
    done = subprocess.run(
        ["promtool", *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


# Prometheus


def test_the_figures_are_as_prometheus_likes_them(needs: Needs, tmp_path: Path) -> None:
    """Promtool finds nothing to say about names, units and help texts."""
    needs("promtool")
    source = Source(
        state_dir=str(tmp_path), database=Place(str(tmp_path / "none.db")), clients=("acme",), expected_s={"acme": 60}
    )
    assert "" == promtool("check", "metrics", stdin=as_text(source).decode())


def test_the_alerts_are_rules(needs: Needs) -> None:
    """Promtool accepts the file of the alerts, every one of them."""
    needs("promtool")
    count = ALERTS.read_text().count("- alert:")
    assert f"SUCCESS: {count} rules found" in promtool("check", "rules", ALERTS)


def test_the_dashboard_asks_what_prometheus_understands(needs: Needs, tmp_path: Path) -> None:
    """Every expression of the dashboard is one."""
    needs("promtool")
    targets = [target for panel in json.loads(BOARD.read_text())["panels"] for target in panel["targets"]]
    rules = [
        {"record": f"board:{number}", "expr": re.sub(r"\$(client|instance)", ".*", target["expr"])}
        for number, target in enumerate(targets)
    ]
    path = tmp_path / "board.yml"
    path.write_text(json.dumps({"groups": [{"name": "board", "rules": rules}]}))  # JSON is YAML
    assert f"SUCCESS: {len(targets)} rules found" in promtool("check", "rules", path)


def test_the_dashboard_tells_hosts_apart() -> None:
    """Every figure on the dashboard is asked for the hosts chosen there, and no sum for a client runs over hosts."""
    for panel in json.loads(BOARD.read_text())["panels"]:
        for target in panel["targets"]:
            names = re.findall(r"rosterd_[a-z_]+(?:\{[^}]*\})?", target["expr"])
            assert [] == [name for name in names if 'instance=~"$instance"' not in name], panel["title"]
            assert "by (client" not in target["expr"], panel["title"]


# Alert, its series over an hour in steps of five minutes, whom it has to tell of at the end; source: the syntax of
# `promtool test rules`.
OVERDUE = 'rosterd_upload_overdue{client="acme"}'
REFUSED = 'rosterd_uploads_total{client="acme",outcome="refused"}'
SITUATIONS: dict[str, tuple[str, dict[str, str], list[dict[str, str]]]] = {
    "down": ("RosterdDown", {"rosterd_daemon_running": "1 0x11"}, [{}]),
    "unreachable": ("RosterdDown", {"rosterd_unarchived_files": "0x12"}, [{}]),
    "running": ("RosterdDown", {"rosterd_daemon_running": "1x12"}, []),
    "stuck": ("RosterdStuck", {"rosterd_status_timestamp_seconds": "600x12"}, [{}]),
    "late": ("RosterdUploadMissing", {OVERDUE: "1x12"}, [{"client": "acme"}]),
    "late just now": ("RosterdUploadMissing", {OVERDUE: "0x11 1"}, []),
    "in time": ("RosterdUploadMissing", {OVERDUE: "0x12"}, []),
    "first refusal": ("RosterdUploadRefused", {REFUSED: "0x10 1 1"}, [{"client": "acme", "outcome": "refused"}]),
    "old refusals": ("RosterdUploadRefused", {REFUSED: "5x12"}, []),
    "mail given up": (
        "RosterdMailDead",
        {'rosterd_mails{client="acme",state="dead"}': "1x12", 'rosterd_mails{state="dead"}': "0x12"},
        [{"client": "acme", "state": "dead"}],
    ),
    "many rows fail": (
        "RosterdManyRowsFailed",
        {
            'rosterd_rows_total{client="acme",outcome="failed"}': "0+30x12",
            'rosterd_rows_total{client="acme",outcome="created"}': "0+70x12",
        },
        [{"client": "acme"}],
    ),
    "inbox unusable": ("RosterdInboxUnusable", {'rosterd_inbox_usable{client="acme"}': "0x12"}, [{"client": "acme"}]),
    "watching lost": ("RosterdWatchRestarts", {"rosterd_watch_restarts_total": "0+1x12"}, [{}]),
}


@pytest.mark.parametrize(("alert", "series", "told"), SITUATIONS.values(), ids=SITUATIONS)
def test_an_alert_is_raised_when_it_should_be(
    alert: str, series: dict[str, str], told: list[dict[str, str]], needs: Needs, tmp_path: Path
) -> None:
    """In the situation that it is for the alert fires, for the client concerned, and in no other."""
    needs("promtool")
    raised(tmp_path, alert, series, told)


# Alert, its series on the host that is in trouble, those on one that is well, what else the alert is labelled with.
WAITS = 'rosterd_file_waiting_since_timestamp_seconds{client="acme"}'
FAILED = 'rosterd_rows_total{client="acme",outcome="failed"}'
CREATED = 'rosterd_rows_total{client="acme",outcome="created"}'
WATCHED = 'rosterd_inbox_watched{client="acme"}'
USABLE = 'rosterd_inbox_usable{client="acme"}'
UP = 'up{job="rosterd"}'
RUNNING = 'rosterd_daemon_running{job="rosterd"}'
ACME = {"client": "acme"}
JOB = {"job": "rosterd"}
HOSTS: dict[str, tuple[str, dict[str, str], dict[str, str], dict[str, str]]] = {
    "does not answer": ("RosterdDown", {UP: "1 0x11", RUNNING: "1 stale"}, {UP: "1x12", RUNNING: "1x12"}, JOB),
    "has never answered": ("RosterdDown", {UP: "0x12"}, {UP: "1x12", RUNNING: "1x12"}, JOB),
    "another job": (
        "RosterdDown",
        {'up{job="sftp"}': "1 0x11", 'rosterd_daemon_running{job="sftp"}': "1 stale"},
        {'up{job="sftp"}': "1x12", 'rosterd_daemon_running{job="sftp"}': "1x12"},
        {"job": "sftp"},
    ),
    "textfile gone": (
        "RosterdDown",
        {'up{job="node"}': "1x12", 'rosterd_daemon_running{job="node"}': "1 stale"},
        {'up{job="node"}': "1x12", 'rosterd_daemon_running{job="node"}': "1x12"},
        {"job": "node"},
    ),
    "stopped, textfile": ("RosterdDown", {"rosterd_daemon_running": "0x12"}, {"rosterd_daemon_running": "1x12"}, {}),
    "stuck": (
        "RosterdStuck",
        {"rosterd_status_timestamp_seconds": "0x12"},
        {"rosterd_status_timestamp_seconds": "0+300x12"},
        {},
    ),
    "inbox unusable": ("RosterdInboxUnusable", {USABLE: "0x12"}, {USABLE: "1x12"}, ACME),
    "deferred": (
        "RosterdImportsDeferred",
        {'rosterd_imports_deferred{client="acme"}': "1x12"},
        {'rosterd_imports_deferred{client="acme"}': "0x12"},
        ACME,
    ),
    "not watched": (
        "RosterdInboxNotWatched",
        {WATCHED: "0x12", USABLE: "1x12"},
        {WATCHED: "1x12", USABLE: "1x12"},
        ACME,
    ),
    "not usable there": (
        "RosterdInboxNotWatched",
        {WATCHED: "0x12", USABLE: "1x12"},
        {WATCHED: "0x12", USABLE: "0x12"},
        ACME,
    ),
    "watching lost": (
        "RosterdWatchRestarts",
        {"rosterd_watch_restarts_total": "0+1x12"},
        {"rosterd_watch_restarts_total": "5x12"},
        {},
    ),
    "late": ("RosterdUploadMissing", {OVERDUE: "1x12"}, {OVERDUE: "0x12"}, ACME),
    "refused": ("RosterdUploadRefused", {REFUSED: "0x10 1 1"}, {REFUSED: "1x12"}, {**ACME, "outcome": "refused"}),
    "many rows fail": (
        "RosterdManyRowsFailed",
        {FAILED: "0+30x12", CREATED: "0+70x12"},
        {FAILED: "0x12", CREATED: "0+7000x12"},
        ACME,
    ),
    "waits": ("RosterdFileWaits", {WAITS: "-7200x12"}, {WAITS: "0+300x12"}, ACME),
    "not archived": (
        "RosterdNotArchived",
        {'rosterd_unarchived_files{client="acme"}': "1x12"},
        {'rosterd_unarchived_files{client="acme"}': "0x12"},
        ACME,
    ),
    "database read-only": (
        "RosterdDatabaseReadOnly",
        {"rosterd_database_writable": "0x12"},
        {"rosterd_database_writable": "1x12"},
        {},
    ),
    "clock": (
        "RosterdClockDiffers",
        {"rosterd_clock_ahead_seconds": "7200x12"},
        {"rosterd_clock_ahead_seconds": "-2x12"},
        {},
    ),
    "mail unusable": ("RosterdMailUnusable", {"rosterd_mail_usable": "0x12"}, {"rosterd_mail_usable": "1x12"}, {}),
    "mail to nobody": ("RosterdMailOnlyStored", {"rosterd_mail_by_smtp": "0x12"}, {"rosterd_mail_by_smtp": "1x12"}, {}),
    "on hold": (
        "RosterdOnHold",
        {
            'rosterd_on_hold{client="acme",kind="file"}': "1x12",
            'rosterd_on_hold_since_timestamp_seconds{client="acme",kind="file"}': "-90000x12",
        },
        {'rosterd_on_hold{client="acme",kind="file"}': "0x12"},
        {**ACME, "kind": "file"},
    ),
    "mail given up": (
        "RosterdMailDead",
        {'rosterd_mails{client="acme",state="dead"}': "1x12"},
        {'rosterd_mails{client="acme",state="dead"}': "0x12"},
        {**ACME, "state": "dead"},
    ),
    "mail waits": (
        "RosterdMailWaits",
        {"rosterd_mail_waiting_since_timestamp_seconds": "-14400x12"},
        {"rosterd_mail_waiting_since_timestamp_seconds": "0+300x12"},
        {},
    ),
    "webhook given up": (
        "RosterdHookDead",
        {'rosterd_hook_events{hook="chat",state="dead"}': "1x12"},
        {'rosterd_hook_events{hook="chat",state="dead"}': "0x12"},
        {"hook": "chat", "state": "dead"},
    ),
    "webhook waits": (
        "RosterdHookWaits",
        {'rosterd_hook_waiting_since_timestamp_seconds{hook="chat"}': "-14400x12"},
        {'rosterd_hook_waiting_since_timestamp_seconds{hook="chat"}': "0+300x12"},
        {"hook": "chat"},
    ),
    "old backup": (
        "RosterdBackupOld",
        {"rosterd_backup_timestamp_seconds": "-172800x12"},
        {"rosterd_backup_timestamp_seconds": "0+300x12"},
        {},
    ),
    "key for encrypted uploads": (
        "RosterdPgpKeyExpires",
        {"rosterd_pgp_key_expiry_timestamp_seconds": "1731599x12"},
        {"rosterd_pgp_key_expiry_timestamp_seconds": "1731601x12"},
        {},
    ),
    "configuration": (
        "RosterdConfigRefused",
        {"rosterd_config_last_reload_successful": "0x12"},
        {"rosterd_config_last_reload_successful": "1x12"},
        {},
    ),
    "doctor": (
        "RosterdDoctorFault",
        {'rosterd_doctor_problems{severity="fault"}': "1x12"},
        {'rosterd_doctor_problems{severity="fault"}': "0x12", 'rosterd_doctor_problems{severity="warning"}': "3x12"},
        {},
    ),
    "verify": (
        "RosterdVerifyBroken",
        {'rosterd_verify_problems{severity="fault"}': "1x12"},
        {'rosterd_verify_problems{severity="fault"}': "0x12"},
        {},
    ),
}


@pytest.mark.parametrize(("alert", "bad", "good", "labels"), HOSTS.values(), ids=HOSTS)
def test_of_two_hosts_the_one_in_trouble_is_told_of(
    alert: str, bad: dict[str, str], good: dict[str, str], labels: dict[str, str], needs: Needs, tmp_path: Path
) -> None:
    """With two hosts that serve a client of the same name the alert names the host in trouble, and that one only."""
    needs("promtool")
    series = {**at_host("a.example", bad), **at_host("b.example", good)}
    raised(tmp_path, alert, series, [{"instance": "a.example", **labels}])


def at_host(instance: str, series: dict[str, str]) -> dict[str, str]:
    """Return the series as Prometheus labels what it gets from a host."""
    parts = {name: name.partition("{") for name in series}
    labels = {
        name: [f'instance="{instance}"', *filter(None, [more.rstrip("}")])] for name, (_, _, more) in parts.items()
    }
    return {f"{parts[name][0]}{{{','.join(labels[name])}}}": values for name, values in series.items()}


def test_every_alert_is_tried_with_two_hosts() -> None:
    """No rule is left out of what is tried with two hosts, and each says on which of them."""
    rules = ALERTS.read_text()
    assert set(re.findall(r"alert: (\w+)", rules)) == {alert for alert, *_ in HOSTS.values()}
    assert rules.count("summary:") == len(re.findall(r"summary:.*\$labels\.instance", rules))


def raised(folder: Path, alert: str, series: dict[str, str], told: list[dict[str, str]]) -> None:
    """Assert by promtool that after an hour of these series the alert is raised with just these labels."""
    severity = re.search(rf"alert: {alert}\n.*?severity: (\w+)", ALERTS.read_text(), re.DOTALL)
    assert severity is not None
    # The annotations are for people, and not compared.
    rules = folder / "alerts.yml"
    rules.write_text(re.sub(r"(?m)^ +(annotations:|summary:.*|description:.*)\n", "", ALERTS.read_text()))
    case = {
        "interval": "5m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {
                "eval_time": "1h",
                "alertname": alert,
                "exp_alerts": [{"exp_labels": {"severity": severity[1], **labels}} for labels in told],
            }
        ],
    }
    path = folder / "case.yml"
    path.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [case]}))
    promtool("test", "rules", path)


# Logs

EVENTS: list[Event] = [
    {"at": "2026-11-22T07:42:05.000001Z", "level": "info", "event": "daemon.started", "clients": 2, "sqlite": "3.40.1"},
    {
        "at": "2026-11-22T07:42:06.000001Z",
        "level": "warning",
        "event": "file.refused",
        "client": "acme",
        "file": 'Zoë "q" \\ \n%$!.csv',
        "claim_id": "c1",
        "took_s": 0.25,
    },
    {
        "at": "2026-11-22T07:42:07.000001Z",
        "level": "critical",
        "event": "daemon.failed",
        "exit_code": 74,
        "exception": [{"type": "OSError", "frames": ["a.py:1 f"], "message": "[Errno 5] I/O"}],
    },
]


# A journal of its own in a mount namespace. Units are told $JOURNAL_STREAM by systemd, here the shell stands in for it.
JOURNAL = """\
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal
/lib/systemd/systemd-journald &
journald=$!
trap 'kill $journald; wait' EXIT
for _ in $(seq 100); do [ -S /run/systemd/journal/stdout ] && break; sleep 0.1; done
systemd-cat -t rosterd sh -c 'JOURNAL_STREAM=$(stat -L -c %d:%i /proc/$$/fd/1) exec "$0" "$@"' "$@"
journalctl --sync
journalctl -D /run/log/journal -t rosterd -o json
"""
LOGGING = """\
import json, structlog, sys
from watcher.settings import LogSettings
from watcher.log import configured
with configured(LogSettings(level="debug")):
    for level in sys.argv[1:]:
        getattr(structlog.get_logger(), level)("file.refused", client="acme")
"""


def test_the_journal_knows_the_levels(needs: Needs) -> None:
    """In the journal an event has its level as PRIORITY, for `journalctl -p err`, and its object as MESSAGE."""
    needs("unshare", "systemd-cat", "journalctl", "/lib/systemd/systemd-journald", root=True)
    levels = {"debug": "7", "info": "6", "warning": "4", "error": "3", "critical": "2"}
    program = [sys.executable, "-c", LOGGING, *levels]
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", JOURNAL, "sh", *program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=DEPLOY.parent,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    messages = [json.loads(entry["MESSAGE"]) for entry in entries]
    assert levels == {said["level"]: entry["PRIORITY"] for said, entry in zip(messages, entries, strict=True)}
    assert {"file.refused"} == {said["event"] for said in messages}


@pytest.fixture
def rsyslog(needs: Needs, tmp_path: Path) -> Iterator[Callable[[str], int]]:
    """Run rsyslogd with the recipe, its files in tmp_path; yield what hands it a message as the journal does."""
    needs("rsyslogd")
    recipe = (LOG / "rsyslog.conf").read_text().replace("/var/log/", f"{tmp_path}/")
    config = tmp_path / "rsyslog.conf"
    config.write_text(
        f'global(workDirectory="{tmp_path}")\n'
        f'module(load="imuxsock" SysSock.Name="{tmp_path}/journal")\n'
        f"{recipe}\n"
        f'action(type="omfile" file="{tmp_path}/others")\n'
    )
    daemon = subprocess.Popen(["rsyslogd", "-n", "-f", config, "-i", tmp_path / "pid"], stderr=subprocess.PIPE)
    try:
        wait_until((tmp_path / "journal").exists, "rsyslogd to listen")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            journal.connect(str(tmp_path / "journal"))
            yield lambda line: journal.send(line.encode())
    finally:
        daemon.terminate()
        _, told = daemon.communicate(timeout=120)
    assert b"" == told


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_rsyslog_keeps_every_field(rsyslog: Callable[[str], int], tmp_path: Path) -> None:
    """An event comes out of rsyslog as it went in, errors a second time by themselves; others' lines are left alone."""
    rsyslog("<30>Nov 22 07:42:05 sshd[1]: Accepted publickey for acme")
    for event in EVENTS:
        rsyslog(f"<30>Nov 22 07:42:05 rosterd[123]: {_as_json(dict(event))}")
    rsyslog("<30>Nov 22 07:42:08 rosterd[123]: Traceback, and no object")
    rsyslog("<30>Nov 22 07:42:09 sshd[1]: last")
    wait_until(lambda: len(lines(tmp_path / "others")) >= 2, "the last line")
    assert EVENTS == [json.loads(line) for line in lines(tmp_path / "rosterd.json")]
    assert EVENTS[2:] == [json.loads(line) for line in lines(tmp_path / "rosterd-errors.json")]


def test_logrotate_loses_no_line(rsyslog: Callable[[str], int], needs: Needs, tmp_path: Path) -> None:
    """The files that rsyslog writes are rotated as the recipe says, and rsyslog goes on in new ones."""
    needs("logrotate", root=True)
    recipe = (LOG / "logrotate").read_text()
    assert "/usr/lib/rsyslog/rsyslog-rotate" in recipe  # of Debian's package: sends the signal
    config = tmp_path / "logrotate"
    signal = f"kill -HUP $(cat {tmp_path}/pid)"
    config.write_text(recipe.replace("/var/log/", f"{tmp_path}/").replace("/usr/lib/rsyslog/rsyslog-rotate", signal))
    config.chmod(0o644)

    def wrote(event: Event) -> None:
        rsyslog(f"<30>Nov 22 07:42:05 rosterd[123]: {_as_json(dict(event))}")
        # After the signal rsyslog may still write a line or two into the old file.
        wait_until(lambda: any(event == json.loads(line) for file in files() for line in lines(file)), "the line")

    def files() -> list[Path]:
        return sorted(tmp_path.glob("rosterd.json*"))

    wrote(EVENTS[0])
    rotate = ["logrotate", "--force", "--state", str(tmp_path / "state"), str(config)]
    done = subprocess.run(rotate, capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    assert ["rosterd.json", "rosterd.json.1"] == [file.name for file in files()]
    wrote(EVENTS[1])
    assert EVENTS[0] == json.loads(lines(tmp_path / "rosterd.json.1")[0])
    assert 0o640 == (tmp_path / "rosterd.json").stat().st_mode & 0o777


def test_what_rsyslog_is_shown_in_comments_is_understood(needs: Needs, tmp_path: Path) -> None:
    """The parts of the recipe that are commented out are right, too."""
    needs("rsyslogd")
    text = re.sub(r"(?m)^( *)# (?=action\(|       queue|input\()", r"\1", (LOG / "rsyslog.conf").read_text())
    config = tmp_path / "rsyslog.conf"
    config.write_text(f'global(workDirectory="{tmp_path}")\nmodule(load="imuxsock" SysSock.Use="off")\n{text}')
    assert ("omfwd" in text, "Socket=" in text) == (True, True)
    done = subprocess.run(["rsyslogd", "-N1", "-f", config], capture_output=True, text=True, timeout=20, check=False)
    assert "End of config validation run. Bye." in done.stderr
    assert 0 == done.returncode, done.stderr


def sections(text: str) -> dict[str, dict[str, str]]:
    """Return the sections of a configuration of Fluent Bit, in its classic form."""
    found: dict[str, dict[str, str]] = {}
    for line in filter(None, (line.partition("#")[0].strip() for line in text.splitlines())):
        if title := re.fullmatch(r"\[([A-Z]+)\]", line):
            section = found.setdefault(title[1], {})
        else:
            key, value = line.split(maxsplit=1)
            section[key] = value
    return found


def test_the_recipe_for_fluent_bit_reads_the_unit() -> None:
    """Fluent Bit, which Debian lacks, is told of our unit and of the field with the event, in its own form."""
    recipe = sections((LOG / "fluent-bit.conf").read_text())
    assert "_SYSTEMD_UNIT=rosterd.service" == recipe["INPUT"]["Systemd_Filter"]
    assert ("MESSAGE", "json") == (recipe["FILTER"]["Key_Name"], recipe["FILTER"]["Parser"])
    assert {"rosterd"} == {recipe["INPUT"]["Tag"], recipe["FILTER"]["Match"], recipe["OUTPUT"]["Match"]}


def test_the_recipe_for_vector_is_a_pipeline() -> None:
    """Vector, which Debian lacks, is given TOML in which each part takes in what another one gives."""
    recipe = tomllib.loads((LOG / "vector.toml").read_text())
    parts = {name: part for kind in recipe.values() for name, part in kind.items()}
    assert {name for part in parts.values() for name in part.get("inputs", [])} <= set(parts)
    assert ["rosterd.service"] == parts["rosterd_journal"]["include_units"]


def test_the_recipe_for_filebeat_is_yaml(needs: Needs) -> None:
    """Filebeat, which Debian lacks, is given YAML that reads our unit."""
    program = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"
    text = (LOG / "filebeat.yml").read_text()
    done = subprocess.run(
        ["/usr/bin/python3", "-c", program], input=text, capture_output=True, text=True, timeout=20, check=False
    )
    if "No module named 'yaml'" in done.stderr:
        needs("python3-yaml")
    [journal] = json.loads(done.stdout)["filebeat.inputs"]
    assert ["_SYSTEMD_UNIT=rosterd.service"] == journal["include_matches.match"]


@pytest.mark.parametrize("recipe", sorted({*LOG.iterdir()} - {LOG / "logrotate"}), ids=lambda path: path.name)
def test_recipes_name_fields_and_events_that_exist(recipe: Path) -> None:
    """Every field of ours that a recipe picks out is in each event, or in the catalogue."""
    known = {"at", "level", "event", "client", "file", "claim_id", *(field for e in catalogued() for field in e.fields)}
    text = "\n".join(line for line in recipe.read_text().splitlines() if not line.lstrip().startswith("#"))
    picked = {
        "rsyslog.conf": r"\$!(?!all-json)([a-z_]+)",
        "vector.toml": r"(?:\(|, )\.([a-z_]+)|\{\{ ([a-z_]+) \}\}",
        "filebeat.yml": r"rosterd\.(?!service)([a-z_]+)",
        "fluent-bit.conf": r"\$([a-z_]+)",
    }[recipe.name]
    names = {name for groups in re.findall(picked, text) for name in ([groups] if isinstance(groups, str) else groups)}
    assert set() == names - known - {"", "message", "host", "timestamp"}


def test_the_documents_name_every_recipe() -> None:
    """docs/monitoring.md leads to each file that is there for monitoring."""
    text = (DEPLOY.parent / "docs" / "monitoring.md").read_text()
    for path in (*LOG.iterdir(), ALERTS, BOARD):
        assert f"../{path.relative_to(DEPLOY.parent)}" in text
