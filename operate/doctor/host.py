"""What `rosterd doctor` checks about the host: kernel settings, clock, disk space, journal."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from importer.fs import temporary_folder
from operate.doctor.findings import CheckResult, Findings, Topic
from watcher.health.checks.clock import ahead_s, difference
from watcher.settings import Config

_MIB: Final = 1 << 20
_LEAST_FREE_BYTES: Final = 64 * _MIB  # below this nothing is imported
_LITTLE_FREE_BYTES: Final = 1024 * _MIB
_LEAST_FREE_INODES: Final = 1000
_LITTLE_FREE_SHARE: Final = 0.05
_QUEUED_EVENTS: Final = 16384  # of the kernel's default; a burst of 4000 files fills it
_CLOCK_UNSYNCHRONISED: Final = 5  # TIME_ERROR of adjtimex(2)
_TIMEX_BYTES: Final = 208
_JOURNAL: Final = "/run/systemd/journal/stdout"


def host_findings(config: Config) -> Findings:
    """Yield the results for the host."""
    yield from _kernel(len(config.clients))
    yield _clock()
    yield from _clocks_of_file_systems(client.inbox for client in config.clients)
    yield from _space([config.service.state_dir, temporary_folder(), *(client.inbox for client in config.clients)])
    yield _journal()


def _kernel(clients: int) -> Findings:
    topic = Topic("kernel")
    limits = {
        "fs.protected_hardlinks": (1, "a client could make hard links to files of other users"),
        "fs.inotify.max_user_instances": (8, "watching may fail to start"),
        "fs.inotify.max_user_watches": (clients + 64, "not every inbox can be watched"),
        "fs.inotify.max_queued_events": (_QUEUED_EVENTS, "bursts of uploads are found only by the sweep"),
    }
    for name, (least, otherwise) in limits.items():
        value = _sysctl(name)
        if value is None:
            yield topic.warning(f"{name} cannot be read; if it is below {least}, {otherwise}")
        elif value < least:
            finding = topic.fault if name == "fs.protected_hardlinks" else topic.warning
            yield finding(
                f"{name} is {value}: {otherwise}",
                f"echo {name}={least} > /etc/sysctl.d/60-rosterd.conf; sysctl --system",
            )
        else:
            yield topic.ok(f"{name} is {value}")


def _sysctl(name: str) -> int | None:
    try:
        return int(Path("/proc/sys", *name.split(".")).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _clock() -> CheckResult:
    """Return whether the clock is synchronised. Only time stamps depend on it."""
    topic = Topic("clock")
    state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if state == _CLOCK_UNSYNCHRONISED:
        return topic.warning("not synchronised", "apt-get install systemd-timesyncd; timedatectl set-ntp true")
    # A container can neither query nor set the clock: it has that of its host.
    return topic.ok("synchronised" if state >= 0 else "is set by the host of this container")


def _clocks_of_file_systems(inboxes: Iterable[str]) -> Findings:
    """Yield whose time, such as that of another host, is quite another one; each file system once."""
    seen: set[int] = set()
    for inbox in inboxes if os.geteuid() == 0 else ():
        work = f"{inbox}/.work"
        with contextlib.suppress(OSError):
            if (device := os.stat(work).st_dev) not in seen:
                seen.add(device)
                if what := difference(work, ahead_s(work)):
                    yield Topic("clock").fault(what, "timedatectl; set both clocks by NTP")


def _space(folders: Iterable[str]) -> Findings:
    """Yield one finding for each file system."""
    seen: set[int] = set()
    for folder in folders:
        if os.path.isdir(folder) and (device := os.stat(folder).st_dev) not in seen:
            seen.add(device)
            yield _space_of(folder, os.statvfs(folder))


def _space_of(folder: str, space: os.statvfs_result) -> CheckResult:
    topic = Topic("disk")
    free_bytes = space.f_bavail * space.f_frsize
    text = f"{folder}: {free_bytes // _MIB} MiB free"
    inodes = f", {space.f_favail} inodes" if space.f_files else ""  # some file systems do not count them
    remedy = "free some space; a quota of the file system limits what clients can upload"
    if free_bytes < _LEAST_FREE_BYTES or (inodes and space.f_favail < _LEAST_FREE_INODES):
        return topic.fault(text + inodes, remedy)
    is_little = free_bytes < _LITTLE_FREE_BYTES or space.f_favail < _LITTLE_FREE_SHARE * space.f_files
    return topic.warning(text + inodes, remedy) if is_little else topic.ok(text + inodes)


def _journal() -> CheckResult:
    topic = Topic("log")
    if os.path.exists(_JOURNAL):
        return topic.ok("goes to the journal: journalctl -u rosterd")
    return topic.warning(f"no journal at {_JOURNAL}: the log goes to standard output; something else must store it")
