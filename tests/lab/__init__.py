"""The real things the tests run against: sshd, SFTP clients, an SMTP server, the daemon. Free of pytest."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests import REPOSITORY

# A plain user's PATH leaves out where sshd, rsyslogd and useradd are; what the tests start looks there, too.
os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"

Found = TypeVar("Found")

PATIENCE_S = 120.0  # far above what anything takes on an idle machine; a busy one must not fail a test
_SHARED_MEMORY = Path("/dev/shm")
# The folder for what need not outlive its test, None for the usual one: containers may have 64 MiB of memory there.
MEMORY = _SHARED_MEMORY if _SHARED_MEMORY.exists() and shutil.disk_usage(_SHARED_MEMORY).free > 1 << 30 else None


def open_parents(folder: Path) -> None:
    """Let every user reach a folder below pytest's, which are for their owner alone."""
    for parent in folder.parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(stat.S_IMODE(mode) | 0o055)


def wait_until(condition: Callable[[], Found], what: str, *, patience_s: float = PATIENCE_S) -> Found:
    """Return the first true answer of `condition`; raises TimeoutError naming `what` after `patience_s`."""
    deadline = time.monotonic() + patience_s
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience_s:g} s in vain for {what}")
        time.sleep(0.02)


def run_python(folder: Path, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, with the code of this checkout."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        timeout=30,
        check=False,
    )


def completions(words: str, folder: Path) -> list[str]:
    """Return what bash is offered after these words."""
    program = "from operate.cli import main; main(prog_name='rosterd')"
    count = str(words.count(" "))
    done = run_python(folder, "-c", program, _ROSTERD_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=count)
    assert "" == done.stderr
    return [line.partition(",")[2] for line in done.stdout.split()]
