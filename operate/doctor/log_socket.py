"""What `rosterd doctor` checks about the socket at which the service receives the SFTP log of a client."""

from __future__ import annotations

import os
import socket
import stat

from importer.settings import ClientSettings
from operate.doctor.findings import Findings, Topic


def session_findings(topic: Topic, client: ClientSettings, service_uid: int) -> Findings:
    """Yield whether the service receives the SFTP log of a client."""
    if not client.log_socket:
        return
    path = os.path.join(os.path.dirname(client.inbox), client.log_socket)
    folder = os.path.dirname(path)
    set_up = f"rosterd client add {client.name} --apply"
    try:
        info = os.stat(folder)
        if info.st_uid not in (service_uid, 0) or info.st_mode & stat.S_IWOTH:
            yield topic.fault(f"{folder}: users other than the service can create a socket there", set_up)
        elif info.st_uid == 0 != service_uid:
            yield topic.warning(f"{folder}: belongs to root, so the service cannot create its socket there", set_up)
        elif os.lstat(path).st_mode & stat.S_IWOTH:
            yield topic.warning(
                f"{path}: every local user can write to it; expected only the client",
                f"{set_up}, then systemctl restart rosterd",
            )
        else:
            _connect(path)
            yield topic.ok(f"the service receives its session log at {path}")
    except FileNotFoundError as error:
        remedy = set_up if not os.path.isdir(folder) else "systemctl restart rosterd"
        yield topic.warning(f"{path}: {error.strerror}: no session log reaches the service", remedy)
    except OSError as error:
        yield topic.warning(
            f"{path}: {error.strerror}: no session log reaches the service", "systemctl restart rosterd"
        )


def _connect(path: str) -> None:
    """Raise OSError when no process listens at a socket; nothing is sent."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as session:
        session.connect(path)
