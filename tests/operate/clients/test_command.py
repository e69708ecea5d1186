"""Clients on a real host: logins, folders and settings, and what the client can do with them by SFTP."""

from __future__ import annotations

import functools
import json
import stat
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from operate import cli
from tests.conftest import Needs
from tests.lab import wait_until
from tests.lab.host import Host, SftpUser

UPLOAD = "/srv/sftp/acme/upload"
GOOD = "unique_id,login_source,first_name,last_name,email\nS1,OPSCOM,Zoe,Roy,zoe@example.org\n"
BAD = "unique_id,login_source,first_name,last_name,email\nS2,OPSCOM,Max,Roy,not an address\n"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def names(host: Host, folder: str) -> list[str]:
    return sorted(path.name for path in host.path(folder).iterdir())


def remove(host: Host, *options: str) -> None:
    """Remove acme, once sshd has ended its last session."""

    def is_removed() -> bool:
        done = host.rosterd("client", "remove", "acme", "--apply", *options, check=False)
        assert done.returncode == 0 or "is logged in" in done.stderr, done.stderr
        return done.returncode == 0

    wait_until(is_removed, "acme's sessions to end")


def test_without_apply_nothing_is_done(host: Host) -> None:
    """`client add` shows each step, and the host stays as it was."""
    shown = host.rosterd("client", "add", "acme", "--email", "it@acme.example").stdout
    assert "useradd" in shown
    assert f"install -d -o rosterd -g acme -m 1770 {UPLOAD}" in shown
    assert 'failed_import_email = ["it@acme.example"]' in shown
    assert [] == names(host, "/srv/sftp")
    assert [] == names(host, "/etc/rosterd/clients.d")
    assert "acme" not in host.path("/etc/passwd").read_text()


def test_an_added_client_has_all_it_needs(host: Host, acme: SftpUser) -> None:
    """`client add --apply` makes login, folders with their modes, and settings that load; the client can look."""
    modes = {name: mode(host.path(UPLOAD) / name) for name in ("..", ".", ".work", ".bak")}
    assert {"..": 0o755, ".": 0o1770, ".work": 0o2700, ".bak": 0o2750} == modes
    listed = json.loads(host.rosterd("client", "list", "--json").stdout)
    assert [("acme", "open", UPLOAD)] == [(each["name"], each["login"], each["settings"]["inbox"]) for each in listed]
    assert 0 == acme.batch("cd /upload", "ls -la", "ls .bak").returncode


def test_a_new_client_has_a_limit(host: Host, acme: SftpUser, tmp_path: Path) -> None:
    """`client add` sets what may stay in the inbox of a new client; a client of before is left as it is."""
    _ = acme
    [client] = json.loads(host.rosterd("client", "list", "--json").stdout)
    assert 4 << 30 == client["settings"]["max_inbox_bytes"]
    host.rosterd("client", "set", "acme", "--max-inbox-bytes", "1000", "--apply")
    host.start_service()
    for name in ("backup.iso", "users.csv"):
        (tmp_path / name).write_text(GOOD * 20)
        assert 0 == acme.batch(f"put {tmp_path / name}").returncode
    wait_until(lambda: len(names(host, f"{UPLOAD}/.bak")) == 2, "the answer")
    [result] = [path for path in host.path(f"{UPLOAD}/.bak").iterdir() if path.name.endswith(".result.txt")]
    assert "Delete from it what you do not need" in " ".join(result.read_text().split())
    wait_until(lambda: "of files stay in the inbox" in host.rosterd("status", check=False).stdout, "the status")
    assert 0 == acme.batch("rm backup.iso").returncode
    host.rosterd("client", "set", "acme", "--unset", "max_inbox_bytes", "--apply")
    assert "Nothing to do" in host.rosterd("client", "add", "acme", "--apply").stdout


def has_reloaded(log: Path, times: int) -> bool:
    return log.read_text().count("config.reloaded") == times


