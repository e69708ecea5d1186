"""
Every SFTP client in every situation, against a real OpenSSH server and the daemon.

Whatever happens to an upload, it is imported once and whole, or held and then reported; no client ends badly because of
us; and nothing waits for a sweep, as there is none in these tests. A sample by default, all with ROSTERD_MATRIX=full.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.lab import wait_until
from tests.lab.clients import DRIVERS, Command, Visit
from tests.lab.daemon import Rosterd, Setting
from tests.lab.line import Line
from tests.lab.sshd import Sshd

HEADER = "notes,unique_id,login_source,first_name,last_name,email\n"
QUIET_S = 0.5
SLOW_BYTES_PER_S = 500_000
SETTINGS: dict[str, dict[str, float]] = {
    "intake": {"quiet_s": QUIET_S, "unterminated_grace_s": 1.0, "resume_grace_s": 60.0},
    "service": {"sweep_interval_s": 100_000.0},
}
SCENARIOS = ["new", "overwritten", "50 MB", "killed", "cut", "resumed", "re-sent", "slow", "stalled"]
RESUMING = ["sftp", "lftp", "psftp", "curl", "WinSCP"]  # WinSCP by itself, whenever it finds its temporary file
EVERY_PAIR = [
    (name, scenario) for name in DRIVERS for scenario in SCENARIOS if scenario != "resumed" or name in RESUMING
]
# One situation for each client, another for the next; each situation occurs.
SAMPLE = [(name, SCENARIOS[number % len(SCENARIOS)]) for number, name in enumerate(DRIVERS)]
SAMPLE = [pair for pair in SAMPLE if pair in EVERY_PAIR] + [("sftp", "resumed"), ("rclone", "overwritten")]
IS_FULL = os.environ.get("ROSTERD_MATRIX") == "full"
PAIRS = EVERY_PAIR if IS_FULL else SAMPLE
TRYING = [*DRIVERS] if IS_FULL else ["sftp", "lftp use-temp-file", "WinSCP"]


def people(count: int, *, word: str, row_bytes: int = 1000) -> str:
    """Return a file of users whose first cell is long: in it, as a rule, the file is cut off, not between two rows."""
    filler = (word * row_bytes)[:row_bytes]
    return HEADER + "".join(
        f"{filler},{number},OPSCOM,{word},Lee,{word}{number}@school.example\n" for number in range(count)
    )


@pytest.fixture
def line(sshd: Sshd) -> Iterator[Line]:
    with Line(sshd.port) as line:
        yield line


@pytest.fixture
def client(acme: Visit, line: Line) -> Iterator[Visit]:
    """Yield the client acme, connected by a line that can be bad; nothing of its programs is left behind."""
    visit = line.visit(acme)
    yield visit
    kill_those_at(visit)
    unmount(visit)


def installation(folder: Path, acme: Visit, **intake: float) -> Rosterd:
    return Rosterd(
        folder,
        {"acme": acme.login.inbox},
        settings={**SETTINGS, "intake": {**SETTINGS["intake"], **intake}},
        client_settings={"unknown_columns": "ignore"},
    )


@pytest.mark.parametrize(("name", "scenario"), PAIRS)
def test_matrix(name: str, scenario: str, client: Visit, line: Line, needs: Needs, tmp_path: Path) -> None:
    """An upload by this client in this situation is imported once and whole, or held and then reported."""
    needs(*DRIVERS[name].programs)
    match scenario:
        case "new":
            _upload(name, client, tmp_path, people(20, word="Ann"))
        case "50 MB":
            _upload(name, client, tmp_path, people(900, word="Ann", row_bytes=58_000))
        case "slow":
            line.bytes_per_s = SLOW_BYTES_PER_S
            _upload(name, client, tmp_path, people(1000, word="Ann"))
        case "stalled":
            _stall(name, client, line, tmp_path)
        case "overwritten":
            _overwrite(name, client, tmp_path)
        case "killed" | "cut":
            _break_off(name, client, line, tmp_path, by_client=scenario == "killed")
        case _:
            _try_again(name, client, line, tmp_path, resume=scenario == "resumed")


@pytest.mark.parametrize("name", TRYING)
def test_every_client_can_try_files_out(name: str, client: Visit, needs: Needs, tmp_path: Path) -> None:
    """A file that this client uploads to `check` is answered there, once, and nothing is imported; nor is a second."""
    needs(*DRIVERS[name].programs)
    local, check = client.home / "whole.csv", client.login.inbox / "check"
    settings: dict[str, Setting] = {"unknown_columns": "ignore", "check_folder": True}
    with Rosterd(tmp_path, {"acme": client.login.inbox}, settings=SETTINGS, client_settings=settings) as rosterd:
        rosterd.start()
        for count in (1, 2):
            local.write_text(people(10 * count, word="Ann"))
            succeed(DRIVERS[name].upload(client, local, "check/users.csv"))
            unmount(client)
            wait_until(lambda count=count: len(rosterd.events("check.answered")) >= count, "the answer")  # type: ignore[misc]
            uploaded_at = (check / "users.csv").stat().st_ctime
            wait_until(lambda at=uploaded_at: int(time.time()) > int(at), "another second, and so another name")  # type: ignore[misc]
        rosterd.stop()

        assert [10, 20] == [event["rows"] for event in rosterd.events("check.answered")]
        texts = sorted(path.name for path in check.iterdir() if path.name != "users.csv")
        assert (2, True) == (len(texts), all(text.endswith(".check.txt") for text in texts))
        assert ([], [], ["check"]) == (rosterd.imports(), rosterd.in_work(), rosterd.inbox())


def _upload(name: str, client: Visit, folder: Path, content: str) -> None:
    with installation(folder, client) as rosterd:
        rosterd.start()
        succeed(upload(name, client, content))
        rosterd.wait_for_imports(1)
        rosterd.stop()

        assert archives(rosterd, client) == [content]
        assert rosterd.inbox() == []


def _stall(name: str, client: Visit, line: Line, folder: Path) -> None:
    """Stand still for three quiet periods in the middle."""
    content = people(1000, word="Ann")
    line.bytes_per_s = 2 * SLOW_BYTES_PER_S
    with installation(folder, client) as rosterd:
        rosterd.start()
        with started(upload(name, client, content)) as process:
            wait_for_bytes(client, 300_000)
            line.flows.clear()
            for number in range(3):  # each of these takes a quiet period
                line.direct(client).upload(f"meanwhile{number}.csv", *people(1, word="Eve").splitlines())
                rosterd.wait_for_imports(number + 1)
            line.flows.set()
            process.communicate(timeout=180)
        rosterd.wait_for_imports(4)
        rosterd.stop()

        assert process.returncode == 0
        assert archives(rosterd, client)[-1] == content
        assert len(rosterd.imports()) == 4


def _overwrite(name: str, client: Visit, folder: Path) -> None:
    """Upload again before the first upload has been quiet for long enough."""
    first, second = people(40, word="Ann"), people(20, word="Bob")
    with installation(folder, client, quiet_s=4.0) as rosterd:
        rosterd.start()
        for content in (first, second):
            succeed(upload(name, client, content))
        rosterd.wait_for_imports(1)
        rosterd.stop()

        assert archives(rosterd, client) == [second]


def _break_off(name: str, client: Visit, line: Line, folder: Path, *, by_client: bool) -> None:
    """End the client, or its session on the server, in the middle."""
    content = people(2000, word="Ann")
    line.bytes_per_s = SLOW_BYTES_PER_S
    with installation(folder, client, resume_grace_s=2.0) as rosterd:
        rosterd.start()
        with started(upload(name, client, content)) as process:
            wait_for_bytes(client, 300_000)
            if by_client:
                kill(client, process)
            else:
                kill_all(client.sshd.sessions())
            line.bytes_per_s = 100 * SLOW_BYTES_PER_S
            process.communicate(timeout=180)
        if not is_waiting(client) and not rosterd.imports() and not rosterd.in_work():
            return  # only a temporary name is left, or nothing: the client cleans up
        rosterd.wait_for_imports(1)
        rosterd.stop()

        # Some clients connect again and send all.
        codes = [row["code"] for row in rosterd.imports()]
        if "upload.incomplete" in codes:
            assert rosterd.events("file.held")
            assert codes == ["upload.incomplete"] or archives(rosterd, client)[-1] == content
        else:
            assert archives(rosterd, client) == [content]


def _try_again(name: str, client: Visit, line: Line, folder: Path, *, resume: bool) -> None:
    """End the client in the middle, then let it resume, or send all once more."""
    content = people(1000, word="Ann")
    line.bytes_per_s = SLOW_BYTES_PER_S
    with installation(folder, client) as rosterd:
        rosterd.start()
        with started(upload(name, client, content)) as process:
            wait_for_bytes(client, 300_000)
            kill(client, process)
            process.communicate(timeout=180)
        unmount(client)
        if is_waiting(client):
            rosterd.wait_for_event("file.held")
        line.bytes_per_s = 100 * SLOW_BYTES_PER_S
        succeed(resumed(name, client) if resume else upload(name, client, content))
        rosterd.wait_for_imports(1)
        rosterd.stop()

        assert archives(rosterd, client) == [content]
        assert [row["outcome"] for row in rosterd.imports()] == ["imported"]


# Helpers


def upload(name: str, client: Visit, content: str) -> Command:
    local = client.home / "whole.csv"
    local.write_text(content)
    return DRIVERS[name].upload(client, local, "users.csv")


def resumed(name: str, client: Visit) -> Command:
    """Return what goes on with the upload of whole.csv where it broke off."""
    local = client.home / "whole.csv"
    match name:
        case "sftp":
            return client.batch(f'reput "{local}" users.csv')
        case "psftp":
            script = client.home / "psftp.script"
            script.write_text(f'reput "{local}" "{client.remote("users.csv")}"\n')
            return client.putty("psftp", "-b", script, client.address)
        case "WinSCP":
            return DRIVERS[name].upload(client, local, "users.csv")
        case "lftp":
            command = DRIVERS[name].upload(client, local, "users.csv")
            *front, steps = command.arguments
            return client.command(*front, steps.replace("; put ", "; put -c "))
        case _:
            command = DRIVERS[name].upload(client, local, "users.csv")
            return client.command(*command.arguments, "-C", "-")


def succeed(command: Command) -> None:
    done = command.run()
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def started(command: Command) -> Iterator[subprocess.Popen[str]]:
    process = command.start()
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for_bytes(client: Visit, size_bytes: int) -> None:
    """Wait until so much of an upload lies on the server, under whatever name."""

    def check() -> bool:
        with os.scandir(client.login.inbox) as entries:
            return any(entry.is_file() and entry.stat().st_size >= size_bytes for entry in entries)

    wait_until(check, f"{size_bytes} bytes on the server")


def is_waiting(client: Visit) -> bool:
    """Return whether something lies under the final name."""
    return (client.login.inbox / "users.csv").exists()


def kill(client: Visit, process: subprocess.Popen[str]) -> None:
    """End all programs of the client as a crash does, those in the background included."""
    os.killpg(process.pid, signal.SIGKILL)
    kill_those_at(client)


def kill_those_at(client: Visit) -> None:
    """End the programs that work in the client's home, but for the daemon of the test."""
    kill_all([pid for pid, line in command_lines() if str(client.home).encode() in line and b"operate.cli" not in line])


def unmount(client: Visit) -> None:
    """End the mount that sshfs made, also one that does not answer any more."""
    if "mount" in os.listdir(client.home):  # lstat of a mount whose other end has died fails
        subprocess.run(["fusermount3", "-u", "-z", client.home / "mount"], capture_output=True, check=False)


def kill_all(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def command_lines() -> Iterator[tuple[int, bytes]]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield int(path.parent.name), path.read_bytes()


def archives(rosterd: Rosterd, client: Visit) -> list[str]:
    """Return the uploads in `.bak`, in the order of their import."""
    return [
        (client.login.inbox / ".bak" / str(event["archive"])).read_text() for event in rosterd.events("file.archived")
    ]
