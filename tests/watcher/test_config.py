"""config.toml: what it may hold, what is said when it holds something else, and that the shipped one is complete."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from importer.settings import (
    ClientSettings,
    FeedSettings,
    FileSettings,
    GuardSettings,
    HookSettings,
    MailSettings,
    ReferenceSettings,
    RetentionSettings,
    StatusSettings,
)
from operate.provision.drop_ins import clients_of
from tests import REPOSITORY
from watcher.config import ConfigError, hook_secret, load, smtp_password
from watcher.settings import Config, ConsoleSettings, IntakeSettings, LogSettings, MetricsSettings, ServiceSettings

SHIPPED = REPOSITORY / "config.toml"
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "service": ServiceSettings,
    "intake": IntakeSettings,
    "file": FileSettings,
    "guard": GuardSettings,
    "mail": MailSettings,
    "retention": RetentionSettings,
    "log": LogSettings,
    "metrics": MetricsSettings,
    "reference": ReferenceSettings,
    "console": ConsoleSettings,
    "hook": HookSettings,
    "client": ClientSettings,
    "client.feed": FeedSettings,
    "client.status": StatusSettings,
}
# Shown by an example: their default is nothing.
EXAMPLES = {
    *(("client", name) for name in ("columns", "limits", "max_inbox_bytes", "retention_days", "guard", "status")),
    *(("client.feed", name) for name in ("name", "files")),
    *(("hook", name) for name in ("name", "url", "events")),
}
CLIENT = '[[client]]\nname = "acme"\ninbox = "in/acme"\n'
STATUS = '[client.status]\ncolumn = "Enrolment"\nactive = ["A"]\ninactive = ["I"]\n'
FEED = '[[client.feed]]\nname = "students"\nfiles = "students*.csv"\n'

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes config.toml, and drop-ins by name, and returns the path of the first."""

    def write_files(main: str, **drop_ins: str) -> Path:
        (tmp_path / "config.toml").write_text(main, encoding="utf-8")
        for name, text in drop_ins.items():
            (tmp_path / "clients.d").mkdir(exist_ok=True)
            (tmp_path / "clients.d" / f"{name}.toml").write_text(text, encoding="utf-8")
        return tmp_path / "config.toml"

    return write_files


@pytest.fixture(autouse=True)
def _no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv("ROSTERD_SMTP_PASSWORD", raising=False)


