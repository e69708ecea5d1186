"""The command line: the service, and a table of all other commands, imported when called, so that each starts fast."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn

import click

from operate.options import config_option, is_plain_terminal
from watcher.exits import (
    EXIT_CANNOT_ANSWER,
    EXIT_IO_ERROR,
    EXIT_NOT_PERMITTED,
    EXIT_UNEXPECTED,
    EXIT_UNUSABLE_DATABASE,
)

if TYPE_CHECKING:
    from watcher.settings import Config

# Name, where the command is, its first sentence: as the command itself has it, but known without importing it.
_ELSEWHERE: Final = {
    "client": (
        "operate.clients.command:client",
        "Add, show, disable or remove a client: its login, its folders and its settings.",
    ),
    "pgp": (
        "operate.pgp.command:pgp",
        "Make the key that clients encrypt for, and trust the keys by which they sign.",
    ),
    "doctor": (
        "operate.doctor.command:doctor",
        "Check host, service and clients, and say how to fix what is wrong.",
    ),
    "guide": ("operate.pages.guide:guide", "Write the page that tells a client how to upload."),
    "check": ("operate.check:check", "Dry run: show how FILE would be imported."),
    "fields": ("operate.pages.fields:fields", "List the columns that an upload may have."),
    "template": (
        "operate.pages.fields:template",
        "Print a sample CSV file: the header and one user.",
    ),
    "status": ("operate.overview:status", "Show how the service and each client are doing."),
    "imports": ("operate.records:imports", "List imports, newest first."),
    "show": ("operate.records:show", "Show everything about one import."),
    "users": ("operate.roster.users:users", "Find recorded users, deactivate or reactivate them."),
    "history": ("operate.roster.history:history", "Show everything that happened to one person, oldest first."),
    "changes": (
        "operate.roster.changes:changes",
        "List every user that was created or changed since an import, as it is now.",
    ),
    "undo": (
        "operate.roster.undo:undo",
        "Take back what one import did, value by value; without --apply only show it.",
    ),
    "rekey": (
        "operate.roster.rekey:rekey",
        "Give users new unique ids; without --apply only check whether it is possible.",
    ),
    "import": ("operate.deliver:import_", "Import FILE by hand."),
    "replay": ("operate.deliver:replay", "Import a file again from its archive."),
    "release": ("operate.hold:release", "Import a held FILE as it is."),
    "refuse": ("operate.hold:refuse", "Refuse a held FILE now."),
    "preview": ("operate.roster.preview:preview", "Show what would change once it is approved."),
    "approve": ("operate.roster.decide:approve", "Approve a FILE that is on hold, or removals."),
    "reject": ("operate.roster.decide:reject", "Reject a FILE that is on hold, or removals."),
    "feed": ("operate.roster.feed:feed", "List the feeds of clients, and freeze one for a time."),
    "guard": (
        "operate.roster.guard:guard",
        "Let limits of [guard] not count for a time, and list where they do not.",
    ),
    "mail": ("operate.mail:mail", "List, show, retry or drop mail that is still to be sent."),
    "hook": ("operate.hooks.command:hook", "List, show, retry or drop events for webhooks, or test a webhook."),
    "export": ("operate.person:export", "Print everything stored about one person, or all users of a client."),
    "erase": ("operate.person:erase", "Erase one person, and list the archives that still contain them."),
    "metrics": ("operate.metrics:metrics", "Print the metrics for Prometheus."),
    "verify": ("operate.verify:verify", "Check that nothing was lost, duplicated or damaged."),
    "store": ("operate.store.command:store", "Copy the database into another one."),
    "console": ("console.command:console", "Serve the operator's web page, or say who may log in to it."),
    "backup": (
        "operate.backup.command:backup",
        "Write database, settings, keys and logins into one file, or check such a file.",
    ),
    "restore": ("operate.backup.restore:restore", "Make this host what FILE says, a backup by `rosterd backup`."),
}


# As the manual page has them.
_SECTIONS: Final = {
    "The service": "run sweep console",
    "Clients": "client guide pgp",
    "Status and checks": "doctor status imports show users undo rekey changes metrics verify",
    "Files": "check import replay release refuse preview feed guard approve reject template fields",
    "Mail and webhooks": "mail hook",
    "People": "history export erase",
    "Backups and the database": "backup restore store",
}


class _Commands(click.Group):
    """Imports a command when it is called, not to list it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *_ELSEWHERE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = _ELSEWHERE[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        return command if isinstance(command, click.Command) else None

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; an error of the host, or a missing permission, ends it with a sentence and an exit code."""
        _import_when_used("asyncio")  # structlog imports it for programs that use it: 20 ms
        sys.modules.setdefault("rich", None)  # type: ignore[arg-type] # nor this, which draws tracebacks: 35 ms
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader has gone: click ends quietly
                raise
            sys.exit(_report_os_error(error))
        except UnicodeEncodeError as error:
            if error.reason != "surrogates not allowed":
                raise
            raise click.UsageError("the command line contains bytes that are not UTF-8") from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = [(name, super(_Commands, self).get_command(ctx, name)) for name in super().list_commands(ctx)]
        summaries = [(name, command.get_short_help_str(limit=100)) for name, command in commands if command]
        summaries += [(name, summary) for name, (_, summary) in _ELSEWHERE.items()]
        summary_of = dict(summaries)
        width = max(map(len, summary_of))  # of each section, or their columns would differ
        for title, names in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), summary_of[name]) for name in names.split()])


def _import_when_used(name: str) -> None:
    """Put a stand-in in the place of a module, which imports the real one when anything of it is asked for."""
    if name in sys.modules:
        return
    stand_in = sys.modules[name] = types.ModuleType(name)

    def of_the_real_one(attribute: str) -> object:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)

    stand_in.__getattr__ = of_the_real_one  # type: ignore[method-assign]


def _report_os_error(error: OSError) -> int:
    """Print what the host refused, and return the exit code for it."""
    from watcher.owner import permission_sentence

    if isinstance(error, PermissionError):
        click.echo(permission_sentence(error), err=True)
        return EXIT_NOT_PERMITTED
    click.echo(str(error), err=True)
    return EXIT_CANNOT_ANSWER


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rosterd")
@click.pass_context
def main(context: click.Context) -> None:
    """Import the user lists that client organisations upload by SFTP."""
    if is_plain_terminal():
        context.color = False


@main.command()
@config_option
def run(config: Config) -> None:
    """Run the service: watch the inboxes and import uploads until stopped."""
    _exit_with(config, _service().run_daemon)


@main.command()
@config_option
def sweep(config: Config) -> None:
    """Import the uploads that are in the inboxes now, then exit."""
    _exit_with(config, _service().sweep_once)


def _service() -> types.ModuleType:
    """Import the service, which is the first to import sqlite3."""
    from importer.store.sqlite.statistics import turn_off

    turn_off()
    from watcher import start

    return start


def _exit_with(config: Config, act: Callable[[Config], int]) -> NoReturn:
    """Run a command that logs, and end with its exit code, or with the one for what it raised."""
    from watcher.log import configured

    os.umask(0o077)  # what others may read gets its mode by name
    with configured(config.log):
        code = _code_of(config, act)
    sys.exit(code)


def _code_of(config: Config, act: Callable[[Config], int]) -> int:
    import structlog

    from importer.durable import SyncFailed
    from importer.store.errors import StoreError, StoreUnusable

    log = structlog.get_logger()
    try:
        return act(config)
    except StoreUnusable:
        log.critical("daemon.failed", exc_info=True, exit_code=EXIT_UNUSABLE_DATABASE)
        return EXIT_UNUSABLE_DATABASE
    except (StoreError, OSError, SyncFailed):
        log.critical("daemon.failed", exc_info=True, exit_code=EXIT_IO_ERROR)
        return EXIT_IO_ERROR
    except Exception:
        log.critical("daemon.failed", exc_info=True, exit_code=EXIT_UNEXPECTED)
        return EXIT_UNEXPECTED


if __name__ == "__main__":
    main()