def test_a_command_that_was_killed_reaches_the_service(
    host: Host, acme: SftpUser, tmp_path: Path, needs: Needs
) -> None:
    """Killed when its files are written and the service does not know yet, the same command tells it."""
    needs("strace")
    _ = acme
    log = host.path("/run/rosterd.log")
    host.start_service()
    beta = SftpUser(host, "beta", tmp_path)
    rosterd = (sys.executable, "-m", "operate.cli")
    for words, syscall, left in (
        # Synced are the file of keys, its folder, the settings, and their folder: then all is there.
        (("client", "add", "beta", "--key", str(beta.public_key), "--apply"), "fsync:signal=KILL:when=4", "beta.toml"),
        (("client", "disable", "acme", "--apply"), "sendto:signal=KILL:when=1", "acme.toml.disabled"),
    ):
        strace = (
            "strace",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            f"trace={syscall.partition(':')[0]}",
            "-e",
            f"inject={syscall}",
        )
        times = log.read_text().count("config.reloaded")
        host.run(*strace, *rosterd, *words, check=False)
        assert left in names(host, "/etc/rosterd/clients.d")
        assert times == log.read_text().count("config.reloaded")
        assert "Nothing to do" in host.rosterd(*words).stdout
        wait_until(functools.partial(has_reloaded, log, times + 1), "the reload")


@pytest.mark.parametrize("output", ["unread", "on a full disk"])
def test_output_that_cannot_be_written_ends_no_work(host: Host, tmp_path: Path, output: str) -> None:
    """`client add --apply | head` does all steps, as does one whose output is on a full disk, and ends with 0."""
    user = SftpUser(host, "acme", tmp_path)
    words = [sys.executable, "-m", "operate.cli", "client", "add", "acme", "--key", str(user.public_key), "--apply"]
    if output == "unread":
        assert 0 == host.run_unread(*words)
    else:
        host.run("sh", "-c", '"$@" > /dev/full', "sh", *words)
    assert "Nothing to do" in host.rosterd("client", "add", "acme", "--apply").stdout
    assert 0 == user.batch("ls").returncode


@pytest.mark.parametrize("command", ["show", "disable", "enable", "remove"])
def test_an_unknown_client_is_not_guessed_at(host: Host, acme: SftpUser, command: str) -> None:
    """A client that is not there ends a command with 2 and the nearest name."""
    _ = acme
    done = host.rosterd("client", command, "acmee", check=False)
    assert (2, True) == (done.returncode, 'did you mean "acme"?' in done.stderr)


def test_adding_again_changes_nothing(host: Host, acme: SftpUser) -> None:
    """`client add` of a client that is there says that nothing is to be done, and keeps what was edited since."""
    drop_in = host.path("/etc/rosterd/clients.d/acme.toml")
    drop_in.write_text(drop_in.read_text() + "receipts = true\n")
    assert "Nothing to do" in host.rosterd("client", "add", "acme", "--key", acme.public_key, "--apply").stdout
    assert "receipts = true" in drop_in.read_text()


def test_adding_again_sets_folders_right(host: Host, acme: SftpUser) -> None:
    """`client add` of a client whose folders were changed makes them as they should be, and nothing else."""
    host.path(UPLOAD).chmod(0o777)
    host.run("rm", "-r", f"{UPLOAD}/.bak")
    shown = host.rosterd("client", "add", "acme", "--key", acme.public_key, "--apply").stdout
    assert 2 == shown.count("install -d")
    assert "useradd" not in shown
    assert (0o1770, 0o2750) == (mode(host.path(UPLOAD)), mode(host.path(f"{UPLOAD}/.bak")))