def problems(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return caught.value.problems


def test_an_empty_file_is_all_defaults(write: Write, tmp_path: Path) -> None:
    """A file without a word configures no client and leaves every default."""
    config = load(write(""))
    assert () == config.clients
    assert IntakeSettings() == config.intake
    assert str(tmp_path / "config.toml") != config.service.state_dir == "/var/lib/rosterd"


def test_relative_paths_start_at_the_file(write: Write, tmp_path: Path) -> None:
    """Every path in the Config is absolute; relative ones start at the folder of config.toml or at the state folder."""
    text = (
        '[service]\nstate_dir = "state"\n[mail]\nca_file = "ca.pem"\n' + CLIENT + 'protected_users = "acme.protected"\n'
    )
    config = load(write(text))
    assert str(tmp_path / "state") == config.service.state_dir
    assert str(tmp_path / "state" / "rosterd.db") == config.service.database
    assert str(tmp_path / "state" / "mail") == config.mail.maildir
    assert str(tmp_path / "ca.pem") == config.mail.ca_file
    assert [str(tmp_path / "in/acme")] == [client.inbox for client in config.clients]
    assert [str(tmp_path / "acme.protected")] == [client.protected_users for client in config.clients]


def test_drop_ins_add_clients(write: Write) -> None:
    """Each file of clients.d adds its clients after those of config.toml, in the order of the file names."""
    beta = CLIENT.replace("acme", "beta")
    config = load(write(CLIENT, b=beta, a=CLIENT.replace("acme", "a1") + CLIENT.replace("acme", "a2")))
    assert ["acme", "a1", "a2", "beta"] == [client.name for client in config.clients]


def test_links_above_an_inbox_are_resolved(write: Write, tmp_path: Path) -> None:
    """An operator's link above an inbox is followed at load, the inbox itself is taken as it stands."""
    (tmp_path / "real").mkdir()
    (tmp_path / "in").symlink_to("real")
    [client] = load(write(CLIENT)).clients
    assert str(tmp_path / "real" / "acme") == client.inbox


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[intake]\nquiet_s = -1\n", "config.toml intake.quiet_s: got -1; expected a number above 0"),
        ("[intake]\nquiet_s = inf\n", "config.toml intake.quiet_s: got Infinity; expected a finite number"),
        ('[intake]\npattern = "in/*.csv"\n', "config.toml intake.pattern: got"),
        ('[intake]\npattern = ""\n', 'config.toml intake.pattern: got ""; expected a text that is not empty'),
        ("[intake]\nquite_s = 1\n", 'config.toml intake.quite_s: unknown key; expected "quiet_s"?'),
        ("[intakes]\n", 'config.toml intakes: unknown key; expected "intake"?'),
        ("intake = 3\n", "config.toml intake: got 3; expected a table"),
        ("[service]\nworkers = 2\n", "config.toml service.workers: got 2; expected 1 with SQLite"),
        ("[log]\nxyz = 3\n", "config.toml log.xyz: unknown key; expected one of level, format"),
        ('[log]\nlevel = "loud"\n', 'config.toml log.level: got "loud"; expected one of "debug"'),
        ("[mail]\nport = 0\n", "config.toml mail.port: got 0; expected a whole number at least 1 and at most 65535"),
        ("[mail]\noperator = 3\n", "expected a list, each item a text that is not empty"),
        ('[mail]\noperator = ["ops"]\n', 'config.toml mail.operator: got "ops"; expected a full e-mail address'),
        ('[mail]\nreply_to = "Ops <a@b.example>"\n', "expected a full e-mail address"),
        ('[mail]\nhost = "mx.example"\nsecurity = "none"\n', "the host mx.example is not this machine"),
        ('[mail]\nhost = "mx..example"\n', 'mail.host: got "mx..example"; expected the name or address of a host'),
        ('[mail]\nuser = "relay"\n', 'mail.user: got "relay"; expected a full e-mail address'),
        ('[mail]\npassword = "hunter2"\n', "config.toml mail.password: no password belongs in this file."),
        ("[file]\nmax_rows = 1.5\n", "config.toml file.max_rows: got 1.5; expected a whole number above 0"),
        ('[reference]\nuser_types = ["7a"]\n', 'config.toml reference.user_types: got "7a"; expected digits'),
        ("[client]\n", "config.toml client: got a single table; expected [[client]] in double brackets"),
        ('[[client]]\nname = "acme"\n', "config.toml client.acme.inbox: missing; expected a text that is not empty"),
        (
            '[[client]]\ninbox = "x"\n',
            "config.toml client[1].name: missing; expected a name of at most 63 letters, digits, ",
        ),
        (
            '[[client]]\nname = "a/b"\ninbox = "x"\n',
            'config.toml client.a/b.name: got "a/b"; expected a name of at most 63',
        ),
        (CLIENT + 'expect_every = "1 day"\n', 'got "1 day"; expected a duration such as 26h, 8d or 90min'),
        ('[metrics]\nlisten = "9188"\n', 'got "9188"; expected an address and port such as 127.0.0.1:9188'),
        ('[metrics]\ntextfile = "x"\n', 'metrics.textfile: got "x"; expected a path that ends with .prom'),
        ("[retention]\ndays = -1\n", "retention.days: got -1; expected a whole number at least 0 and at most 36500"),
        (CLIENT + 'retention_days = "7"\n', 'retention_days: got "7"; expected a whole number at least 0'),
        (CLIENT + "receipts = 1\n", "config.toml client.acme.receipts: got 1; expected true or false"),
        (CLIENT + 'failed_import_email = ["x"]\n', "client.acme.failed_import_email: got"),
        (CLIENT + 'language = "de"\n', "client.acme.language: got"),
        (CLIENT + "language = []\n", 'client.acme.language: got []; expected "en", "fr" or both'),
        (CLIENT + 'language = ["fr", "fr"]\n', 'expected "en", "fr" or both'),
        ('[mail]\ncontact = "Marie\\nRoy"\n', 'mail.contact: got "Marie\\nRoy"; expected one line of text'),
        ('[mail]\ntimezone = "Canada"\n', 'mail.timezone: got "Canada"; expected a name of the time zone database'),
        ('[mail]\ntimezone = "/etc/passwd"\n', 'mail.timezone: got "/etc/passwd"; expected a name of the time'),
        ('[mail]\ntimezone = "Toronto"\n', 'mail.timezone: got "Toronto"; expected a name of the time zone'),
        ('[mail]\nguide_url = "guide.html"\n', 'mail.guide_url: got "guide.html"; expected an address that begins'),
        ('[mail]\nsender_name = "A\\nB"\n', 'mail.sender_name: got "A\\nB"; expected one line of text'),
        (CLIENT + 'fallback_encoding = "cp125"\n', "client.acme.fallback_encoding: got"),
        (
            CLIENT + 'fallback_encoding = "utf-16"\n',
            'an encoding that Python knows and that contains ASCII, such as "cp1252"',
        ),
        (
            CLIENT + 'fallback_encoding = "base64"\n',
            'an encoding that Python knows and that contains ASCII, such as "cp1252"',
        ),
        (CLIENT + 'login_source = "LDAP"\n', "expected one of reference.login_sources: OPSCOM"),
        (
            CLIENT + 'columns = { "Student" = "studentno" }\n',
            'columns.Student: got "studentno"; expected "student_no"?',
        ),
        (CLIENT + "limits = { emial = 5 }\n", 'config.toml client.acme.limits: got "emial"; expected "email"?'),
        (CLIENT + "limits = { email = 0 }\n", "expected a table, each value a whole number above 0"),
        (CLIENT + 'required = ["colour"]\n', "expected one of the attributes: unique_id, login_source"),
        (CLIENT + CLIENT.replace("in/acme", "in/b"), "got the name of config.toml client.acme again"),
        (
            CLIENT + CLIENT.replace('"acme"', '"b"'),
            "expected a folder separate from the inbox of config.toml client.acme",
        ),
        (CLIENT + '[[client]]\nname = "b"\ninbox = "in/acme/b"\n', "expected a folder separate from the inbox of"),
        ('[service]\nstate_dir = "in/acme/s"\n' + CLIENT, "expected service.state_dir outside of it"),
        (CLIENT + "feed = 3\n", "client.acme.feed: got a single table; expected [[client.feed]] in double brackets"),
        (CLIENT + FEED + "miss = 2\n", "client.acme.feed[1].miss: unknown key; expected"),
        (CLIENT + FEED + FEED, 'client.acme.feed[2].name: got "students"; expected each name once'),
        (CLIENT + FEED + 'mode = "full"\n', 'feed[1].mode: got "full"; expected one of "snapshot", "upsert"'),
        (CLIENT + FEED + 'dated = "students.csv"\n', 'feed[1].dated: got "students.csv"; expected a name with year'),
        (
            CLIENT + STATUS.replace('"I"', '" a"'),
            'client.acme.status.inactive: got " a"; expected a value that is not in',
        ),
        (
            CLIENT + STATUS.replace('["I"]', "[]"),
            "client.acme.status.inactive: got []; expected the values that mean in",
        ),
        (CLIENT + STATUS.replace("Enrolment", ""), 'status.column: got ""; expected the heading of the status column'),
        (CLIENT + STATUS.replace("Enrolment", "email"), 'got "email"; expected a heading that has no other meaning'),
        (CLIENT + STATUS.replace("Enrolment", "PIN"), 'got "PIN"; expected a heading that has no other meaning'),
        (CLIENT + STATUS.replace("Enrolment", "A "), 'got "A "; expected a heading without blanks around it'),
        (
            CLIENT + 'clear_token = "i"\n' + STATUS,
            'status.inactive: got "i"; expected no value that is the clear_token',
        ),
        (CLIENT + 'columns = { Enrolment = "" }\n' + STATUS, 'got "Enrolment"; expected a heading that has no other'),
        (CLIENT + 'protected_fields = ["mail"]\n', 'client.acme.protected_fields: got "mail"; expected "email"?'),
        (
            CLIENT + 'protected_fields = ["unique_id"]\n',
            'got "unique_id"; expected other attributes: no file ever changes',
        ),
        (CLIENT + 'protected_users = "in/acme/list"\n', "; expected a file outside of the inboxes"),
        (CLIENT + STATUS + "values = []\n", "client.acme.status.values: unknown key; expected"),
        ("[service\n", "config.toml: not TOML: "),
    ],
)
def test_a_problem_is_named(write: Write, text: str, problem: str) -> None:
    """A value that cannot be used is answered with file, key, what was found and what was expected, in one line."""
    [found] = problems(write(text))
    assert problem in found


