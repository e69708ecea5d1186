"""Who writes in the state directory, on a host where the service is a user of its own and root gives commands."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator

import pytest

from tests.conftest import Needs
from tests.lab import wait_until
from tests.lab.host import Host

STATE = "/var/lib/rosterd"
UPLOAD = "/srv/sftp/acme/upload"
HEADER = "unique_id,login_source,first_name,last_name,email"
ANN = "S-1,OPSCOM,Ann,Lee,ann@school.example"
ROSTERD = (sys.executable, "-m", "operate.cli")
AS_SERVICE = ("setpriv", "--reuid=rosterd", "--regid=rosterd", "--init-groups", "--no-new-privs")
BOB = "S-2,OPSCOM,Bob,Ray,bob"  # is answered by mail


@pytest.fixture(autouse=True)
def _needed(needs: Needs) -> None:
    needs("sshd", "unshare", "nsenter", "setpriv", "useradd", "systemd-sysusers", "systemd-tmpfiles", root=True)


@pytest.fixture
def host() -> Iterator[Host]:
    """Yield a host with the client acme; the service does not run."""
    with Host() as machine:
        machine.rosterd("client", "add", "acme", "--email", "it@acme.example", "--apply")
        yield machine


def upload(host: Host, name: str, *rows: str) -> None:
    """Let the client put a file that only it can read into its inbox."""
    host.path("/srv/new").write_text("\n".join([HEADER, *rows, ""]))
    host.run("install", "-o", "acme", "-g", "acme", "-m", "0600", "/srv/new", f"{UPLOAD}/{name}")


def imported(host: Host) -> list[str]:
    return [each["file"] for each in json.loads(host.rosterd("imports", "--json").stdout)]


def serve(host: Host, name: str) -> None:
    """Let the service import a file, and stop it."""
    service = host.start_service()
    upload(host, name, ANN, BOB)
    wait_until(lambda: host.path(f"{STATE}/rosterd.db").exists() and name in imported(host), f"the import of {name}")
    wait_until(lambda: not list(host.path(f"{UPLOAD}/.work").iterdir()), "its archive")
    host.end(service)


def owners(host: Host, folder: str) -> set[str]:
    return set(host.run("find", folder, "-printf", "%u\n").stdout.split())


@pytest.mark.parametrize(
    "command",
    [("sweep",), ("mail", "retry", "1"), ("mail", "drop", "1"), ("erase", "S-1", "--client", "acme", "--yes")],
    ids=" ".join,
)
def test_what_root_does_in_place_of_the_service_is_the_services(host: Host, command: tuple[str, ...]) -> None:
    """A command of root leaves nothing of root's, whether or not the lock was there, and the service goes on."""
    serve(host, "first.csv")
    host.path(f"{STATE}/lock").unlink()
    upload(host, "second.csv", ANN)
    host.rosterd(*command, check=False)
    assert {"rosterd"} == owners(host, STATE)
    assert {"rosterd", "acme"} >= owners(host, UPLOAD)
    assert ("second.csv" in imported(host)) == (command == ("sweep",))
    serve(host, "third.csv")


@pytest.mark.parametrize("made", [True, False], ids=["empty", "missing"])
def test_the_first_sweep_may_be_roots(host: Host, *, made: bool) -> None:
    """Where the service never ran root's sweep makes all that the service needs, for the service."""
    if not made:
        host.path(STATE).rmdir()
    upload(host, "first.csv", ANN, BOB)
    host.rosterd("sweep")
    assert ["first.csv"] == imported(host)
    assert {"rosterd"} == owners(host, STATE)
    assert (0o700 if not made else 0o710) == host.path(STATE).stat().st_mode & 0o777
    assert set() == owners(host, UPLOAD) - {"rosterd", "acme"}
    serve(host, "second.csv")


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_a_state_directory_of_root_is_roots(host: Host, command: str) -> None:
    """Where nobody but root is concerned, as in the demo, all stays root's."""
    host.run("mkdir", "/srv/box")
    host.path("/srv/box.toml").write_text(
        '[service]\nstate_dir = "/srv/state"\n[[client]]\nname = "a"\ninbox = "/srv/box"\n'
    )
    if command == "run":
        log = host.path("/srv/log")
        service = host.start(*ROSTERD, "run", "--config", "/srv/box.toml", log=log)
        wait_until(lambda: "daemon.started" in log.read_text(), "daemon.started")
        host.end(service)
    else:
        host.rosterd("sweep", "--config", "/srv/box.toml")
    assert {"root"} == owners(host, "/srv/state")


