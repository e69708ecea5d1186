"""Reads bytes as the importer does, without a daemon or a database: the rows, or why there are none."""

from __future__ import annotations

import tempfile

import pytest

from importer.file.scan import scan
from importer.file.table import Row, Table
from importer.file.truncation import completeness
from importer.model import FileRejected, HoldReason
from importer.settings import ClientSettings, FileSettings

ROW = "S1,OPSCOM,Zoé,Tremblay,zoe@example.org,zoe"
CLIENT = ClientSettings(name="acme", inbox="/srv/sftp/acme", unknown_columns="ignore", login_source="OPSCOM")


def read(content: bytes, client: ClientSettings = CLIENT, limits: FileSettings | None = None) -> list[Row]:
    """Return the rows of a file with this content."""
    settings = limits or FileSettings()
    with tempfile.TemporaryFile() as raw:
        raw.write(content)
        raw.flush()
        return list(Table(raw, scan(raw, settings, client.fallback_encoding), settings, client).rows())


def reread(content: bytes, lines: list[int]) -> list[Row]:
    """Return the rows that begin in these lines, as they are read again."""
    with tempfile.TemporaryFile() as raw:
        raw.write(content)
        raw.flush()
        table = Table(raw, scan(raw, FileSettings()), FileSettings(), CLIENT)
        return [row for stretch in table.reread(lines) for row in stretch.rows]


def ending(content: bytes, client: ClientSettings = CLIENT, limits: FileSettings | None = None) -> HoldReason:
    """Return what `completeness` says of a file with this content."""
    with tempfile.TemporaryFile() as raw:
        raw.write(content)
        raw.flush()
        return completeness(raw, client, limits or FileSettings())


def refused(content: bytes, client: ClientSettings = CLIENT, limits: FileSettings | None = None) -> FileRejected:
    """Return why a file with this content is refused."""
    with pytest.raises(FileRejected) as caught:
        read(content, client, limits)
    return caught.value