def test_all_problems_are_named_at_once(write: Write) -> None:
    """One answer names the problems of all files."""
    found = problems(write("[intake]\nquiet_s = 0\n[log]\nlevel = 3\n", a="[mail]\n", b='[[client]]\nname = "b"\n'))
    assert [
        "config.toml intake.quiet_s",
        "config.toml log.level",
        "clients.d/a.toml mail",
        "clients.d/b.toml client.b.inbox",
    ] == [problem.partition(":")[0] for problem in found]


def test_a_password_is_not_repeated(write: Write) -> None:
    """The answer to a password in the file says where it belongs and does not print it."""
    [found] = problems(write('[mail]\nsmtp_password = "hunter2"\n'))
    assert "hunter2" not in found
    assert "ROSTERD_SMTP_PASSWORD" in found


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    """A file that is not there is named with its path."""
    assert (f"{tmp_path}/none.toml: No such file or directory; expected a readable UTF-8 file",) == problems(
        tmp_path / "none.toml"
    )


def test_a_file_in_another_encoding_is_a_problem(tmp_path: Path) -> None:
    """A file that is not UTF-8 is named with the place of the first byte that is not."""
    (tmp_path / "config.toml").write_bytes(b'# \xe9\n[log]\nlevel = "info"\n')
    assert (f"{tmp_path}/config.toml: byte 2 is not UTF-8; expected a readable UTF-8 file",) == problems(
        tmp_path / "config.toml"
    )


