"""What `rosterd doctor` checks about the folder in which a client tries files out."""

from __future__ import annotations

import os
import stat

from importer.names import CHECK
from importer.settings import ClientSettings
from operate.doctor.findings import Findings, Topic
from operate.provision import accounts
from watcher.owner import user_name


def check_folder_findings(topic: Topic, client: ClientSettings, service_uid: int) -> Findings:
    """Yield whether client and service can use the folder; a missing one will be created."""
    path = os.path.join(client.inbox, CHECK.decode())
    try:
        info, inbox = os.lstat(path), os.stat(client.inbox)
    except OSError:
        return
    is_ours = info.st_uid in (service_uid, 0)
    if not client.check_folder:
        if is_ours and stat.S_ISDIR(info.st_mode):
            yield topic.warning(
                f"{path}: check_folder is off, so nothing in it is checked, or removed",
                f"rm -r {path}, or rosterd client set {client.name} --check-folder --apply",
            )
        return
    yield from [*_problems(topic, path, info, inbox, service_uid)] or [
        topic.ok(f"{path}: can be used to try files out")
    ]


def _problems(topic: Topic, path: str, status: os.stat_result, inbox: os.stat_result, service_uid: int) -> Findings:
    mode, owner, service = stat.S_IMODE(status.st_mode), user_name(status.st_uid), user_name(service_uid)
    remedy = f"install -d -o {service} -g {accounts.group_name(inbox.st_gid)} -m 3770 {path}"
    if not stat.S_ISDIR(status.st_mode):
        yield topic.fault(f"{path}: is not a folder, so nothing is checked", f"move it away, then {remedy}")
    elif status.st_uid not in (service_uid, 0, inbox.st_uid):
        yield topic.fault(f"{path}: belongs to {owner}, so nothing is checked", f"move it away, then {remedy}")
    elif not _may_remove(status, service_uid):
        yield topic.fault(f"{path}: belongs to {owner}, mode {mode:04o}: the service cannot answer in it", remedy)
    elif status.st_uid in (service_uid, 0) and not _may_write(status, inbox):
        group = accounts.group_name(status.st_gid)
        yield topic.fault(f"{path}: the client cannot write to it: group {group}, mode {mode:04o}", remedy)
    elif not mode & stat.S_ISVTX:
        yield topic.warning(f"{path}: has no sticky bit, so the client can replace the answers", remedy)


def _may_remove(status: os.stat_result, service_uid: int) -> bool:
    """Return whether the service may remove what the client puts there, when it is old."""
    return service_uid in (0, status.st_uid) or not status.st_mode & stat.S_ISVTX


def _may_write(status: os.stat_result, inbox: os.stat_result) -> bool:
    is_group = status.st_gid == inbox.st_gid
    needed = stat.S_IWGRP | stat.S_IXGRP if is_group else stat.S_IWOTH | stat.S_IXOTH
    return status.st_mode & needed == needed
