"""Print what documents of the installed package name and what is missing, each with where; exit 1 if anything is."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

DOCUMENTS = "usr/share/doc/rosterd"
OTHERS = (
    "etc/rosterd/config.toml",
    "etc/ssh/sshd_config.d/rosterd.conf",
    "usr/lib/systemd/system/rosterd.service",
    "usr/lib/systemd/system/rosterd-console.service",
)
MANUAL = "docs/rosterd.1"  # packed, the installed one is for man alone
PATH = re.compile(r"(?<![\w.~*/])/(?:etc|lib|opt|usr)/[\w./*-]*rosterd[\w./*-]*[\w*]")
LINK = re.compile(r"\]\((?!\w+:|#)([^)#]+)")
MADE_BY_OTHERS = (
    "/etc/apt/*",
    "/etc/fail2ban/*",
    "/etc/fluent-bit/*",
    "/etc/logrotate.d/*",
    "/etc/nginx/*",
    "/etc/prometheus/*",
    "/etc/rsyslog.d/*",
    "/etc/vector/*",
    "/etc/rosterd/clients.csv",
    "/etc/rosterd/clients.d/*.toml",
    "/etc/rosterd/database_password",
    "/etc/rosterd/hook_*",
    "/etc/rosterd/ping_url",
    "/etc/rosterd/smtp_password",
    "/etc/systemd/system/rosterd.service.d*",
    "/etc/systemd/system/rosterd-console.service.d*",
    "/opt/rosterd/lib/python3.*",
    "/usr/local/*",  # without the package
)


def named(text: str) -> set[str]:
    """Return the paths of the package that a text names."""
    return {path for path in PATH.findall(text) if not any(fnmatch(path, other) for other in MADE_BY_OTHERS)}


def missing(root: Path) -> Iterator[str]:
    """Yield what the documents below a root name, and the links between them that lead nowhere."""
    documents = [
        path for path in (root / DOCUMENTS).rglob("*") if path.is_file() and path.suffix not in {".csv", ".gz", ".png"}
    ]
    for document in [*documents, *(root / name for name in OTHERS), Path(MANUAL)]:
        text = document.read_text()
        yield from (f"{document}: {path}" for path in sorted(named(text)) if not any(root.glob(path[1:])))
        if document.suffix == ".md":
            yield from (f"{document}: {link}" for link in LINK.findall(text) if not (document.parent / link).exists())


if __name__ == "__main__":
    found = list(missing(Path(sys.argv[1])))
    print("\n".join(found))
    sys.exit(bool(found))
