"""The file of an upload, opened without following links or waiting; its reader can be interrupted."""

from __future__ import annotations

import io
import os
from collections.abc import Callable

from importer.fs import FILE


class Upload(io.FileIO):
    """An open file that calls `before_read` before each read: to go over a large one takes seconds to minutes."""

    def __init__(self, file: bytes | int, before_read: Callable[[], None], *, folder_fd: int | None = None) -> None:
        """`file`: its name in the folder, or a handle. Raises OSError; no handle is left open then."""
        super().__init__(file, opener=lambda name, _: os.open(name, FILE, dir_fd=folder_fd))
        self.before_read = before_read

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as a file does. Raises what `before_read` raises."""
        self.before_read()
        return super().read(size)
