"""`rosterd metrics`: the metrics for Prometheus, once, whether the service runs or not."""

from __future__ import annotations

import os

import click

from operate.options import service_config_option
from watcher.health.metrics_source import source_of
from watcher.health.prometheus import as_text
from watcher.lock import is_locked
from watcher.owner import check_access
from watcher.settings import Config


@click.command()
@service_config_option
def metrics(config: Config) -> None:
    """
    Print the metrics for Prometheus.

    These are the metrics that `[metrics]` offers, to look at or for a textfile while the service is down.
    """
    is_locked(config.service.state_dir)  # metrics that cannot be read are left out; here that is an error
    check_access(config.service.place, os.O_RDONLY)
    click.echo(as_text(source_of(config)), nl=False)
