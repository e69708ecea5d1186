"""A configuration with a fault while the service runs on: commands about the service go by what it adopted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab import wait_until
from tests.lab.daemon import Rosterd, Setting

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "S-1,OPSCOM,Ann,Lee,ann@school.example\n"
BOB = "S-2,OPSCOM,Bob,Ray,bob\n"
SECRET = "http://127.0.0.1:9/0123-secret"  # nobody listens there
ABOUT_THE_SERVICE = [
    ("imports",),
    ("show", "1"),
    ("users", "S-1"),
    ("metrics",),
    ("verify", "--quick"),
    ("mail", "list", "--all"),
    ("mail", "show", "1"),
    ("export", "S-1", "--client", "acme"),
]
GOING_BY = "has errors: using the configuration that the service last accepted."


@pytest.fixture
def rosterd(tmp_path: Path) -> Iterator[Rosterd]:
    """Yield a running service for acme that has imported a file, and refused a row of it."""
    (tmp_path / "acme").mkdir()
    service: dict[str, Setting] = {"ping_url": SECRET, "state_dir": str(tmp_path / "state")}
    with Rosterd(tmp_path, {"acme": tmp_path / "acme"}, settings={"service": service}) as installation:
        installation.start()
        installation.drop("users.csv", HEADER + ANN + BOB)
        installation.wait_for_imports(1)
        yield installation


FAULTS: dict[str, Callable[[str], str]] = {
    "no TOML": lambda text: text.replace("[intake]", "[intake"),
    "an unclosed text": lambda text: text.replace('name = "acme"', 'name = "acme'),
    "an unknown key": lambda text: text.replace("quiet_s", "quit_s"),
    "a wrong value": lambda text: text.replace("quiet_s = ", "quiet_s = -"),
    "a client without an inbox": lambda text: text.replace("inbox = ", "in_box = "),
    "an unclosed list": lambda text: text.replace("]\n[[", "\n[[").replace('example"]', 'example"'),
}


def test_commands_go_on_with_what_the_service_adopted(rosterd: Rosterd) -> None:
    """Whatever the fault, commands that look answer as before, and name it on standard error."""
    whole = rosterd._config.read_text()
    before = {command: rosterd.execute(*command) for command in ABOUT_THE_SERVICE}
    for fault, change in FAULTS.items():
        rosterd._config.write_text(change(whole))
        assert whole != rosterd._config.read_text(), fault
        for command, expected in before.items():
            answer = rosterd.execute(*command)
            assert expected.returncode == answer.returncode, (fault, answer.stderr)
            if command != ("metrics",):  # its figures go on
                assert expected.stdout == answer.stdout, fault
            assert 1 == answer.stderr.count(GOING_BY), fault
            assert len(answer.stderr.splitlines()) > 1, fault


def test_status_and_doctor_name_the_fault(rosterd: Rosterd) -> None:
    """A fault is a concern of `status` and a fault of `doctor`, which go on with all else."""
    wait_until(lambda: json.loads(rosterd.execute("status", "--json").stdout)["status"], "the status")
    rosterd.reload(FAULTS["a wrong value"])
    rosterd.wait_for_event("config.refused")
    told = json.loads(rosterd.execute("status", "--json").stdout)
    expected = "The configuration has errors; the service uses the previous one until it stops."
    assert expected in [concern.partition(" `rosterd")[0] for concern in told["concerns"]]
    assert ["acme"] == [client["client"] for client in told["clients"]]
    findings = json.loads(rosterd.execute("doctor", "--json").stdout)["findings"]
    assert ("fault", "configuration") in [(each["level"], each["topic"]) for each in findings]
    assert {"service", "database", "client acme"} <= {each["topic"] for each in findings}


def test_a_refused_reload_of_sound_settings_is_named(rosterd: Rosterd) -> None:
    """What only a restart can change is said by `status` and `doctor`, too, until a reload succeeds or a restart."""
    wait_until(lambda: json.loads(rosterd.execute("status", "--json").stdout)["status"], "the status")
    whole = rosterd._config.read_text()
    rosterd.reload(lambda text: text.replace("[service]\n", "[service]\nsweep_interval_s = 77\n"))
    rosterd.wait_for_event("config.refused")
    needed = "cannot change without a restart"
    wait_until(lambda: needed in str(json.loads(rosterd.execute("status", "--json").stdout)["concerns"]), "status")
    findings = json.loads(rosterd.execute("doctor", "--json").stdout)["findings"]
    faults = [each for each in findings if each["level"] == "fault" and needed in each["what"]]
    assert [("configuration", "systemctl restart rosterd")] == [(each["topic"], each["remedy"]) for each in faults]
    rosterd.reload(lambda _: whole)
    rosterd.wait_for_event("config.reloaded")
    wait_until(lambda: needed not in str(json.loads(rosterd.execute("status", "--json").stdout)["concerns"]), "status")


def test_a_reload_is_what_counts(rosterd: Rosterd) -> None:
    """What a reload brought is gone by, also after the service has ended."""
    rosterd.reload(lambda text: text.replace('name = "acme"', 'name = "acme"\nexpect_every = "36500d"'))
    rosterd.wait_for_event("config.reloaded")
    rosterd._config.write_text("not TOML\n" + rosterd._config.read_text())
    rosterd.stop()
    told = json.loads(rosterd.execute("status", "--json").stdout)
    assert [36500 * 86400.0] == [client["expected_s"] for client in told["clients"]]
    assert "so the service does not start" in " ".join(told["concerns"])


@pytest.mark.parametrize(
    "command",
    [("run",), ("sweep",), ("check", __file__), ("guide",), ("import", __file__), ("replay", "1")],
    ids=lambda words: words[0],
)
def test_what_needs_the_settings_themselves_does_not_go_on(rosterd: Rosterd, command: tuple[str, ...]) -> None:
    """A start, what judges by the settings and what writes into inboxes end with 78."""
    rosterd._config.write_text(FAULTS["a wrong value"](rosterd._config.read_text()))
    assert 78 == rosterd.execute(*command).returncode


@pytest.mark.parametrize(
    "form", ["service.state_dir = {}", "service = {{ state_dir = {} }}", "[service]\nstate_dir={}"]
)
def test_the_state_directory_is_found_however_it_is_written(rosterd: Rosterd, tmp_path: Path, form: str) -> None:
    """Beside a fault the state directory is read in any form that TOML has for it; a comment does not count."""
    line = form.format(f"'{tmp_path}/state'")
    rosterd._config.write_text(f"# state_dir = '/nowhere'\n{line}\n[intake\n")
    found = rosterd.execute("imports")
    assert (0, True) == (found.returncode, "users.csv" in found.stdout)


def test_a_note_that_cannot_be_read_keeps_nothing_from_starting(rosterd: Rosterd, tmp_path: Path) -> None:
    """Without the note the service starts and imports as ever."""
    rosterd.stop()
    note = tmp_path / "state" / "adopted.json"
    note.unlink()
    note.mkdir()
    rosterd.start()
    rosterd.drop("users.csv", HEADER + ANN)
    rosterd.wait_for_imports(2)


def test_the_note_is_of_that_file_and_has_no_secret(rosterd: Rosterd, tmp_path: Path) -> None:
    """A note of another configuration, or about another state directory, is not believed; it holds no secret."""
    note = tmp_path / "state" / "adopted.json"
    whole = rosterd._config.read_text()
    rosterd._config.write_text("not TOML\n" + whole)
    before = note.read_bytes()
    note.write_bytes(before.replace(f'"state_dir":"{tmp_path}/state"'.encode(), b'"state_dir":"/"'))
    assert before != note.read_bytes()
    assert 78 == rosterd.execute("imports").returncode
    note.write_bytes(before)
    other = tmp_path / "other.toml"
    other.write_text("not TOML\n" + whole)
    rosterd._config = other
    assert 78 == rosterd.execute("imports").returncode
    written = [
        path for path in (tmp_path / "state").iterdir() if path.is_file() and b"0123-secret" in path.read_bytes()
    ]
    assert [] == written
    assert 0o600 == (tmp_path / "state" / "adopted.json").stat().st_mode & 0o777