def test_sessions_are_heard_by_the_service(host: Host, tmp_path: Path) -> None:
    """`client add --log-sessions` makes the place of a socket in the chroot, where the service then listens."""
    shown = host.rosterd("client", "add", "acme", "--log-sessions").stdout
    assert "install -d -o rosterd -g acme -m 2710 /srv/sftp/acme/dev" in shown
    assert 'log_socket = "dev/log"' in shown
    user = SftpUser(host, "acme", tmp_path)
    host.rosterd("client", "add", "acme", "--key", user.public_key, "--log-sessions", "--apply")
    host.start_service()
    assert (
        "the service receives its session log at /srv/sftp/acme/dev/log" in host.rosterd("doctor", check=False).stdout
    )
    assert 0 == user.batch("ls").returncode
    for line in ("rm /dev/log", "rename /dev/log /upload/log", "put /etc/hostname /dev/x"):
        assert 0 != user.batch(line).returncode


def test_a_socket_that_was_configured_later_gets_its_place(host: Host, acme: SftpUser) -> None:
    """`client add` of a client whose settings have got a log_socket since makes the folder for it, and only that."""
    again = ("client", "add", "acme", "--key", str(acme.public_key), "--log-sessions", "--apply")
    change = "rosterd client set acme --log-socket dev/log --apply"
    assert f"to change it: {change}\n" in host.rosterd(*again, check=False).stderr
    assert "rosterd client add acme --apply" in host.rosterd(*change.split()[1:]).stdout
    shown = host.rosterd(*again).stdout
    assert (1, 0) == (shown.count("install -d"), shown.count("clients.d"))
    assert 0o2710 == mode(host.path("/srv/sftp/acme/dev"))
    assert "Nothing to do" in host.rosterd(*again).stdout


def test_the_client_gets_its_answers(host: Host, acme: SftpUser, tmp_path: Path) -> None:
    """With the service's own user and rights, an upload is imported and the client reads what failed, by SFTP."""
    host.start_service()
    for name, content in (("good.csv", GOOD), ("bad.csv", BAD)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)  # sftp -p hands the mode over: nobody but the client may read it
        assert 0 == acme.batch(f"put -p {tmp_path / name}").returncode
    wait_until(lambda: len(names(host, f"{UPLOAD}/.bak")) == 5, "two archives, two results, one failed CSV")
    fetched = acme.batch(f"lcd {tmp_path}", "get .bak/bad.*.failed.csv", "get .bak/*.result.txt")
    assert (0, "") == (fetched.returncode, fetched.stderr)
    [failed] = tmp_path.glob("bad.*.failed.csv")
    assert b"9033" in failed.read_bytes()


def test_the_client_tries_files_out(host: Host, acme: SftpUser, tmp_path: Path) -> None:
    """`client set --check-folder` makes the folder first; the client's files are answered there, and nothing else."""
    host.start_service()
    shown = host.rosterd("client", "set", "acme", "--check-folder").stdout
    assert f"install -d -o rosterd -g acme -m 3770 {UPLOAD}/check" in shown
    host.rosterd("client", "set", "acme", "--check-folder", "--apply")
    assert 0o3770 == mode(host.path(f"{UPLOAD}/check"))
    assert "missing or wrong" not in host.rosterd("client", "show", "acme").stdout
    (tmp_path / "bad.csv").write_text(BAD)
    (tmp_path / "bad.csv").chmod(0o600)
    assert 0 == acme.batch("cd check", f"put -p {tmp_path / 'bad.csv'}").returncode
    wait_until(lambda: len(names(host, f"{UPLOAD}/check")) == 3, "the file, and its answers")

    fetched = acme.batch(f"lcd {tmp_path}", "get check/bad.*.failed.csv", "get check/bad.*.check.txt")
    assert (0, "") == (fetched.returncode, fetched.stderr)
    [text] = tmp_path.glob("bad.*.check.txt")
    assert "nothing was imported" in text.read_text()
    for line in (f"rm check/{text.name}", f"put {tmp_path / 'bad.csv'} check/{text.name}", "rename check other"):
        assert 0 != acme.batch(line).returncode
    assert 0 == acme.batch("rm check/bad.csv").returncode
    assert [] == json.loads(host.rosterd("imports", "--json").stdout)
    assert "nothing is lost" in host.rosterd("verify").stdout
    doctor = host.rosterd("doctor", check=False).stdout
    assert f"{UPLOAD}/check: can be used to try files out" in doctor


