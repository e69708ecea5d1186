"""Tests of importer/rows/worker.py: the examiner process, as the pipeline uses it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from importer.file.scan import scan
from importer.model import FileRejected, Interrupted
from importer.rows import worker
from importer.rows.batches import Batch, Examination, Terms
from importer.rows.worker import ExaminerProcess
from importer.settings import ClientSettings, FileSettings, ReferenceSettings
from tests import REPOSITORY
from tests.lab import wait_until, worker_process

HEADER = "unique_id,login_source,first_name,last_name,email\n"


@pytest.fixture(autouse=True)
def _any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_MIN_BYTES", 0)


@contextlib.contextmanager
def examination(folder: Path, text: str) -> Iterator[Examination]:
    (folder / "users.csv").write_text(HEADER + text, newline="")
    with (folder / "users.csv").open("rb", buffering=0) as raw:
        limits = FileSettings()
        client = ClientSettings(name="acme", inbox="/")
        yield Examination(raw, Terms(scan(raw, limits), limits, client, ReferenceSettings()))


def everything(batches: Iterator[Batch]) -> tuple[object, ...]:
    """Return what all batches hold, in the order of the file: in which order rows come differs from run to run."""
    taken = list(batches)
    return (
        sorted(user for batch in taken for user in zip(batch.complete.lines, *batch.complete.columns, strict=True)),
        sorted((row for batch in taken for row in batch.partial), key=lambda row: row.line),
        sorted((row for batch in taken for row in batch.rejected), key=lambda row: row.line),
        {unique_id for batch in taken for unique_id in batch.retracted},
    )


def users(count: int) -> str:
    return "".join(f"S{n},OPSCOM,Zoé,Lee,zoe{n}@example.org\n" for n in range(count))


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()]


def test_the_process_beside_answers_as_we_do(tmp_path: Path) -> None:
    """Users, rejected rows, retracted ids, counts and warnings are those of an examination at home."""
    text = (
        users(2500)
        + 'S7,OPSCOM,Bob,"Le\ne",b\nS8,X\n,,\nS9,OPSCOM,Zoé,Lee,zoe9@example.org\nS1,OPSCOM,,,\nT,OPSCOM,N/A,,\n'
    )
    with examination(tmp_path, text) as here, examination(tmp_path, text) as there:
        with ExaminerProcess(there.raw) as helper:
            assert everything(here.batches()) == everything(helper.batches(there))
        assert here.findings == there.findings
        assert there.findings.repeated
        assert there.findings.warnings
        assert not children()


def test_the_process_beside_examines_an_excerpt_as_we_do(tmp_path: Path) -> None:
    """Of lines that differ, with their numbers in the file, all comes across; then we read on where we left off."""
    text = users(2500) + 'S9,OPSCOM,Bob,"Le\ne",b\nS2000,OPSCOM,N/A,Lee,a@example.org\n'
    lines = [HEADER, *text.splitlines(keepends=True)]
    numbers = array("I", [1, *range(1500, len(lines) + 1)])
    with examination(tmp_path, text) as whole, tempfile.TemporaryFile() as raw:
        raw.writelines(lines[number - 1].encode() for number in numbers)
        raw.flush()
        here, there = (whole.excerpt(raw, numbers, 1498) for _ in range(2))
        expected = everything(here.batches())
        raw.seek(0)
        raw.read(10)  # and the buffer has more
        with ExaminerProcess(whole.raw) as helper:
            batches = helper.batches(there)
            taken = [next(batches)]
            assert children()
            assert everything(iter([*taken, *batches])) == expected
        assert here.findings == there.findings
        assert [row.line for row in there.table.rows()] == [row.line for row in here.table.rows()]
        assert [row.cells[0] for stretch in there.table.reread([1500, 2502]) for row in stretch.rows] == ["S1498", "S9"]


def test_a_refusal_comes_across(tmp_path: Path) -> None:
    """A file that breaks in the middle is refused with code, place and remedy as at home."""
    text = users(2500) + 'S9999,OPSCOM,"Ann"x,Lee,a@example.org\n'
    with examination(tmp_path, text) as here, pytest.raises(FileRejected) as expected:
        list(here.batches())
    with (
        examination(tmp_path, text) as there,
        ExaminerProcess(there.raw) as helper,
        pytest.raises(FileRejected) as refused,
    ):
        list(helper.batches(there))
    assert vars(expected.value) == vars(refused.value)
    assert refused.value.code == "csv.quoting"


def test_a_killed_process_is_trouble_of_the_host(tmp_path: Path) -> None:
    """When the process is killed half-way the import fails as for a broken disk, and is tried again later."""
    with examination(tmp_path, users(50_000)) as there, ExaminerProcess(there.raw) as helper:
        batches = helper.batches(there)
        next(batches)
        [pid] = children()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ChildProcessError):
            list(batches)


@pytest.mark.parametrize("terms_chars", [0, 4_000_000], ids=["at_work", "at_the_terms"])
def test_a_process_that_stands_still_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terms_chars: int
) -> None:
    """A worker without a sign of life is trouble of the host, whether it reads its terms or the file, and is ended."""
    with examination(tmp_path, users(50_000)) as there, ExaminerProcess(there.raw) as helper:
        helper.start()
        if terms_chars:
            client = msgspec.structs.replace(there.terms.client, columns={"x" * terms_chars: ""})
            there.terms = msgspec.structs.replace(there.terms, client=client)
        else:
            batches = helper.batches(there)
            next(batches)
        [pid] = children()
        worker_process.stop(pid)
        monkeypatch.setattr(worker, "SILENCE_S", 0.5)
        with pytest.raises(ChildProcessError, match="did not respond"):
            list(helper.batches(there) if terms_chars else batches)
    assert not children()


def test_a_stop_is_heard_while_the_process_stands_still(tmp_path: Path) -> None:
    """Whoever waits for the worker asks all the while whether to stop."""
    asked = iter([False] * 20)
    with examination(tmp_path, users(50_000)) as there, ExaminerProcess(there.raw, lambda: next(asked, True)) as helper:
        batches = helper.batches(there)
        helper.start()
        [pid] = children()
        worker_process.stop(pid)
        with pytest.raises(Interrupted):
            list(batches)
    assert not children()


def test_a_process_that_reads_on_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that gives nothing to record for long is waited for: the worker sends empty frames as it reads on."""
    lengths = []
    read = ExaminerProcess._read

    def noted(self: ExaminerProcess, fd: int, length: int) -> bytearray:
        lengths.append(length)
        return read(self, fd, length)

    monkeypatch.setattr(ExaminerProcess, "_read", noted)
    tall = "".join(f'S{n // 2},BAD,Ann,Lee,"' + "\n" * 65_000 + '"\n' for n in range(500))
    with examination(tmp_path, tall) as there, ExaminerProcess(there.raw) as helper:
        list(helper.batches(there))
    assert 250 == there.findings.repeated
    assert lengths.count(0) > 2