def test_what_is_no_file_in_clients_d_is_a_problem(write: Write, tmp_path: Path) -> None:
    """A pipe, a device, a folder or a huge file in clients.d is told of, and neither waited for nor read."""
    path = write("", a="")
    os.mkfifo(tmp_path / "clients.d" / "pipe.toml")
    (tmp_path / "clients.d" / "zero.toml").symlink_to("/dev/zero")
    (tmp_path / "clients.d" / "folder.toml").mkdir()
    (tmp_path / "clients.d" / "huge.toml").touch()
    os.truncate(tmp_path / "clients.d" / "huge.toml", 1 << 40)
    expected = {
        f"{tmp_path}/clients.d/{name}.toml: is not a regular file; expected a readable UTF-8 file"
        for name in ("pipe", "zero", "folder")
    } | {f"{tmp_path}/clients.d/huge.toml: has more than 16 MiB; expected a readable UTF-8 file"}
    assert expected == set(problems(path))
    names = {each.stem: clients_of(each) for each in (tmp_path / "clients.d").iterdir()}
    assert {"a", "pipe", "zero", "folder", "huge"} == names.keys()
    assert set() == set().union(*names.values())


def test_clients_d_that_is_no_folder_is_a_problem(write: Write, tmp_path: Path) -> None:
    """What stands in the place of clients.d is not passed over in silence."""
    (tmp_path / "clients.d").write_text("")
    [found] = problems(write(""))
    assert "clients.d: Not a directory" in found