def test_the_service_makes_a_missing_check_folder(host: Host, acme: SftpUser, tmp_path: Path) -> None:
    """Where the operator wrote the setting by hand, the service makes the folder, and `client add` sets it right."""
    drop_in = host.path("/etc/rosterd/clients.d/acme.toml")
    drop_in.write_text(f"{drop_in.read_text()}check_folder = true\n")
    host.start_service()
    wait_until(host.path(f"{UPLOAD}/check").exists, "the folder")
    (tmp_path / "bad.csv").write_text(BAD)
    assert 0 == acme.batch("cd check", f"put {tmp_path / 'bad.csv'}").returncode
    wait_until(lambda: len(names(host, f"{UPLOAD}/check")) == 3, "the file, and its answers")
    fetched = acme.batch(f"lcd {tmp_path}", "get check/bad.*.check.txt")
    assert (0, "") == (fetched.returncode, fetched.stderr)
    assert "check: can be used" in host.rosterd("doctor", check=False).stdout
    assert "install -d -o rosterd -g acme -m 3770" in host.rosterd("client", "add", "acme", "--apply").stdout
    assert 0o3770 == mode(host.path(f"{UPLOAD}/check"))


@pytest.mark.parametrize("line", ["rename .bak stolen", "rmdir .bak", "put /etc/hostname .bak/x", "chmod 777 .bak"])
def test_the_client_cannot_touch_its_archive(host: Host, acme: SftpUser, line: str) -> None:
    """Whatever the client tries on `.bak`, sshd refuses."""
    assert 0 != acme.batch(line).returncode
    assert [] == names(host, f"{UPLOAD}/.bak")


@pytest.mark.parametrize("line", ["ln -s /etc/passwd users.csv", "put /etc/hostname ../x", "get /etc/passwd"])
def test_the_client_stays_inside(acme: SftpUser, line: str) -> None:
    """The client makes no links, writes nowhere but in its inbox, and sees nothing of the host."""
    assert 0 != acme.batch(line).returncode


def test_a_disabled_client_cannot_log_in(host: Host, acme: SftpUser) -> None:
    """`client disable` closes the login and takes the inbox from the service; `client enable` takes that back."""
    assert 0 == acme.batch("ls").returncode
    host.rosterd("client", "disable", "acme", "--apply")
    assert 0 != acme.batch("ls").returncode
    assert [("acme", "disabled")] == [
        (each["name"], each["login"]) for each in json.loads(host.rosterd("client", "list", "--json").stdout)
    ]
    host.rosterd("client", "enable", "acme", "--apply")
    assert 0 == acme.batch("ls").returncode


def test_a_removed_client_leaves_its_files(host: Host, acme: SftpUser) -> None:
    """`client remove` takes login, key and settings away; the archive stays, unless --with-files."""
    host.path(f"{UPLOAD}/.bak/old.csv").touch()
    remove(host)
    assert 0 != acme.batch("ls").returncode
    assert ([], []) == (names(host, "/etc/rosterd/clients.d"), names(host, "/etc/ssh/sftpdrop"))
    assert "acme" not in host.path("/etc/passwd").read_text()
    assert ["old.csv"] == names(host, f"{UPLOAD}/.bak")


def test_a_removal_keeps_uploads_that_wait(host: Host, acme: SftpUser, tmp_path: Path) -> None:
    """`client remove` refuses while uploads wait to be imported; with --with-files they go with the rest."""
    (tmp_path / "users.csv").write_text(GOOD)
    acme.batch(f"put {tmp_path / 'users.csv'}")
    refused = host.rosterd("client", "remove", "acme", "--apply", check=False)
    assert 2 == refused.returncode
    assert "1 uploads that are not imported" in refused.stderr
    remove(host, "--with-files")
    assert [] == names(host, "/srv/sftp")


