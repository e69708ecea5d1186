"""`rosterd release` and `rosterd refuse`: end the hold of a file."""

from __future__ import annotations

import click

from operate.change import give
from operate.options import chosen_client, client_option, service_config_option
from watcher.control.client import Order
from watcher.settings import Config


@click.command()
@click.argument("file")
@client_option
@service_config_option
def release(config: Config, file: str, client_name: str | None) -> None:
    """
    Import a held FILE as it is.

    FILE is a name as `rosterd status` shows it. Its last row is checked like any other.
    """
    give(config, Order(do="file.release", file=file, client=chosen_client(config, client_name).name))


@click.command()
@click.argument("file")
@client_option
@service_config_option
def refuse(config: Config, file: str, client_name: str | None) -> None:
    """
    Refuse a held FILE now.

    FILE is a name as `rosterd status` shows it. The client is notified, as when the hold expires.
    """
    give(config, Order(do="file.refuse", file=file, client=chosen_client(config, client_name).name))