PARENT = """
import sys, time
from pathlib import Path
from importer.rows.worker import ExaminerProcess
with open(sys.argv[1], "rb", buffering=0) as raw, ExaminerProcess(raw) as helper:
    helper.start()
    print(helper._process.pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("stands_still", [False, True])
def test_no_process_outlives_ours(tmp_path: Path, *, stands_still: bool) -> None:
    """When ours is killed the worker ends with it, even one that stands still."""
    file = tmp_path / "users.csv"
    os.truncate(os.open(file, os.O_CREAT | os.O_WRONLY), 8 << 20)
    with subprocess.Popen([sys.executable, "-c", PARENT, file], cwd=REPOSITORY, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        worker_process.wait_for_start(pid)
        if stands_still:
            worker_process.stop(pid)
        parent.kill()
        wait_until(lambda: worker_process.has_ended(pid), "the worker to end")


def test_a_process_that_cannot_be_started_is_trouble_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the interpreter is gone, as in an upgrade, the error names it and what to do."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python3")
    gone = pytest.raises(FileNotFoundError, match=r"/nowhere/python3.* Restart rosterd")
    with examination(tmp_path, users(10)) as there, ExaminerProcess(there.raw) as helper, gone:
        list(helper.batches(there))


def test_an_import_that_is_given_up_leaves_no_process(tmp_path: Path) -> None:
    """Whatever becomes of an import ends the process, whether it is at work or still waiting for some."""
    with examination(tmp_path, users(50_000)) as there:
        with ExaminerProcess(there.raw) as helper:
            next(helper.batches(there))
            assert children()
        assert not children()
        with ExaminerProcess(there.raw) as helper:
            helper.start()
            assert children()
        assert not children()


def test_a_process_started_beforehand_is_the_one_that_answers(tmp_path: Path) -> None:
    """Starting it early saves the start later, and starts no second one."""
    with examination(tmp_path, users(2500)) as there, ExaminerProcess(there.raw) as helper:
        helper.start()
        [early] = children()
        batches = helper.batches(there)
        first = next(batches)
        assert [early] == children()
        assert 2500 == len(first.complete.lines) + sum(len(batch.complete.lines) for batch in batches)


HOSTILE = """import os, pathlib
pathlib.Path({seen!r}).open("a").write(f"{{__name__}} in {{os.getpid()}}\\n")
raise ImportError(__name__)
"""


@pytest.mark.parametrize("entry", ["", ".", "here"])
def test_no_module_of_the_current_folder_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    """No module in the current folder, or named by the environment, is run."""
    hostile, seen = tmp_path / "upload", tmp_path / "seen"
    hostile.mkdir()
    names = (
        "msgspec",
        "importer",
        "csv",
        "codecs",
        "io",
        "sitecustomize",
        "usercustomize",
        "email_validator",
        "startup",
    )
    for name in names:
        (hostile / f"{name}.py").write_text(HOSTILE.format(seen=str(seen)))
    with examination(tmp_path, users(2500)) as there:
        monkeypatch.chdir(hostile)
        monkeypatch.setenv("PYTHONPATH", str(hostile) if entry == "here" else f"{entry}:/nowhere")
        monkeypatch.setenv("PYTHONSTARTUP", "startup.py")
        monkeypatch.setenv("PYTHONUSERBASE", str(hostile))
        with ExaminerProcess(there.raw) as helper:
            assert 2500 == sum(len(batch.complete.lines) for batch in helper.batches(there))
    assert not seen.exists()


def test_a_stop_signal_does_not_end_the_process(tmp_path: Path) -> None:
    """A signal to the whole process group leaves the decision to the importer."""
    with examination(tmp_path, users(50_000)) as there, ExaminerProcess(there.raw) as helper:
        batches = helper.batches(there)
        first = next(batches)
        [pid] = children()
        os.kill(pid, signal.SIGTERM)
        assert 50_000 == len(first.complete.lines) + sum(len(batch.complete.lines) for batch in batches)


UPDATED = """
import sys
from pathlib import Path