NO_NAMES = ["acme/../beta", "acme/../..", "..", ".", "/srv/sftp/beta", "", "acme/", "acme\n", "beta\x1b[8m", "a" * 64]


@pytest.mark.parametrize("name", NO_NAMES, ids=ascii)
@pytest.mark.parametrize(
    "command",
    [
        ("client", "add"),
        ("client", "show"),
        ("client", "disable"),
        ("client", "enable"),
        ("client", "remove", "--with-files"),
        ("guide", "--client"),
        ("imports", "--client"),
        ("users", "zoe", "--client"),
        ("mail", "list", "--client"),
        ("release", "users.csv", "--client"),
        ("export", "S1", "--client"),
    ],
    ids=" ".join,
)
def test_a_name_that_is_a_path_is_refused(command: tuple[str, ...], name: str) -> None:
    """A name that no client can have is a usage error of every command that takes one, and not printed raw."""
    refused = CliRunner().invoke(cli.main, [*command, name])
    assert 2 == refused.exit_code
    assert f"{json.dumps(name)} cannot be the name of a login or a client" in refused.output
    assert refused.output.replace("\n", "").isprintable()


def test_a_removal_stays_in_the_folder_of_the_client(host: Host) -> None:
    """`client remove --with-files` refuses a folder that is a link, and one that holds the inbox of another client."""
    host.run("sh", "-c", "mkdir -p /srv/www /srv/sftp/acme/beta; touch /srv/www/index.html; ln -s /srv/www /srv/sftp/x")
    host.path("/etc/rosterd/clients.d/beta.toml").write_text(
        '[[client]]\nname = "beta"\ninbox = "/srv/sftp/acme/beta"\n'
    )
    for name, said in (
        ("acme", "contains the inbox of beta"),
        ("x", "is a symbolic link"),
        ("beta/../acme", "cannot be"),
    ):
        refused = host.rosterd("client", "remove", name, "--with-files", "--apply", check=False)
        assert (2, True) == (refused.returncode, said in refused.stderr), refused.stderr
    assert (["acme", "x"], ["index.html"]) == (names(host, "/srv/sftp"), names(host, "/srv/www"))


def test_settings_of_another_client_are_left_alone(host: Host) -> None:
    """Neither `disable` nor `remove` touches a file of clients.d that is about another client than it says."""
    drop_in = host.path("/etc/rosterd/clients.d/acme.toml")
    drop_in.write_text('[[client]]\nname = "beta"\ninbox = "/srv/sftp/beta/upload"\n')
    host.path("/etc/rosterd/config.toml").write_text('[[client]]\nname = "gamma"\ninbox = "/srv/sftp/gamma/upload"\n')
    for command, name, said in (
        ("disable", "acme", "also configures beta; move that to another file"),
        ("remove", "acme", "also configures beta; move that to another file"),
        ("remove", "gamma", "change a client of another file there"),
    ):
        refused = host.rosterd("client", command, name, "--apply", check=False)
        assert (2, True) == (refused.returncode, said in refused.stderr), refused.stderr
    assert drop_in.exists()


def test_only_root_may_do_it(host: Host) -> None:
    """Everybody else is told so in one sentence, with exit status 77; --help is for all."""
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-m", "operate.cli")
    for words in (("list",), ("show", "acme"), ("add", "acme"), ("remove", "acme", "--apply")):
        done = host.run(*nobody, "client", *words, check=False)
        assert (77, f"rosterd client {words[0]}: only root may do this\n") == (
            done.returncode,
            done.stderr.replace("cli.py", "rosterd").replace("python -m operate.cli", "rosterd"),
        )
    assert 0 == host.run(*nobody, "client", "add", "--help").returncode


