"""`rosterd client set`: every setting of a client, by the rules of a reload, in the file as the operator wrote it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from importer.settings import ClientSettings, GuardSettings, StatusSettings
from operate import cli
from tests.conftest import Needs
from tests.lab.host import Host, SftpUser
from watcher.config import load

DROP_IN = "/etc/rosterd/clients.d/acme.toml"
# For each setting the options, and the value that the service then reads.
GIVEN: dict[str, tuple[list[str], Any]] = {
    "inbox": (["--inbox", "/srv/other"], "/srv/other"),
    "companion": (["--companion", "sha256"], "sha256"),
    "log_socket": (["--log-socket", "dev/log"], "dev/log"),
    "failed_import_email": (["--email", "a@x.example", "--email", "b@x.example"], ("a@x.example", "b@x.example")),
    "language": (["--language", "fr", "--language", "en"], ("fr", "en")),
    "receipts": (["--receipts"], True),
    "check_folder": (["--check-folder"], True),
    "check_keep_days": (["--check-keep-days", "3"], 3),
    "max_inbox_bytes": (["--max-inbox-bytes", "2147483648"], 2 << 30),
    "retention_days": (["--retention-days", "30"], 30),
    "require_signature": (["--require-signature", "A" * 40], ("A" * 40,)),
    "expect_every": (["--expect-every", "26h"], "26h"),
    "late_mail": (["--late-mail", "client", "--expect-every", "8d"], ("client",)),
    "columns": (["--columns", "A = B=unique_id", "--columns", "Grade="], {"A = B": "unique_id", "Grade": ""}),
    "unknown_columns": (["--unknown-columns", "ignore"], "ignore"),
    "fallback_encoding": (["--fallback-encoding", "cp1252"], "cp1252"),
    "login_source": (["--login-source", "OPSCOM"], "OPSCOM"),
    "clear_token": (["--clear-token", '"NULL"'], '"NULL"'),
    "short_rows": (["--short-rows", "pad"], "pad"),
    "limits": (["--limits", "employ_no=20"], {"employ_no": 20}),
    "required": (["--required", "email"], ("email",)),
    "protected_fields": (["--protected-fields", "email"], ("email",)),
    "protected_users": (["--protected-users", "/etc/rosterd/acme.protected"], "/etc/rosterd/acme.protected"),
}
GUARDS: dict[str, tuple[list[str], Any]] = {
    field.name: ([f"--guard-{field.name.replace('_', '-')}", value], int(value) if value.isdigit() else value)
    for field in msgspec.structs.fields(GuardSettings)
    for value in ["7" if isinstance(field.default, int) else "7 %"]
} | {
    "approve_by": (["--guard-approve-by", "client"], ("client",)),
    "supersede": (["--guard-supersede", "newer"], "newer"),
    "hold": (["--guard-hold", "removals"], "removals"),
}


@pytest.fixture
def config_file(tmp_path: Path, needs: Needs) -> Path:
    """Return a configuration with one client, in the main file."""
    needs(root=True)
    (tmp_path / "clients.d").mkdir()
    path = tmp_path / "config.toml"
    path.write_text(
        '[file]\naccept = ["pgp"]\n[mail]\nfailed_import_email = "all@x.example"\n'
        '[[client]]\nname = "acme"  # 1\ninbox = "/srv/acme"\n# end\n'
    )
    return path


def run(config_file: Path, *words: str) -> Result:
    return CliRunner().invoke(cli.main, ["client", "set", "acme", *words, "--config", str(config_file)])


def setting(config_file: Path, name: str) -> Any:  # noqa: ANN401 - of any type
    return getattr(load(config_file).clients_by_name["acme"], name)


def test_there_is_an_option_for_each_setting() -> None:
    """Each setting that a client can have is tried below; a new one needs an example here."""
    others = {"name", "guard", "feed", "status", "shrink_guard"}
    assert {*GIVEN, *others} == {field.name for field in msgspec.structs.fields(ClientSettings)}
    assert GUARDS.keys() == {field.name for field in msgspec.structs.fields(GuardSettings)}


@pytest.mark.parametrize("name", GIVEN)
def test_a_setting_is_set_and_unset(config_file: Path, name: str) -> None:
    """Each setting is shown, then written as the service reads it; unset, the file is as before."""
    before, default = config_file.read_text(), setting(config_file, name)
    options, value = GIVEN[name]
    shown = run(config_file, *options)
    assert (0, before) == (shown.exit_code, config_file.read_text()), shown.output
    assert f"      +{name} = " in shown.output or f"      +[client.{name}]" in shown.output or name == "inbox"
    done = run(config_file, *options, "--apply")
    assert (0, value) == (done.exit_code, setting(config_file, name)), done.output
    assert "Nothing to do" in run(config_file, *options, "--apply").output
    if name != "inbox":
        given = [word for option in options[::2] for word in ("--unset", option[2:].replace("-", "_"))]
        unset = run(config_file, *(word.replace("email", "failed_import_email") for word in given), "--apply")
        assert (0, default) == (unset.exit_code, setting(config_file, name)), unset.output
        assert before == config_file.read_text()


def test_a_status_column_is_set_and_unset(config_file: Path) -> None:
    """The column that says who has left is given with its values, and is none again once it is unset."""
    before = config_file.read_text()
    options = ["--status-column", "Enrolment", "--status-active", "A", "--status-inactive", "I"]
    done = run(config_file, *options, "--apply")
    expected = StatusSettings(column="Enrolment", active=("A",), inactive=("I",))
    assert (0, expected) == (done.exit_code, setting(config_file, "status")), done.output
    assert 0 == run(config_file, "--unset", "status", "--apply").exit_code
    assert StatusSettings() == setting(config_file, "status")
    assert before.split() == config_file.read_text().split()


@pytest.mark.parametrize("name", GUARDS)
def test_a_limit_is_set_and_unset(config_file: Path, name: str) -> None:
    """Each limit of [guard] is set for one client, and follows [guard] again once it is unset."""
    before = config_file.read_text()
    options, value = GUARDS[name]
    done = run(config_file, *options, "--apply")
    assert (0, value) == (done.exit_code, getattr(setting(config_file, "guard"), name)), done.output
    assert 0 == run(config_file, "--unset", f"guard.{name}", "--apply").exit_code
    assert GuardSettings() == setting(config_file, "guard")
    assert before.split() == config_file.read_text().split()


def test_a_feed_is_added_changed_and_removed(config_file: Path) -> None:
    """A feed is given as a table; one of the same name is changed key by key, and others stay."""
    for feed in ('name = "students", files = "s*"', 'name = "staff", files = "t*"', 'name = "students", misses = 2'):
        assert 0 == run(config_file, "--feed", feed, "--apply").exit_code
    feeds = setting(config_file, "feed")
    assert [("students", "s*", 2), ("staff", "t*", 1)] == [(each.name, each.files, each.misses) for each in feeds]
    assert 0 == run(config_file, "--unset", "feed.students", "--apply").exit_code
    assert ["staff"] == [each.name for each in setting(config_file, "feed")]


REFUSED = {
    "address": (["--email", "nobody"], "expected a full e-mail address"),
    "duration": (["--expect-every", "soon"], "expected a duration such as 26h"),
    "range": (["--retention-days", "-1"], "retention_days"),
    "depends": (["--late-mail", "client"], "expected expect_every to be set"),
    "attribute": (["--columns", "X=uniqueid"], 'expected "unique_id"?'),
    "choice": (["--language", "de"], "is not one of"),
    "number": (["--limits", "employ_no=many"], "expected KEY=VALUE, a number"),
    "no pair": (["--columns", "unique_id"], "expected KEY=VALUE"),
    "no table": (["--feed", "students"], "expected 'name = "),
    "table with an end": (["--feed", 'name = "a" }\n[mail'], "expected 'name = "),
    "feed without files": (["--feed", 'name = "a"'], "missing"),
    "unset what is not": (["--unset", "colums"], "expected one of"),
    "unset the inbox": (["--unset", "inbox"], "expected one of"),
    "both": (["--receipts", "--unset", "receipts"], "is set and unset"),
    "nothing": ([], "give a setting"),
    "control character": (["--clear-token", "a\x1b[8m", "--email", "nobody"], "full e-mail address"),
}


@pytest.mark.parametrize(("options", "said"), REFUSED.values(), ids=REFUSED)
def test_what_a_reload_would_refuse_is_not_written(config_file: Path, options: list[str], said: str) -> None:
    """A value that the service would not accept is refused by the same sentence, and the file stays."""
    before = config_file.read_text()
    refused = run(config_file, *options, "--apply")
    assert (2, True) == (refused.exit_code, said in refused.output), refused.output
    assert before == config_file.read_text()
    assert "\x1b" not in refused.output


def test_a_file_that_cannot_be_read_is_named(config_file: Path) -> None:
    """A client whose file is not TOML is not called unknown: it is said what is wrong, and where."""
    drop_in = config_file.parent / "clients.d" / "acme.toml"
    drop_in.write_text('[[client]\nname = "acme"\n')
    config_file.write_text("")
    refused = run(config_file, "--receipts", "--apply")
    assert (2, True) == (refused.exit_code, "clients.d/acme.toml: not TOML" in refused.output), refused.output


def test_a_running_service_uses_it_at_once(host: Host, acme: SftpUser) -> None:
    """With --apply the running service reads its settings again; owner and mode of the file stay, so that it can."""
    _ = acme
    host.run("sh", "-c", f"chgrp rosterd {DROP_IN}; chmod 0640 {DROP_IN}; echo '# of Zoe' >> {DROP_IN}")
    told = host.rosterd("client", "set", "acme", "--receipts", "--apply").stdout
    assert "The service is not running; it reads the settings when it starts." in told
    host.start_service()
    told = host.rosterd("client", "set", "acme", "--email", "zoe@acme.example", "--apply").stdout
    assert "The service: the configuration was reloaded; 1 clients" in told
    assert "0640 root rosterd\n" == host.run("stat", "-c", "0%a %U %G", DROP_IN).stdout
    assert host.path(DROP_IN).read_text().endswith("receipts = true\n# of Zoe\n")
    assert "Nothing to do" in host.rosterd("client", "set", "acme", "--receipts", "--apply").stdout


def test_a_change_that_is_killed_leaves_the_old_file(host: Host, acme: SftpUser, needs: Needs) -> None:
    """Killed before the new file has its name, the service reads the old one; the next command completes."""
    needs("strace")
    _ = acme
    before = host.path(DROP_IN).read_text()
    kill = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=/^rename", "-e", "inject=/^rename:signal=KILL"]
    words = ["client", "set", "acme", "--receipts", "--apply"]
    host.run(*kill, sys.executable, "-m", "operate.cli", *words, check=False)
    assert before == host.path(DROP_IN).read_text()
    assert ["acme"] == [
        name for name, *_ in [line.split() for line in host.rosterd("client", "list").stdout.splitlines()[1:]]
    ]
    host.rosterd(*words)
    assert before + "receipts = true\n" == host.path(DROP_IN).read_text()
    assert ["acme.toml"] == [path.name for path in host.path("/etc/rosterd/clients.d").iterdir()]


def test_only_an_enabled_client_has_settings(host: Host, acme: SftpUser) -> None:
    """A disabled client, and one that is not there, are named, and nothing is changed."""
    _ = acme
    unknown = host.rosterd("client", "set", "acmee", "--receipts", "--apply", check=False)
    assert (2, True) == (unknown.returncode, 'did you mean "acme"?' in unknown.stderr)
    host.rosterd("client", "disable", "acme", "--apply")
    disabled = host.rosterd("client", "set", "acme", "--receipts", "--apply", check=False)
    assert (2, True) == (disabled.returncode, "rosterd client enable acme" in disabled.stderr)
