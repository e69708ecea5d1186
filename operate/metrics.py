"""`rosterd metrics`: the figures for Prometheus, once, whether the daemon runs or not."""

from __future__ import annotations

import click

from watcher.config import Config
from watcher.metrics import as_text
from watcher.options import config_option
from watcher.source import source_of


@click.command()
@config_option
def metrics(config: Config) -> None:
    """
    Print the figures for Prometheus.

    They are those that `[metrics]` offers, for a look or for a textfile that outlives the daemon.
    """
    click.echo(as_text(source_of(config)), nl=False)
