"""What `rosterd doctor` looks at where the service listens to the SFTP sessions of a client."""

from __future__ import annotations

import os
import socket
import stat

from importer.settings import ClientSettings
from operate.doctor.findings import Findings, Topic


def session_findings(topic: Topic, client: ClientSettings, service_uid: int) -> Findings:
    """Yield whether the sessions of a client find a socket that the service listens at."""
    if not client.log_socket:
        return
    path = os.path.join(os.path.dirname(client.inbox), client.log_socket)
    folder = os.path.dirname(path)
    set_up = f"rosterd client add {client.name} --apply"
    try:
        found = os.stat(folder)
        if found.st_uid not in (service_uid, 0) or found.st_mode & stat.S_IWOTH:
            yield topic.fault(f"{folder}: others than the service may put a socket there", set_up)
        elif found.st_uid == 0 != service_uid:
            yield topic.warning(f"{folder}: belongs to root, the service cannot make its socket there", set_up)
        elif os.lstat(path).st_mode & stat.S_IWOTH:
            yield topic.warning(
                f"{path}: every local user may write to it; expected the client alone",
                f"{set_up}, then systemctl restart rosterd",
            )
        else:
            _connect(path)
            yield topic.ok(f"its sessions are heard at {path}")
    except FileNotFoundError as error:
        remedy = set_up if not os.path.isdir(folder) else "systemctl restart rosterd"
        yield topic.warning(f"{path}: {error.strerror}: its sessions are not heard", remedy)
    except OSError as error:
        yield topic.warning(f"{path}: {error.strerror}: its sessions are not heard", "systemctl restart rosterd")


def _connect(path: str) -> None:
    """Raise OSError when nobody listens at a socket; nothing is sent."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as session:
        session.connect(path)
