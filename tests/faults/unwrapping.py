"""
Runs the process that unwraps an upload, many times: each is forked from one that has loaded everything.

`python -m tests.faults.unwrapping FOLDER` unwraps each file of the folder, and prints for each a line of JSON: its
name, how the process ended (as `subprocess` has it), what it answered, how long it took in seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec

from importer.file.unwrap import child, workbook
from importer.settings import ClientSettings, FileSettings

LONGEST_S: Final = 20.0
_LIMITS: Final = FileSettings(max_unpacked_bytes=64 << 20)
_LOADED: Final = workbook  # its library takes as long as hundreds of files


def ended(path: Path, terms: bytes) -> tuple[int, bytes]:
    """Return how the process ended that unwraps a file, and its answer; -SIGKILL: it hung."""
    with path.open("rb") as raw, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as answer:
        pid = os.fork()
        if not pid:
            _run(raw.fileno(), out.fileno(), answer.fileno(), terms)
        until = time.monotonic() + LONGEST_S
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > until:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        answer.seek(0)
        return status, answer.read()


def _run(raw_fd: int, out_fd: int, answer_fd: int, terms: bytes) -> None:
    """Be the process, and never return."""
    status = 1
    try:
        read_fd, write_fd = os.pipe()
        os.write(write_fd, terms)
        os.close(write_fd)
        os.dup2(read_fd, 0)
        os.dup2(answer_fd, 1)
        with contextlib.redirect_stdout(os.fdopen(1, "w", closefd=False)), open(0, closefd=False) as sys.stdin:
            child.main(raw_fd, out_fd)
            sys.stdout.flush()
        status = 0
    finally:
        os._exit(status)


def main(folder: Path) -> None:
    """Unwrap all files of a folder."""
    client = ClientSettings(name="acme", inbox="/srv/sftp/acme")
    for number, path in enumerate(sorted(folder.iterdir())):
        terms = msgspec.json.encode(child.Terms(limits=_LIMITS, client=client, is_nested=number % 5 == 0))
        began = time.monotonic()
        status, answer = ended(path, terms)
        print(json.dumps((path.name, status, answer.decode(), time.monotonic() - began)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