root, file = Path(sys.argv[1]), Path(sys.argv[2])
sys.path.insert(0, str(root))
from importer.file.scan import scan
from importer.rows import worker
from importer.rows.batches import Examination, Terms
from importer.settings import ClientSettings, FileSettings, ReferenceSettings

worker._MIN_BYTES = 0
(root / "importer" / "rows" / "rules.py").open("a").write("\\n# as an update leaves it\\n")
with file.open("rb", buffering=0) as raw, worker.ExaminerProcess(raw) as helper:
    limits, client = FileSettings(), ClientSettings(name="acme", inbox="/")
    terms = Terms(scan(raw, limits), limits, client, ReferenceSettings())
    try:
        list(helper.batches(Examination(raw, terms)))
    except ChildProcessError as error:
        print(error)
"""


def test_a_worker_of_another_version_is_refused(tmp_path: Path) -> None:
    """After an update has replaced files of a running service a large file waits, and the reason says what to do."""
    shutil.copytree(REPOSITORY / "importer", tmp_path / "importer")
    (tmp_path / "users.csv").write_text(HEADER + users(10))
    told = subprocess.run(
        [sys.executable, "-P", "-c", UPDATED, tmp_path, tmp_path / "users.csv"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "the worker that examines the file is of another version than the service. Restart rosterd\n" == told


def test_on_one_processor_there_is_no_worker() -> None:
    """It would only take turns with the service: for files of any size."""
    script = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from importer.rows import worker"
    done = subprocess.run(
        [sys.executable, "-c", f"{script}; print(worker._MIN_BYTES)"], capture_output=True, cwd=REPOSITORY, check=True
    )
    assert sys.maxsize == int(done.stdout)