def owners(host: Host, folder: str) -> set[tuple[str, str]]:
    """Return user and group, as the host calls them, of all that is in a folder, itself included."""
    return {
        (user, group)
        for line in host.run("find", folder, "-printf", r"%u %g\n").stdout.splitlines()
        for user, group in [line.split()]
    }


def test_what_a_removed_client_leaves_is_nobodys_else(host: Host, acme: SftpUser, tmp_path: Path) -> None:
    """Who is given the numbers of a removed login owns none of its files; the client, added again, has them back."""
    host.run("sh", "-c", f"cd {UPLOAD}; setpriv --reuid=acme --regid=acme --clear-groups mkdir -p of/theirs")
    host.run("sh", "-c", f"echo x > {UPLOAD}/.bak/old.csv; chown rosterd:acme {UPLOAD}/.bak/old.csv")
    host.run(
        "sh", "-c", f"touch {UPLOAD}/.bak/link; ln -sf /etc/shadow {UPLOAD}/.bak/link; chown -h acme {UPLOAD}/.bak/link"
    )
    host.run("chmod", "0640", f"{UPLOAD}/.bak/old.csv")
    host.run("mv", f"{UPLOAD}/of", f"{UPLOAD}/.bak/of")
    uid = host.run("id", "-u", "acme").stdout.strip()
    remove(host)
    host.run("useradd", "--uid", uid, "beta")
    assert {("root", "root"), ("rosterd", "rosterd")} == owners(host, "/srv/sftp/acme")
    assert ("root", "shadow") == (host.path("/etc/shadow").owner(), host.path("/etc/shadow").group())
    add = ("client", "add", "acme", "--email", "it@acme.example", "--key", acme.public_key, "--apply")
    host.rosterd(*add)
    assert {("rosterd", "acme")} == owners(host, f"{UPLOAD}/.bak")
    assert 0 == acme.batch(f"get .bak/old.csv {tmp_path / 'old.csv'}").returncode
    assert "Nothing to do" in host.rosterd(*add).stdout


@pytest.mark.parametrize("options", [(), ("--with-files",)], ids=["leaving files", "with files"])
@pytest.mark.usefixtures("acme")
def test_a_removal_that_was_cut_off_is_completed(host: Host, options: tuple[str, ...]) -> None:
    """Wherever a removal ends early, the login is there as long as files are its own, and it can be made again."""
    host.run("sh", "-c", f"touch {UPLOAD}/.bak/old.csv; chown acme:acme {UPLOAD}/.bak/old.csv")
    host.path("/srv/bin").mkdir()
    early = ("env", "PATH=/srv/bin:/usr/bin:/usr/sbin", sys.executable, "-m", "operate.cli", "client", "remove", "acme")
    for name in ("usermod", "rm" if options else "chown", "userdel"):
        program = host.path(f"/srv/bin/{name}")
        program.write_text("#!/bin/sh\nexit 9\n")
        program.chmod(0o755)
        host.run(*early, "--apply", *options, check=False)
        program.unlink()
        is_owner = any("acme" in pair for pair in owners(host, "/srv/sftp"))
        assert not is_owner or "acme" in host.path("/etc/passwd").read_text()
    remove(host, *options)
    assert "acme" not in host.path("/etc/passwd").read_text()
    left = host.run("find", "/srv/sftp", "-name", "old.csv", "-user", "rosterd").stdout
    assert ("" if options else f"{UPLOAD}/.bak/old.csv\n") == left


def test_a_tree_that_nobody_claims_is_seen(host: Host, acme: SftpUser) -> None:
    """Doctor warns of an inbox whose login was removed by hand, as its number will be given to another one."""
    assert 0 == acme.batch("ls").returncode
    wait_until(lambda: host.run("userdel", "acme", check=False).returncode == 0, "acme's sessions to end")
    host.path("/etc/rosterd/clients.d/acme.toml").unlink()
    assert f"warning  clients: {UPLOAD}: left by a removed client" in host.rosterd("doctor", check=False).stdout
    host.run("chown", "-hR", "rosterd:rosterd", UPLOAD)
    assert "no more" not in host.rosterd("doctor", check=False).stdout


