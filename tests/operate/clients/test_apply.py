"""Many clients from one file: each whole or as it was, named if it cannot be, and the same again changes nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from operate.clients.listed import NotAList, clients_in
from tests.conftest import Needs
from tests.lab.host import Host, SftpUser

NAMES = ("acme", "beta", "gamma")


@pytest.fixture
def users(host: Host, tmp_path: Path) -> dict[str, SftpUser]:
    """Return somebody of each client, with a key that is not known yet."""
    return {name: SftpUser(host, name, tmp_path) for name in NAMES}


def key_of(user: SftpUser) -> str:
    return user.public_key.read_text().strip()


def write(folder: Path, users: dict[str, SftpUser], form: str) -> Path:
    """Write all clients, with an address, a key and two settings each."""
    path = folder / f"clients.{form.partition(' ')[0]}"
    separator = ";" if form.endswith("semicolons") else ","
    if form == "toml":
        lines = [
            f'[[client]]\nname = "{name}"\nemail = "it@{name}.example"\nkey = "{key_of(user)}"\n'
            f'expect_every = "26h"\nreceipts = true'
            for name, user in users.items()
        ]
    else:
        rows = [("name", "E-Mail", "key", "expect every", "receipts")]
        rows += [(name, f"it@{name}.example", key_of(user), "26h", "yes") for name, user in users.items()]
        lines = [separator.join(row) for row in rows]
    path.write_text("\ufeff" * (separator == ";") + "\n".join(lines) + "\n")
    return path


def apply(host: Host, file: Path, *options: str) -> tuple[int, dict[str, Any]]:
    done = host.rosterd("client", "apply", file, "--json", *options, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def states(told: dict[str, Any]) -> dict[str, str]:
    return {each["client"]: each["state"] for each in told["clients"]}


def is_let_in(user: SftpUser) -> bool:
    return user.batch("ls .bak").returncode == 0


@pytest.mark.parametrize("form", ["toml", "csv", "csv with semicolons"])
def test_all_are_set_up_and_the_second_run_changes_nothing(
    host: Host, users: dict[str, SftpUser], tmp_path: Path, form: str
) -> None:
    """Without --apply all is shown and nothing done; with it each client can log in; again it says unchanged."""
    file = write(tmp_path, users, form)
    assert (0, True, False) == ((shown := apply(host, file))[0], shown[1]["changed"], shown[1]["applied"])
    assert dict.fromkeys(NAMES, "changed") == states(shown[1])
    assert [] == [*host.path("/srv/sftp").iterdir(), *host.path("/etc/rosterd/clients.d").iterdir()]
    code, told = apply(host, file, "--apply")
    assert (0, shown[1]["clients"]) == (code, told["clients"])
    assert dict.fromkeys(NAMES, True) == {name: is_let_in(user) for name, user in users.items()}
    listed = json.loads(host.rosterd("client", "list", "--json").stdout)
    assert {(f"it@{each['name']}.example", "26h", True) for each in listed} == {
        (*each["settings"]["failed_import_email"], each["settings"]["expect_every"], each["settings"]["receipts"])
        for each in listed
    }
    for options in ((), ("--apply",)):
        code, told = apply(host, file, *options)
        assert (0, False, dict.fromkeys(NAMES, "unchanged")) == (code, told["changed"], states(told))
    assert "3 clients: 3 unchanged, 0 changed, 0 refused, 0 failed" in host.rosterd("client", "apply", file).stdout


def test_only_what_the_file_says_is_changed(host: Host, users: dict[str, SftpUser], tmp_path: Path) -> None:
    """Other settings, entries and keys of a client stay; a running service has the new settings at once."""
    host.rosterd("client", "add", "acme", "--key", users["acme"].public_key, "--apply")
    words = ("--receipts", "--columns", "Id=unique_id", "--guard-undone", "5 %")
    host.rosterd("client", "set", "acme", *words, "--apply")
    host.start_service()
    file = tmp_path / "clients.toml"
    file.write_text(
        f'[[client]]\nname = "acme"\nkeys = ["{key_of(users["beta"])}"]\ncolumns = {{ Mail = "email" }}\n'
        '[client.guard]\ncreated = "7 %"\n[[client.feed]]\nname = "a"\nfiles = "a*"\n'
    )
    code, told = apply(host, file, "--apply")
    assert (0, {"acme": "changed"}, 2) == (code, states(told), len(told["clients"][0]["steps"]))
    assert "The service: the configuration was reloaded; 1 clients" == told["service"]
    settings = json.loads(host.rosterd("client", "show", "acme", "--json").stdout)["settings"]
    assert (True, {"Id": "unique_id", "Mail": "email"}) == (settings["receipts"], settings["columns"])
    assert ("5 %", "7 %", "a*") == (*map(settings["guard"].get, ("undone", "created")), settings["feed"][0]["files"])
    assert is_let_in(users["acme"])
    assert 2 == len(json.loads(host.rosterd("client", "key", "list", "acme", "--json").stdout))
    assert {"acme": "unchanged"} == states(apply(host, file)[1])


def test_one_that_cannot_be_set_up_stops_no_other(host: Host, users: dict[str, SftpUser], tmp_path: Path) -> None:
    """Each refused client is named with its reason and is not begun; the others are whole, and the exit code is 1."""
    file = write(tmp_path, users, "toml")
    bad = {
        "delta": 'email = "nobody"',
        "daemon": "",
        "epsilon": 'key = "-----BEGIN OPENSSH PRIVATE KEY-----"',
        "zeta": 'late_mail = "client"',
        "eta": 'log_socket = "dev/log"\nreceipts = "perhaps"',
        "Theta": "",
    }
    file.write_text(file.read_text() + "".join(f'[[client]]\nname = "{name}"\n{line}\n' for name, line in bad.items()))
    users_before = set(host.path("/etc/passwd").read_text().splitlines())
    code, told = apply(host, file, "--apply")
    assert (1, True) == (code, told["changed"])
    assert dict.fromkeys(NAMES, "changed") | dict.fromkeys(bad, "refused") == states(told)
    reasons = {each["client"]: each["problems"][0] for each in told["clients"] if each["problems"]}
    said = {
        "delta": "expected a full e-mail address",
        "daemon": "is not in sftpdrop",
        "epsilon": "is a private key",
        "zeta": "expected expect_every to be set",
        "eta": "receipts",
        "Theta": "cannot be a login",
    }
    assert dict.fromkeys(bad, True) == {name: said[name] in reasons[name] for name in bad}, reasons
    added = {line.split(":")[0] for line in {*host.path("/etc/passwd").read_text().splitlines()} - users_before}
    assert {*NAMES} == added == {path.name for path in host.path("/srv/sftp").iterdir()}
    assert (1, False) == ((again := apply(host, file, "--apply"))[0], again[1]["changed"])


@pytest.mark.parametrize("moment", ["login", *map(str, range(1, 7))])
def test_a_run_that_is_killed_is_completed(
    host: Host, users: dict[str, SftpUser], tmp_path: Path, moment: str, needs: Needs
) -> None:
    """Killed after a login was made, or at any rename, the same command completes it; then nothing is left to do."""
    needs("strace")
    file = write(tmp_path, users, "csv")
    words = [sys.executable, "-m", "operate.cli", "client", "apply", str(file), "--apply"]
    if moment == "login":
        host.path("/srv/bin").mkdir()
        program = host.path("/srv/bin/useradd")
        program.write_text('#!/bin/sh\n/usr/sbin/useradd "$@"\ncase "$*" in *beta) kill -9 $PPID ;; esac\n')
        program.chmod(0o755)
        host.run("env", "PATH=/srv/bin:/usr/bin:/usr/sbin", *words, check=False)
    else:  # of each client: the file of keys, then the settings
        kill = ["-e", "trace=/^rename", "-e", f"inject=/^rename:signal=KILL:when={moment}"]
        host.run("strace", "-qq", "-o", "/dev/null", *kill, *words, check=False)
    host.rosterd("client", "list")  # what is there loads
    assert "changed" in states(apply(host, file)[1]).values()
    assert 0 == apply(host, file, "--apply")[0]
    assert dict.fromkeys(NAMES, True) == {name: is_let_in(user) for name, user in users.items()}
    assert (0, False) == ((told := apply(host, file, "--apply"))[0], told[1]["changed"])
    left = [*host.path("/etc/ssh/sftpdrop").iterdir(), *host.path("/etc/rosterd/clients.d").iterdir()]
    assert [] == [path.name for path in left if path.name.startswith(".")]


def test_a_step_that_fails_is_told(host: Host, users: dict[str, SftpUser], tmp_path: Path) -> None:
    """Where a step fails the client is told as failed, the others are set up, and the next run completes it."""
    file = write(tmp_path, users, "csv")
    host.path("/srv/bin").mkdir()
    program = host.path("/srv/bin/useradd")
    program.write_text('#!/bin/sh\ncase "$*" in *beta) echo no room >&2; exit 9 ;; esac\nexec /usr/sbin/useradd "$@"\n')
    program.chmod(0o755)
    words = [sys.executable, "-m", "operate.cli", "client", "apply", str(file), "--apply", "--json"]
    done = host.run("env", "PATH=/srv/bin:/usr/bin:/usr/sbin", *words, check=False)
    told = json.loads(done.stdout)
    assert (1, {"acme": "changed", "beta": "failed", "gamma": "changed"}) == (done.returncode, states(told))
    assert "no room" in told["clients"][1]["problems"][0]
    assert {"acme": "unchanged", "beta": "changed", "gamma": "unchanged"} == states(apply(host, file, "--apply")[1])


def test_several_lines_of_one_name_add_up(host: Host, users: dict[str, SftpUser], tmp_path: Path) -> None:
    """In CSV a client may have a line for each of its keys and addresses."""
    file = tmp_path / "clients.csv"
    rows = [("acme", f"{name}@acme.example", key_of(user)) for name, user in users.items()]
    file.write_text("name,email,key\n" + "".join(f"{','.join(row)}\n" for row in rows) + ",,\n")
    assert 0 == apply(host, file, "--apply")[0]
    [client] = json.loads(host.rosterd("client", "list", "--json").stdout)
    assert [row[1] for row in rows] == client["settings"]["failed_import_email"]
    keys = json.loads(host.rosterd("client", "key", "list", "acme", "--json").stdout)
    assert 3 == len(keys)


def test_clients_of_one_file_of_settings(host: Host, tmp_path: Path) -> None:
    """Clients that an operator configured in one file are changed there, one after the other."""
    config = host.path("/etc/rosterd/config.toml")
    tables = [f'[[client]]\nname = "{name}"  # {name}\ninbox = "/srv/sftp/{name}/upload"\n' for name in NAMES]
    config.write_text("".join(tables))
    file = tmp_path / "clients.csv"
    file.write_text("name,email\n" + "".join(f"{name},it@{name}.example\n" for name in NAMES))
    assert (0, dict.fromkeys(NAMES, "changed")) == ((told := apply(host, file, "--apply"))[0], states(told[1]))
    assert [] == [*host.path("/etc/rosterd/clients.d").iterdir()]
    assert [f'failed_import_email = ["it@{name}.example"]' for name in NAMES] == [
        line for line in config.read_text().splitlines() if line.startswith("failed")
    ]
    assert {*(f"# {name}" for name in NAMES)} == {
        line[line.index("#") :] for line in config.read_text().splitlines() if "#" in line
    }
    assert (0, False) == ((told := apply(host, file, "--apply"))[0], told[1]["changed"])


UNUSABLE = {
    "not TOML": ("toml", "[[client]", "clients.toml"),
    "something else": ("toml", "[mail]\nhost = 'x'\n", "expected [[client]] tables only"),
    "empty": ("csv", "", "contains no client"),
    "only a header": ("csv", "name,email\n", "contains no client"),
    "a column that is none": ("csv", "name,emial\nacme,x\n", 'emial: unknown; did you mean "email"?'),
    "a key that is none": ("toml", '[[client]]\nname = "acme"\nemial = "x"\n', 'emial: unknown; did you mean "email"?'),
    "two names of three": (
        "toml",
        '[[client]]\nname = "a/b"\n[[client]]\nname = "ok"\n[[client]]\n',
        "toml line 5 name: got none",
    ),
    "a cell too many": ("csv", "name,email\nacme,a,b\n", "line 2: has 3 cells; expected 2"),
    "a bad name": ("csv", "name\n../acme\n", "expected a name of at most 63"),
    "no name": ("csv", "name,email\n,a@acme.example\n", "expected a name of at most 63"),
    "one name twice": ("toml", '[[client]]\nname = "acme"\n' * 2, "got acme again"),
    "two values": ("csv", "name,language\nacme,en\nacme,fr\n", None),
    "two durations": ("csv", "name,expect_every\nacme,1d\nacme,2d\n", "an earlier line of this client has 1d"),
    "a table in CSV": ("csv", "name,guard\nacme,5 %\n", "Use TOML"),
    "bytes": ("csv", "name\nac\udcffme\n", "clients.csv"),
}


@pytest.mark.parametrize(("ending", "text", "said"), UNUSABLE.values(), ids=UNUSABLE)
def test_a_file_that_is_no_list_changes_nothing(
    host: Host, tmp_path: Path, ending: str, text: str, said: str | None
) -> None:
    """If FILE is not a list of clients, the command exits with 2 and names the place, before it does anything."""
    file = tmp_path / f"clients.{ending}"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    refused = host.rosterd("client", "apply", file, "--apply", check=False)
    if said is None:
        assert 0 == refused.returncode, refused.stderr
        return
    assert (2, True) == (refused.returncode, said in refused.stderr), refused.stderr
    assert "Nothing was changed" in refused.stderr
    assert [] == [*host.path("/srv/sftp").iterdir()]


def test_all_that_is_wrong_with_a_file_is_told_at_once(tmp_path: Path) -> None:
    """Each line that keeps FILE from being a list is named, in its order, with what is wrong with other clients."""
    file = tmp_path / "clients.csv"
    file.write_text(
        'name,email,key\n../a,,\nacme,,no key\n,x@b.example,\nbeta,\n\ngamma,"g@c.example\n\nh@c.example",\nd e,,\n'
    )
    with pytest.raises(NotAList) as refused:
        clients_in(file)
    lines = str(refused.value).splitlines()
    assert ["2", "3", "4", "5", "10"] == [line.removeprefix(f"{file} line ").split()[0].rstrip(":") for line in lines]
    assert "key" in lines[1]
