"""Has the service read its settings, by the control socket: it answers whether it took them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from operate.output import say
from watcher.config import ConfigError, load
from watcher.control.client import NoAnswer, NotRunning, Order, ask


class Reloaded(msgspec.Struct, frozen=True):
    """What the service said, in a sentence; `done`: nothing is left to do for it to have the settings."""

    done: bool
    text: str


def reload_service(config_file: Path) -> Reloaded:
    """Have the running service read its settings; one that does not run reads them when it starts."""
    try:
        answer = ask(load(config_file).service.state_dir, Order(do="reload"))
    except ConfigError as error:
        return Reloaded(done=False, text=f"The service keeps its settings: {error}")
    except NotRunning:
        return Reloaded(done=True, text="The service is not running; it reads the settings when it starts.")
    except NoAnswer as error:
        remedy = "rosterd status shows whether it has the settings; systemctl reload rosterd"
        return Reloaded(done=False, text=f"The service has not answered ({error}): {remedy}")
    return Reloaded(done=answer.done, text=f"The service: {answer.text}")


def complete(config_file: Path) -> None:
    """Have a running service read what this command wrote, or one before it that was killed; say if it does not."""
    if not (reloaded := reload_service(config_file)).done:
        say(reloaded.text)
