"""`rosterd client ...`: logins, folders and settings of client organisations, made and removed together."""

from __future__ import annotations

import click

from operate.clients.add import add
from operate.clients.apply import apply_
from operate.clients.key import key
from operate.clients.password import password
from operate.clients.remove import disable, enable, remove
from operate.clients.set import set_
from operate.clients.show import list_clients, show


@click.group()
def client() -> None:
    """Add, show, disable or remove a client: its login, its folders and its settings."""


for command in (add, apply_, list_clients, show, set_, key, password, disable, enable, remove):
    client.add_command(command)
