"""
A process of ours for work on one file: started, never forked, because the daemon has threads.

It may be started from a folder in which clients write, such as by `rosterd check` in an inbox: with -I Python looks for
modules neither there nor where the environment says, only where we were found. A killed daemon leaves none behind: one
that hangs would not notice the end of its pipe. Signals of a terminal or of a stop reach it, too; its parent decides
about the work.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from importer.fs import temporary_folder

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_PROGRAM: Final = f"""
import ctypes, importlib, signal, sys
ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, signal.SIGKILL)
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
sys.path.insert(0, sys.argv[1])
importlib.import_module(sys.argv[2]).main(*map(int, sys.argv[3:]))
"""
_ROOT: Final = str(Path(__file__).resolve().parents[1])


def start(module: str, *fds: int) -> subprocess.Popen[bytes]:
    """
    Start `main` of a module of ours with these open files; its standard input and output are pipes to us.

    Its standard error is closed: the values of a traceback could be those of a user. Raises OSError.
    """
    try:
        return subprocess.Popen(  # noqa: S603 - a module of ours
            [sys.executable, "-I", "-c", _PROGRAM, _ROOT, module, *map(str, fds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=fds,
            cwd="/",
            env={
                **os.environ,
                "SQLITE_TMPDIR": os.path.abspath(temporary_folder()),  # it may be relative
                "OPENPYXL_LXML": "False",  # the package has no lxml, and workbooks are the same wherever rosterd runs
            },
        )
    except OSError as error:
        said = f"{error.strerror}: {sys.executable}, which examines the file. Was Python replaced? Restart rosterd"
        raise OSError(error.errno, said) from error
