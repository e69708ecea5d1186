"""Orders: carried out by the running service, or in its place with its lock held. There is never a second writer."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Final

import click

from operate.database import cannot_answer
from watcher.control.client import Answer, NoAnswer, NotRunning, Order, ask
from watcher.exits import EXIT_RUNNING_ALREADY
from watcher.lock import RunningAlready, locked
from watcher.owner import check_access
from watcher.settings import Config

EXIT_NOT_DONE: Final = 1


def give(config: Config, *orders: Order) -> None:
    """Have orders carried out one after the other, print the result of each, and end the program."""
    answers = [carried_out(config, order) for order in orders]
    for answer in answers:
        click.echo(answer.text, err=not answer.done)
    sys.exit(0 if all(answer.done for answer in answers) else EXIT_NOT_DONE)


def carried_out(config: Config, order: Order) -> Answer:
    """Have one order carried out; ends the program when that is impossible. Raises PermissionError."""
    state_dir = config.service.state_dir
    try:
        return ask(state_dir, order)
    except NotRunning:
        return _done_here(config, order)
    except NoAnswer as error:
        cannot_answer(f"no answer from the service ({error}): check whether it was done before you try again")


def _done_here(config: Config, order: Order) -> Answer:
    from importer.durable import SyncFailed
    from importer.store.errors import StoreError, StoreUnusable
    from watcher.approval.files import FilesOnHold
    from watcher.control.archives import archive_orders
    from watcher.control.orders import approval_orders, store_orders
    from watcher.control.server import carry_out
    from watcher.log import configured

    database = config.service.place
    if database.is_missing:
        cannot_answer(f"{database.name}: does not exist yet; the service creates it at its first start")
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(locked(config.service.state_dir))
            check_access(database, os.O_RDWR)
            store = stack.enter_context(contextlib.closing(database.open()))
            handlers = {**store_orders(store), **archive_orders(store, lambda: config)}
            handlers |= approval_orders(FilesOnHold(config, store))
            if order.do not in handlers:
                return Answer(done=False, text="the service is not running, and only it knows which files are held")
            with configured(config.log):
                return carry_out(handlers, order)
    except RunningAlready:
        click.echo("the service is running but does not answer; try again in a moment", err=True)
        sys.exit(EXIT_RUNNING_ALREADY)
    except PermissionError:
        raise
    except (OSError, SyncFailed, StoreError, StoreUnusable) as error:
        cannot_answer(f"{database.name}: {error}")
