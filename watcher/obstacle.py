"""Why the database cannot be written, by the state of its files: for the service, `rosterd status` and `doctor`."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from importer.readonly import log_files
from watcher.owner import user_name


def obstacle(database: Path, uid: int) -> tuple[str, str]:
    """Return why a user cannot write the database, and what to do; "" when nothing on the disk prevents it."""
    for path in (database, database.parent, *(file for file in log_files(database) if file.exists())):
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return f"{path} is missing", "stop the service, restore the database from a backup, start the service"
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            return f"{path} is on a disk mounted read-only", "see dmesg for the cause, then mount it for writing"
        is_owner, name = uid == status.st_uid, shlex.quote(str(path))
        # Others may write by the rights of a group, or of all: whether the user is in that group is not examined.
        if not uid or status.st_mode & (stat.S_IWUSR if is_owner else stat.S_IWGRP | stat.S_IWOTH):
            continue
        if not is_owner:
            return f"{path} belongs to {user_name(status.st_uid)}", f"chown {uid} {name}"
        return f"{path} has mode {stat.S_IMODE(status.st_mode):04o}, nobody may write it", f"chmod u+w {name}"
    return "", ""
