"""`rosterd client password`: the password of a login, by the host's own tools. It is never in a command line."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import Final

import click

from operate.clients.expiry import Expiry
from operate.clients.remove import login_conflicts
from operate.doctor import sshd
from operate.options import config_file_option
from operate.output import say
from operate.provision import accounts
from operate.provision.plan import Conflicts, ForRoot, apply_option, fail, name_argument, play, refuse
from operate.provision.steps import Step, StepFailed

_DAY_S: Final = 86_400
_FEWEST_CHARS: Final = 12
_MOST_CHARS: Final = 256
_EXAMPLE: Final = "openssl rand -base64 18"


@click.command(cls=ForRoot)
@name_argument
@click.option("--set", "is_new", is_flag=True, help="Set a password: asked for, or the line on standard input.")
@click.option(
    "--expires", type=Expiry(), metavar="DAY|DURATION|never", help="The last day of the password in UTC, or how long."
)
@click.option("--lock", "change", flag_value="lock", help="Let the password in no more, until --unlock.")
@click.option("--unlock", "change", flag_value="unlock", help="Let a locked password in again.")
@click.option("--remove", "change", flag_value="remove", help="Remove the password and its last day; keys stay.")
@config_file_option
@apply_option
def password(
    name: str, config_file: Path, change: str | None, expires: float | None, *, is_new: bool, apply: bool
) -> None:
    """
    Set, expire, lock or remove the password of a client.

    A new client has none and logs in by key. An expired password also stops logins by key, because PAM checks it for
    both.
    """
    if (change is not None) == (is_new or expires is not None):
        raise click.UsageError("give --set, --expires or both, or one of --lock, --unlock, --remove")
    refuse(_conflicts(name, config_file, change, is_new=is_new))
    if change is not None:
        play(_changes(name, change), apply=apply, reloads=False)
        return
    plan = [accounts.new_password(name, _ask(name) if apply else "")] if is_new else []
    if expires is not None:
        plan.append(_expiry(name, expires, is_new=is_new))
    play(plan, apply=apply, reloads=False)
    if is_new and not _is_accepted(name):
        say(f"sshd accepts no passwords of {name}: see PasswordAuthentication in sshd_config(5)")


def _changes(name: str, change: str) -> list[Step]:
    if change == "remove":  # with its last day, which would stop the keys later
        return [accounts.without_password(name), _expiry(name, 0.0, is_new=False)]
    return [accounts.locking(name, locked=change == "lock")]


def _expiry(name: str, moment: float, *, is_new: bool) -> Step:
    today = int(time.time() // _DAY_S)
    changed = today if is_new else accounts.ageing(name).changed or today
    return accounts.password_expiry(name, changed, int((moment - 1) // _DAY_S) if moment else None)


def _ask(name: str) -> str:
    """Return the new password; ends the program when it cannot be one."""
    if sys.stdin.isatty():
        new = str(click.prompt(f"New password of {name}", hide_input=True, confirmation_prompt=True, err=True))
    else:
        new = sys.stdin.read(4 * _MOST_CHARS).removesuffix("\n").removesuffix("\r")
    if not (_FEWEST_CHARS <= len(new) <= _MOST_CHARS and new.isprintable()):
        expected = f"expected one line of {_FEWEST_CHARS} to {_MOST_CHARS} characters, such as from {_EXAMPLE}"
        fail("Nothing was changed:", f"  the password cannot be used; {expected}")
    return new


# Conflicts


def _conflicts(name: str, config_file: Path, change: str | None, *, is_new: bool) -> Conflicts:
    yield from login_conflicts(name, config_file)
    has_none = accounts.is_without_password(name)
    if has_none and not is_new and change != "remove":
        yield f"{name} has no password: rosterd client password {name} --set"
    if change == "lock" and not has_none and not _is_on(name, "usepam"):
        yield f"sshd works without UsePAM, so a locked password would stop the keys of {name}, too: use --remove"


def _is_accepted(name: str) -> bool:
    return _is_on(name, "passwordauthentication") or _is_on(name, "kbdinteractiveauthentication")


def _is_on(name: str, setting: str) -> bool:
    """Return whether sshd has a setting for this login; taken for so where it cannot be asked."""
    with contextlib.suppress(StepFailed):
        return sshd.effective(name).is_on(setting)
    return True
