"""`rosterd undo`: take back what one import did."""

from __future__ import annotations

import click

from operate.change import give
from operate.options import service_config_option
from operate.roster.change_options import apply_option
from watcher.control.client import Order
from watcher.settings import Config


@click.command()
@click.argument("id_", metavar="ID", type=click.IntRange(min=1))
@apply_option
@service_config_option
def undo(config: Config, id_: int, *, is_applied: bool) -> None:
    """
    Take back what one import did, value by value; without --apply only show it.

    ID is the number in `rosterd imports`. A value goes back only if it is still what that import made it. Users that it
    created become inactive, users that it deactivated active. An undo is an import of its own and can be undone.
    """
    give(config, Order(do="roster.undo", id=str(id_), is_applied=is_applied))