def test_a_restored_tree_is_seen_and_set_right(host: Host, acme: SftpUser, tmp_path: Path) -> None:
    """Files that a backup brought back with numbers of others are named by doctor; `client add` gives them back."""
    (tmp_path / "users.csv").write_text(GOOD)
    assert 0 == acme.batch(f"put {tmp_path / 'users.csv'}", "mkdir own").returncode
    host.run("sh", "-c", f"echo x > {UPLOAD}/.bak/old.csv; chmod 0640 {UPLOAD}/.bak/old.csv")
    host.run("useradd", "--uid", "20005", "beta")
    host.run("sh", "-c", f"chown -R rosterd:beta {UPLOAD} && chown -R beta:beta {UPLOAD}/users.csv {UPLOAD}/own")
    assert 0 != acme.batch(f"get .bak/old.csv {tmp_path / 'old.csv'}").returncode
    said = host.rosterd("doctor", check=False).stdout
    assert f"fault    client acme: {UPLOAD}: belongs to group beta; expected the group of acme" in said
    assert f"{UPLOAD}/.bak and .work: 3 entries belong to others, for example rosterd and group beta" in said
    assert f"{UPLOAD}: uploads in it are owned by beta, group beta; expected acme" in said
    host.rosterd("client", "add", "acme", "--apply")
    assert {("rosterd", "acme")} == owners(host, f"{UPLOAD}/.bak")
    assert {("acme", "acme")} == owners(host, f"{UPLOAD}/own") | owners(host, f"{UPLOAD}/users.csv")
    assert 0 == acme.batch(f"get .bak/old.csv {tmp_path / 'old.csv'}").returncode
    lines = host.rosterd("doctor", check=False).stdout.splitlines()
    assert [] == [line for line in lines if line.startswith("fault") and "belongs to" in line]
    assert "Nothing to do" in host.rosterd("client", "add", "acme", "--apply").stdout


CONFLICTS = {
    "a name that is no login": ("true", "Acme Inc", "cannot be the name of a login"),
    "another user": ("useradd acme", "acme", "is not in sftpdrop"),
    "root": ("true", "root", "is not in sftpdrop"),
    "another group": ("groupadd acme", "acme", "a group acme exists"),
    "a bad address": ("true", "acme", "a full e-mail address"),
    "a link in the way": ("ln -s /etc /srv/sftp/acme", "acme", "is not a folder"),
    "a foreign archive": (f"install -d -o daemon {UPLOAD}/.bak", "acme", "Move it away"),
    "an inbox taken": (
        f"""printf '[[client]]\\nname = "beta"\\ninbox = "{UPLOAD}"\\n' > /etc/rosterd/clients.d/beta.toml""",
        "acme",
        "expected a folder separate from",
    ),
    "a broken configuration": ("echo '[intake' > /etc/rosterd/config.toml", "acme", "not TOML"),
    "no service": ("sed -i /^rosterd:/d /etc/passwd", "acme", "no user rosterd"),  # userdel minds other hosts here
    "no group for logins": ("groupdel sftpdrop", "acme", "no group sftpdrop"),
}


@pytest.mark.parametrize(("before", "name", "said"), CONFLICTS.values(), ids=CONFLICTS)
def test_a_conflict_stops_before_the_start(host: Host, before: str, name: str, said: str) -> None:
    """What is in the way is named, and nothing is begun."""
    host.run("sh", "-c", before)
    users = host.path("/etc/passwd").read_text()
    address = "nobody" if "address" in said else "it@acme.example"
    refused = host.rosterd("client", "add", name, "--email", address, "--apply", check=False)
    assert 2 == refused.returncode
    assert said in refused.stderr
    assert users == host.path("/etc/passwd").read_text()
    assert not host.path(f"/etc/rosterd/clients.d/{name}.toml").exists()
