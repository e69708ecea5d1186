"""The text of a scanned file, in chunks that end where a line ends, and in lines. Memory is constant."""

from __future__ import annotations

import codecs
import io
import itertools
from collections.abc import Iterator
from typing import BinaryIO

from importer.file.scan import CHUNK_BYTES, Scan
from importer.model import FileRejected, message
from importer.settings import FileSettings


def text_chunks(raw: BinaryIO, scan: Scan, limits: FileSettings) -> Iterator[str]:
    """
    Yield the text in chunks that end where a line ends; only the last one may not.

    Raises FileRejected limit.line: `completeness` reads files that were not scanned yet.
    """
    raw.seek(scan.start)
    decode = codecs.getincrementaldecoder(scan.encoding)("strict").decode
    left, carry = scan.end - scan.start, ""
    while left and (chunk := raw.read(min(CHUNK_BYTES, left))):
        left -= len(chunk)
        text = carry + decode(chunk)
        # A "\r" at the very end may be half of "\r\n".
        cut = max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1
        carry = text[cut:]
        if cut:
            yield text[:cut]
        if len(carry) > limits.max_line_bytes:
            raise FileRejected(message("limit.line/some"))
    if carry:
        yield carry


def text_lines(chunks: Iterator[str]) -> Iterator[str]:
    r"""Yield physical lines with their ends; "\n", "\r" and "\r\n" each end one, nothing else does."""
    return itertools.chain.from_iterable(io.StringIO(chunk, newline="") for chunk in chunks)
