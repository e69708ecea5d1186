"""Mutated workbooks and archives: each is unwrapped or refused; no crash, no hang, and the host is never blamed."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from importer.file.unwrap import kinds
from importer.settings import ClientSettings, FileSettings
from tests import REPOSITORY
from tests.engine import HEADER, Engine
from tests.faults.mutations import mutated
from tests.faults.trials import FULL, told

pytestmark = pytest.mark.faults

COUNT = 2_000 if FULL else 120
WHOLE = 200 if FULL else 4
SIDE_BY_SIDE = 2
CSV = f"{HEADER}\nS1,OPSCOM,Ann,Lee,ann@example.org,ann\nS2,OPSCOM,Bo,Lee,bo@example.org,bo\n".encode()


def seeds() -> list[bytes]:
    """Return what is mutated: the workbooks of tests/data, and archives of all kinds."""
    workbooks = [path.read_bytes() for path in sorted((REPOSITORY / "tests" / "data" / "workbooks").glob("*.xlsx"))]
    assert workbooks
    return [*workbooks, gzip.compress(CSV), zipped(CSV), zipped(workbooks[0], "users.xlsx"), gzip.compress(zipped(CSV))]


def zipped(content: bytes, name: str = "users.csv") -> bytes:
    """Return an archive with one member."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def wrong(status: int, said: str, took_s: float) -> str:
    """Return what is wrong with how the process ended, "" for nothing."""
    if status == -signal.SIGKILL:
        return f"it hung for {took_s:.0f} s"
    if status:
        return f"it ended with {status}"
    error = json.loads(said)["error"]
    return f"the host is blamed: {os.strerror(error)}" if error else ""


def test_unwrapped_or_refused(tmp_path: Path) -> None:
    """The process that unwraps a file answers whatever is in it, within its time."""
    content = seeds()
    for number in range(COUNT):
        folder = tmp_path / str(number % SIDE_BY_SIDE)
        folder.mkdir(exist_ok=True)
        (folder / f"{number:05}").write_bytes(mutated(content, number))

    def run(part: int) -> list[str]:
        command = [sys.executable, "-m", "tests.faults.unwrapping", str(tmp_path / str(part))]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        lines = [json.loads(line) for part in pool.map(run, range(SIDE_BY_SIDE)) for line in part]
    assert COUNT == len(lines)
    found = [f"{name}: {what}" for name, status, said, took_s in lines if (what := wrong(status, said, took_s))]
    assert not found, told(found)
    refused = sum('"key"' in said for _, _, said, _ in lines)
    assert COUNT / 10 < refused < COUNT


def test_looked_at(tmp_path: Path) -> None:
    """What the service itself asks of a file, before any process is started, never fails."""
    content = seeds()
    client = ClientSettings(name="acme", inbox="/srv/sftp/acme")
    for number in range(COUNT):
        path = tmp_path / "users.xlsx"
        path.write_bytes(mutated(content, number))
        with path.open("rb") as raw:
            kinds.kind_of(raw).completeness(raw, client, FileSettings())


def test_answered(tmp_path: Path) -> None:
    """The whole import of such a file ends with an answer."""
    content = seeds()
    with contextlib.closing(Engine(tmp_path)) as engine:
        for number in range(WHOLE):
            result = engine.upload(mutated(content, number), name=f"users.{('xlsx', 'zip', 'gz')[number % 3]}")
            assert result.text