def test_the_credential_comes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password is the systemd credential without its line end, else what the environment says, else nothing."""
    assert smtp_password() == ""
    monkeypatch.setenv("ROSTERD_SMTP_PASSWORD", "from-environment")
    assert smtp_password() == "from-environment"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert smtp_password() == "from-environment"
    (tmp_path / "smtp_password").write_text("from credential\n")
    assert smtp_password() == "from credential"


def test_an_unreadable_credential_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential that is there and cannot be read is not passed over in silence."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "smtp_password").mkdir()
    with pytest.raises(ConfigError, match="Is a directory"):
        smtp_password()


# The shipped file


def test_the_shipped_file_is_the_demo() -> None:
    """The shipped config.toml has the client demo and keeps everything below var/ beside it."""
    config = load(SHIPPED)
    var = str(SHIPPED.parent / "var")
    assert ["demo"] == [client.name for client in config.clients]
    for path in (config.service.database, config.mail.maildir, config.clients[0].inbox):
        assert path.startswith(var)


def shipped_lines() -> Iterator[tuple[str, str, str, bool]]:
    """Yield section, key, text of the value and whether it is commented out, for every setting in the file."""
    section = ""
    for line in SHIPPED.read_text().splitlines():
        if header := re.fullmatch(r"(?:# )?\[\[?([\w.]+)\]\]?", line):
            section = header[1]
        elif setting := re.fullmatch(r"(# )?(\w+) = (.+)", line):
            yield section, setting[2], setting[3], bool(setting[1])


def test_a_client_has_the_limits_of_all_but_for_its_own(write: Write) -> None:
    """[client.guard] goes over [guard], also in clients.d; what is wrong in either is told once, by its key."""
    text = f'[guard]\nidentity = "20 %"\n{CLIENT}[client.guard]\ncreated = "off"\n'
    config = load(write(text, more=CLIENT.replace("acme", "other")))
    guards = {client.name: client.guard for client in config.clients}
    assert GuardSettings(identity="20 %", created="off") == guards["acme"]
    assert GuardSettings(identity="20 %") == guards["other"]
    assert ('config.toml guard.identity: got "lots"; expected a share such as "10 %", or "off"',) == problems(
        write(text.replace("20 %", "lots"), more=CLIENT.replace("acme", "other"))
    )
    assert (
        "config.toml client.acme.guard.created_floor: got -1; expected a whole number at least 0",
        'config.toml client.acme.guard.creatd: unknown key; expected "created"?',
    ) == tuple(sorted(problems(write(text.replace('created = "off"', 'creatd = "off"\ncreated_floor = -1')))))[::-1]


@pytest.mark.parametrize(
    ("guard", "fewer_rows"),
    [("", "20 %"), ('guard = { fewer_rows = "5 %" }\n', "5 %"), ('guard = { created = "off" }\n', "20 %")],
)
def test_shrink_guard_is_read_as_fewer_rows(write: Write, guard: str, fewer_rows: str) -> None:
    """The setting of before is the limit, unless the client has that, too; what to write instead is known."""
    text = f'[guard]\nfewer_rows = "30 %"\n{CLIENT}{guard}shrink_guard = 80\n'
    (client,) = load(write(text)).clients
    assert fewer_rows == client.guard.fewer_rows
    assert ("shrink_guard = 80", f'fewer_rows = "{fewer_rows}" in [client.guard]') == client.deprecated
    (client,) = load(write(text.replace("shrink_guard = 80", ""))).clients
    assert client.deprecated is None


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_stands_in_the_shipped_file(section: str) -> None:
    """The shipped config.toml shows each setting there is, once, and none that there is not."""
    shown = [key for found, key, _, _ in shipped_lines() if found == section]
    assert sorted(SECTIONS[section].__struct_fields__) == sorted(shown)


@pytest.mark.parametrize(("section", "key", "text"), [line[:3] for line in shipped_lines() if line[3]])
def test_a_commented_setting_shows_its_default(section: str, key: str, text: str) -> None:
    """What is commented out in the shipped config.toml is what holds without it."""
    value = tomllib.loads(f"{key} = {text}")[key]
    if (section, key) in EXAMPLES:
        others: dict[str, dict[str, Any]] = {
            "client": {"inbox": "x"},
            "client.feed": {"files": "x"},
            "hook": {"url": "x", "events": ["x"]},
        }
        required: dict[str, Any] = {"name": "x", **others[section], key: value}
        setting = getattr(msgspec.convert(required, SECTIONS[section]), key)
        shown = msgspec.json.decode(msgspec.json.encode(setting))  # with lists, as TOML has them
        assert value == ({name: shown[name] for name in value} if key == "guard" else shown)
    else:
        [field] = [field for field in msgspec.structs.fields(SECTIONS[section]) if field.name == key]
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
        assert default == msgspec.convert(value, field.type)


def test_the_sections_are_those_of_the_config() -> None:
    """Each part of Config is a section of the file."""
    assert {*SECTIONS} - {"client", "client.feed", "client.status"} | {"clients", "source", "base", "is_outdated"} == {
        *Config.__struct_fields__
    }


def test_a_file_belongs_to_the_first_feed_that_matches(write: Write) -> None:
    """A name belongs to the first feed whose pattern it matches, in any case of letters, else to that of all others."""
    other = FEED.replace('"students"', '"rest-of-them"').replace("students*", "s*")
    [client] = load(write(CLIENT + FEED + 'mode = "snapshot"\n' + other)).clients
    files = ("Students_20261129.CSV", "students.failed.csv", "staff.csv", "teachers.csv")
    assert ["students", "students", "rest-of-them", ""] == [client.feed_of(file).name for file in files]
    assert [True, False] == [feed.is_snapshot for feed in client.feed]


def test_one_text_is_a_list_of_one(write: Write) -> None:
    """A setting that takes several texts takes one without brackets, too."""
    [client] = load(write('[[client]]\nname = "a"\ninbox = "a"\nfailed_import_email = "it@school.example"\n')).clients
    assert client.failed_import_email == ("it@school.example",)


# Webhooks

HOOK = '[[hook]]\nname = "a-b"\nurl = "https://h.example/x?t=t0ken"\nevents = "file.*"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[hook]\nname = "a"\n', "config.toml hook: got a single table; expected [[hook]] in double brackets"),
        (HOOK.replace("https:", "http:"), "hook[1].url: got a secret that is not shown; expected an address that beg"),
        (HOOK.replace("h.example", "me:pw@h.example"), "hook[1].url: got a secret that is not shown"),
        (HOOK.replace("h.example", "h\u00e9.example"), "hook[1].url: got a secret that is not shown"),
        (HOOK.replace("h.example", "h..example"), "hook[1].url: got a secret that is not shown"),
        (HOOK.replace("h.example", "h" * 64), "hook[1].url: got a secret that is not shown"),
        (HOOK.replace('"file.*"', "[]"), "hook[1].events: got []; expected names of events as docs/webho"),
        (HOOK.replace("file.*", "user.*"), 'hook[1].events: got "user.*"; expected names of events as docs/webho'),
        (HOOK.replace("a-b", "a b"), 'hook[1].name: got "a b"; expected a name of letters'),
        (HOOK + HOOK, 'hook[2].name: got "a-b"; expected each name once'),
        (HOOK + 'secret = "of mine"\n', 'hook[1].secret: unknown key; expected "secret_file"?'),
    ],
)
def test_an_unsound_hook_is_told(write: Write, text: str, problem: str) -> None:
    """What is wrong with a hook is named, and neither its URL nor a secret is repeated."""
    [found] = problems(write(text))
    assert problem in found
    assert "t0ken" not in found
    assert "of mine" not in found


def test_the_secret_of_a_hook(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the credential, else what the environment says, else the content of a file, else nothing."""
    [hook] = load(write(HOOK + 'secret_file = "secret"\nca_file = "ca.pem"\n')).hook
    assert (str(tmp_path / "ca.pem"), ("file.*",)) == (hook.ca_file, hook.events)
    with pytest.raises(ConfigError, match="secret: No such file or directory"):
        hook_secret(hook)
    (tmp_path / "secret").write_text("of the file\n")
    assert "of the file" == hook_secret(hook)
    monkeypatch.setenv("ROSTERD_HOOK_A_B", "of the environment")
    assert "of the environment" == hook_secret(hook)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert "of the environment" == hook_secret(hook)
    (tmp_path / "hook_a-b").write_text("of the unit\n")
    assert "of the unit" == hook_secret(hook)
    [local] = load(write(HOOK.replace("https://h.example", "http://127.0.0.1:8080"))).hook
    assert "127.0.0.1" == local.host
