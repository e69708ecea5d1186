"""`rosterd doctor`: checks everything that rosterd needs on a host, and says how to fix each fault."""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import click
import msgspec

from operate.doctor.clients import client_findings, sshd_and_client_findings
from operate.doctor.database import findings_of
from operate.doctor.findings import CheckResult, Findings, Severity, Topic
from operate.doctor.host import host_findings
from operate.doctor.pgp import pgp_findings
from operate.doctor.process import process_findings, trouble_findings
from operate.doctor.service import service_findings
from operate.doctor.summary import WORDS, lines
from operate.options import ClientName, chosen_client, config_file_option, json_option, record_option, use_secret_files
from operate.output import print_json, some
from watcher.adopted import read_adopted
from watcher.config import ConfigError, load
from watcher.health.checks.results import DOCTOR, record_run
from watcher.owner import check_access, owner_of
from watcher.settings import Config

# What the service reports about a topic is explained by a fault of that topic, or of one of these.
_OTHER_CAUSES: Final = {"client": (), "mail": (), "database": ("state", "disk")}


@click.command()
@click.option(
    "--probe",
    is_flag=True,
    help="Also log in as each client with a key, using a temporary key.",
)
@click.option("--client", "client_name", metavar="NAME", type=ClientName(), help="Check only this client.")
@click.option("--problems", is_flag=True, help="Show only warnings and faults.")
@record_option
@config_file_option
@json_option
def doctor(
    config_file: Path, client_name: str | None, *, probe: bool, problems: bool, is_recorded: bool, as_json: bool
) -> None:
    """
    Check host, service and clients, and say how to fix what is wrong.

    Changes nothing, apart from the temporary key of --probe, and sends no mail. Run it as root to check everything.
    Exits with 0 when all is well, 1 for warnings, 2 for faults.
    """
    if is_recorded and client_name is not None:
        raise click.UsageError("--record is for all clients: leave out --client")
    findings = list(_findings(config_file, client_name, probe=probe))
    worst = max((finding.level for finding in findings), default=Severity.OK)
    shown = [finding for finding in findings if finding.level or not problems]
    counts = Counter(finding.level for finding in findings)
    if is_recorded:
        _record(config_file, findings)
    if as_json:
        listed = [{**msgspec.structs.asdict(each), "level": WORDS[each.level].lower()} for each in shown]
        print_json({"worst": WORDS[worst].lower(), "findings": listed})
        sys.exit(worst)
    for line in lines(shown):
        click.echo(line)
    click.echo(", ".join(f"{counts[level]} {word}" for level, word in WORDS.items()))
    sys.exit(worst)


def _record(config_file: Path, findings: list[CheckResult]) -> None:
    """Record what was found where the service keeps its state; there is nowhere to without a configuration."""
    try:
        config: Config | None = load(config_file)
    except ConfigError:
        config = read_adopted(config_file)
    if config is not None:
        counts = Counter(finding.level for finding in findings)
        problems = {WORDS[level]: counts[level] for level in (Severity.WARNING, Severity.FAULT)}
        faults = [f"{each.topic}: {each.what}" for each in findings if each.level is Severity.FAULT]
        expires_at = min((each.pgp_key_expires_at for each in findings if each.pgp_key_expires_at), default=None)
        record_run(config.service.state_dir, DOCTOR, problems, faults, pgp_key_expires_at=expires_at)


def _findings(config_file: Path, client_name: str | None, *, probe: bool) -> Findings:
    topic = Topic("configuration")
    use_secret_files(config_file)
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
        os.listdir(config.service.state_dir)  # without access to it nothing can be checked
    check_access(place := config.service.place, os.O_RDONLY)
    if client_name is not None:
        client = chosen_client(config, client_name)
        checked = [*client_findings(config, [client], probe=probe)]
        yield from _unexplained(trouble_findings(config, [client]), checked)
        yield from checked
        return
    if not config.is_outdated:
        yield topic.ok(f"{config_file}; clients: {some(list(config.clients_by_name)) or 'none'}")
    state_dir = config.service.state_dir
    host = [*host_findings(config)]
    service = [*service_findings(config), *pgp_findings(config)]
    database = [*findings_of(place, owner_of(state_dir)[0])]
    clients = [*sshd_and_client_findings(config, probe=probe)]
    checked = [*host, *service, *database, *clients]
    yield from host
    yield from _unexplained(process_findings(state_dir, is_config_outdated=config.is_outdated), checked)
    yield from (*service, *database)
    yield from _unexplained(trouble_findings(config, config.clients), checked)
    yield from clients


def _unexplained(reports: Findings, checked: list[CheckResult]) -> Findings:
    """Yield what the service reports, without that whose cause was found by a check: one cause is told once."""
    faults = [each for each in checked if each.level is Severity.FAULT]
    faulty = {each.topic for each in faults}
    for report in reports:
        causes = {report.topic, *_OTHER_CAUSES.get(report.topic.partition(" ")[0], ())}
        is_explained = report.topic.partition(" ")[0] in _OTHER_CAUSES and causes & faulty
        is_quoted = any(each.what in report.what for each in faults)  # as where a reload is refused for it
        if report.level is not Severity.FAULT or not (is_explained or is_quoted):
            yield report
