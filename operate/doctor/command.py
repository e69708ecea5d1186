"""`rosterd doctor`: checks everything that rosterd needs on a host, and gives the remedy for each fault."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import click
import msgspec

from operate.doctor.clients import client_findings
from operate.doctor.findings import Findings, Severity, Topic
from operate.doctor.host import host_findings
from operate.doctor.service import service_findings
from operate.options import config_file_option, json_option
from operate.output import print_json
from watcher.adopted import read_adopted
from watcher.config import ConfigError, load
from watcher.owner import check_access

_WORDS: Final = {Severity.OK: "OK", Severity.WARNING: "warning", Severity.FAULT: "fault"}
_COLOURS: Final = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.FAULT: "red"}


@click.command()
@click.option(
    "--probe",
    is_flag=True,
    help="Also log in as each client with a key, using a temporary key.",
)
@config_file_option
@json_option
def doctor(config_file: Path, *, probe: bool, as_json: bool) -> None:
    """
    Check host, service and clients, and say how to fix what is wrong.

    Changes nothing, apart from the temporary key of --probe, and sends no mail. Run it as root to check everything.
    Exits with 0 when all is well, 1 for warnings, 2 for faults.
    """
    findings = list(_findings(config_file, probe=probe))
    worst = max(finding.level for finding in findings)
    if as_json:
        listed = [{**msgspec.structs.asdict(each), "level": _WORDS[each.level].lower()} for each in findings]
        print_json({"worst": _WORDS[worst].lower(), "findings": listed})
        sys.exit(worst)
    for finding in findings:
        word = click.style(f"{_WORDS[finding.level]:<8}", fg=_COLOURS[finding.level])
        click.echo(f"{word} {finding.topic}: {finding.what}")
        if finding.remedy:
            click.echo(f"         -> {finding.remedy}")
    counts = Counter(finding.level for finding in findings)
    click.echo(", ".join(f"{counts[level]} {word}" for level, word in _WORDS.items()))
    sys.exit(worst)


def _findings(config_file: Path, *, probe: bool) -> Findings:
    topic = Topic("configuration")
    _find_credentials(config_file)
    try:
        config = load(config_file)
    except ConfigError as error:
        for problem in error.problems:
            yield topic.fault(problem, f"edit it; the comments in {config_file} explain every setting")
        adopted = read_adopted(config_file)
        if adopted is None:
            return
        config = adopted  # what the service uses meanwhile
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.listdir(config.service.state_dir)  # who may not look in here can find nothing
    check_access(Path(config.service.database), os.O_RDONLY)
    clients = ", ".join(config.clients_by_name) or "none"
    if not config.is_outdated:
        yield topic.ok(f"{config_file}; clients: {clients}")
    yield from host_findings(config)
    yield from service_findings(config)
    yield from client_findings(config, probe=probe)


def _find_credentials(config_file: Path) -> None:
    """Let the password be found where the unit loads it from; only the service is handed it as a credential."""
    folder = str(config_file.absolute().parent)
    if os.access(os.path.join(folder, "smtp_password"), os.R_OK):
        os.environ.setdefault("CREDENTIALS_DIRECTORY", folder)
