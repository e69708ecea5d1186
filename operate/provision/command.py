"""`rosterd client ...`: logins, folders and settings of client organisations, made and removed together."""

from __future__ import annotations

import click

from operate.provision.add import add
from operate.provision.remove import disable, enable, remove
from operate.provision.show import list_clients, show


@click.group()
def client() -> None:
    """Add, show, disable or remove a client: its login, its folders and its settings."""


for command in (add, list_clients, show, disable, enable, remove):
    client.add_command(command)
