"""
The worker: a process that reads and judges a large file, while this one records the results.

The two communicate by pipes. The worker (see `helper_process`) is given the open file and the terms, and answers in
frames: which code it runs, batches, then the findings, or why the file is refused. In between it sends empty frames to
show that it is alive; while this process waits for any, it checks whether to stop. The worker ends with its work, at
the latest with its parent, and is killed after `SILENCE_S` without a frame.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import marshal
import math
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, BinaryIO, Final, Self

import msgspec

from importer import helper_process
from importer.file.upload import Upload
from importer.model import FileRejected, Interrupted, Message, Problem
from importer.rows.batches import Batch, Examination, Excerpt, Findings, Terms
from importer.rows.code_digest import CODE_DIGEST
from importer.rows.copy_lines import CopyLines, CopyWriter
from importer.rows.validate import Rejected, Users

# Below, starting a process takes longer than it saves; where it would share its only processor with this one, it saves
# nothing: 1,000,000 new users take 13.2 s without it and 14.2 s with it.
_MIN_BYTES: Final = 4 << 20 if len(os.sched_getaffinity(0)) > 1 else sys.maxsize
# Room for several batches: with the usual 64 KiB the two would wait for each other at every one.
_PIPE_BYTES: Final = 1 << 20
_LENGTH_BYTES: Final = 8
SILENCE_S: Final = 30.0  # reading on, the worker is silent for some 2 s at most; a busy host may be far slower
_WAIT_S: Final = 0.1
_KEEP_ALIVE_S: Final = 0.2
_MARSHAL_VERSION: Final = 2  # the newer ones look for equal values, which costs more than it saves

_PROBLEMS: Final = msgspec.msgpack.Decoder(tuple[Problem, ...])

Frame = dict[str, Any]
_OUR_CODE: Final[Frame] = {"code": CODE_DIGEST}


class ExaminerProcess:
    """
    The worker of one file, if much of it is to be examined. A context manager: the process ends with the block.

    `start` may be called beforehand, as starting takes 0.2 s. `stopping` is asked all the time while waiting for the
    worker.
    """

    def __init__(self, raw: BinaryIO, stopping: Callable[[], bool] = lambda: False) -> None:
        self.raw = raw
        self._stopping = stopping
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process.wait()

    def start(self) -> None:
        """Start the process if the whole file is to be examined, and large; it waits for what `batches` asks."""
        if _is_large(self.raw):
            self._started(self.raw)

    def batches(self, examination: Examination, form: CopyLines | None = None) -> Generator[Batch, None, None]:
        """
        Yield the batches of an examination, examined here or, if the file or the excerpt is large, in the process.

        `form`: as what complete users come, if not by columns.

        Raises FileRejected as `Examination.batches` does; Interrupted when `stopping` turned true; OSError when the
        process cannot be started, as ChildProcessError when it ends before its work, hangs, or runs other code than
        this process.
        """
        if not _is_large(examination.raw):
            yield from _batches(examination, form)
            return
        answers = self._answers(examination, form)
        if next(answers, _OUR_CODE) != _OUR_CODE:
            raise ChildProcessError(
                "the worker that examines the file is of another version than the service. Restart rosterd"
            )
        for frame in answers:
            if refusal := frame.get("refusal"):
                raise FileRejected(*msgspec.json.decode(refusal[0], type=tuple[Message, ...]), line=refusal[1])
            if findings := frame.get("findings"):
                examination.findings = msgspec.json.decode(findings, type=Findings)
                examination.raw.seek(0, os.SEEK_END)  # else a buffer takes it to be where this process has read up to
                return
            yield unpacked(frame)
            del frame
        raise ChildProcessError("the worker that examines the file ended before its work")

    def _answers(self, examination: Examination, form: CopyLines | None) -> Iterator[Frame]:
        process = self._process or self._started(examination.raw)
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            self._send(stdin.fileno(), msgspec.json.encode((examination.terms, examination.of, form)))
        return self._frames(process.stdout.fileno())

    def _send(self, fd: int, data: bytes) -> None:
        os.set_blocking(fd, False)
        view = memoryview(data)
        while view:
            self._wait(fd, select.POLLOUT)
            view = view[os.write(fd, view) :]

    def _frames(self, fd: int) -> Iterator[Frame]:
        while len(head := self._read(fd, _LENGTH_BYTES)) == _LENGTH_BYTES:
            length = int.from_bytes(head)
            if len(body := self._read(fd, length)) < length:
                return
            if body:
                frame = marshal.loads(body)  # noqa: S302 - written by this module, in a process that we started
                del body  # a row can have 8 MiB: none is held longer than it must
                yield frame
                del frame

    def _read(self, fd: int, length: int) -> bytearray:
        """Read that many bytes; less when the other side has ended."""
        whole, done = bytearray(length), 0
        while done < length:
            self._wait(fd, select.POLLIN)
            if not (count := os.readv(fd, [memoryview(whole)[done:]])):
                return whole[:done]
            done += count
        return whole

    def _wait(self, fd: int, event: int) -> None:
        """Wait until the pipe can be read or written. Waits are counted, so that a suspended host is not mistaken."""
        ready = select.poll()
        ready.register(fd, event)
        for _ in range(round(SILENCE_S / _WAIT_S)):
            if self._stopping():
                raise Interrupted
            if ready.poll(1000 * _WAIT_S):
                return
        raise ChildProcessError(f"the worker that examines the file did not respond for {SILENCE_S:g} s")

    def _started(self, raw: BinaryIO) -> subprocess.Popen[bytes]:
        self._process = helper_process.start(__name__, raw.fileno())
        return self._process


def _is_large(raw: BinaryIO) -> bool:
    return os.fstat(raw.fileno()).st_size >= _MIN_BYTES


def _batches(examination: Examination, form: CopyLines | None) -> Iterable[Batch]:
    return CopyWriter(form).written(examination.batches()) if form else examination.batches()


def packed(batch: Batch) -> Frame:
    """Return the batch in plain values, as marshal takes them."""
    return {
        # A text for each column: its values hold no line breaks, and some hundred of them cross as fast as one.
        "complete": ["\n".join(column) for column in batch.complete.columns],
        "lines": batch.complete.lines,
        "partial": [_plain(row) for row in batch.partial],
        "rejected": [_plain(row) for row in batch.rejected],
        "retracted": batch.retracted,
        "block": (batch.block, batch.block_rows, batch.shared),
    }


def _plain(row: Rejected) -> tuple[Any, ...]:
    return (row.line, row.cells, msgspec.msgpack.encode(row.problems), row.user, row.lacks)


def unpacked(frame: Frame) -> Batch:
    """Return the batch that was packed."""
    decode = _PROBLEMS.decode
    partial, rejected = (
        [Rejected(line, cells, decode(problems), *rest) for line, cells, problems, *rest in rows]
        for rows in (frame["partial"], frame["rejected"])
    )
    lines = frame["lines"]
    complete = Users([text.split("\n") if lines else [] for text in frame["complete"]], lines)
    return Batch(complete, partial, rejected, frame["retracted"], 0, *frame["block"])


def _answer(raw: BinaryIO, terms: Terms, of: Excerpt | None, form: CopyLines | None) -> Iterator[Frame]:
    """Yield all that is to be said about a file, or about lines `of` one."""
    try:
        examination = Examination(raw, terms, of)
        for batch in _batches(examination, form):
            yield packed(batch)
    except FileRejected as rejected:
        yield {"refusal": (msgspec.json.encode(rejected.reasons), rejected.line)}
    else:
        yield {"findings": msgspec.json.encode(examination.findings)}


def main(fd: int) -> None:
    """Run as the worker: examine the open file by the terms that are read from standard input."""
    gc.disable()  # nothing here refers to itself; looking for what does costs 6 %
    _write_frame(sys.stdout.fileno(), marshal.dumps(_OUR_CODE, _MARSHAL_VERSION))
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[Terms, Excerpt | None, CopyLines | None])
    with open(sys.stdout.fileno(), "wb", buffering=0) as out, Upload(fd, _KeepAlive(out.fileno())) as raw:
        for frame in _answer(raw, *task):
            _write_frame(out.fileno(), marshal.dumps(frame, _MARSHAL_VERSION))


class _KeepAlive:
    """Sends an empty frame now and then, when called often."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._next_at = -math.inf

    def __call__(self) -> None:
        now = time.monotonic()
        if now >= self._next_at:
            self._next_at = now + _KEEP_ALIVE_S
            _write_frame(self._fd, b"")


def _write_frame(fd: int, body: bytes) -> None:
    for part in (len(body).to_bytes(_LENGTH_BYTES), body):
        view = memoryview(part)
        while view:
            view = view[os.write(fd, view) :]