def test_another_user_is_refused(host: Host) -> None:
    """Whoever is neither root nor the owner is refused with 77 and a sentence that says whose it is."""
    serve(host, "first.csv")
    host.run("chmod", "-R", "a+rX", STATE)
    nobody = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
    for command in (("run",), ("sweep",), ("mail", "retry", "1"), ("mail", "drop", "1")):
        done = host.run(*nobody, *ROSTERD, *command, check=False)
        assert 77 == done.returncode, command
        told = done.stdout + done.stderr
        assert f"{STATE}: belongs to rosterd, and this is run by nobody; run it as root or as rosterd" in told
        assert "Traceback" not in told
        assert "frames" not in told
    assert 0 == host.run(*nobody, *ROSTERD, "imports", check=False).returncode  # the modes let everybody read
    # A dry run attaches the database: for that SQLite has to write the index of the write-ahead log.
    for words in ("erase S-1 --client acme --yes", f"check {__file__}"):
        done = host.run(*nobody, *ROSTERD, *words.split(), check=False)
        assert (77, True) == (done.returncode, "permission denied to nobody" in done.stderr)


# What went wrong before


def faults(host: Host) -> list[tuple[str, str, str]]:
    told = json.loads(host.rosterd("doctor", "--json", check=False).stdout)
    return [(each["topic"], each["what"], each["remedy"]) for each in told["findings"] if each["level"] == "fault"]


@pytest.mark.parametrize("name", ["lock", "rosterd.db", "mail/new", "status.json", "."])
def test_files_of_a_wrong_owner_are_named_and_mended(host: Host, name: str) -> None:
    """Doctor names what the service cannot use, the service says so once with 77, and the remedy mends it."""
    serve(host, "first.csv")
    host.run("chown", "root:root", f"{STATE}/{name}")
    [(what, remedy)] = [(what, remedy) for topic, what, remedy in faults(host) if topic == "state"]
    assert "belongs to root, so the service (rosterd) cannot use it" in what
    assert name.strip(".") in what
    if name in ("lock", "rosterd.db"):
        log = host.path("/run/refused.log")
        service = host.start(*AS_SERVICE, *ROSTERD, "run", log=log)
        assert 77 == service.wait(120)
        assert ["daemon.refused"] == re.findall(r'"event": "([a-z.]+)"', log.read_text())
    [change] = re.findall("chown -hR [^;]*", remedy)
    host.run("sh", "-c", change)
    assert [] == [what for topic, what, _ in faults(host) if topic == "state"]
    serve(host, "second.csv")


@pytest.mark.parametrize("folder", [".work", ".bak"])
def test_a_folder_that_root_made_is_given_back(host: Host, folder: str) -> None:
    """A folder that root took over keeps what is in it: its owner is to be changed, nothing is moved away."""
    serve(host, "first.csv")
    claim = host.path(f"{UPLOAD}/.work/20261122T074205Z-0123abcd")
    claim.mkdir()
    (claim / "claimed.csv").write_text(f"{HEADER}\n{ANN}\n")
    host.run("chown", "-R", "root", f"{UPLOAD}/{folder}")
    host.run("chown", "-R", "root", str(claim).partition("root")[2])
    assert [] == [what for _, what, remedy in faults(host) if "move it away" in remedy]
    remedies = [remedy for _, what, remedy in faults(host) if f"{UPLOAD}/" in what]
    assert remedies
    for remedy in remedies:
        host.run("sh", "-c", remedy.partition(";")[0])
    assert [] == [what for _, what, _ in faults(host) if UPLOAD in what]
    service = host.start_service()
    wait_until(lambda: "claimed.csv" in imported(host), "the claim to be resumed")
    host.end(service)
