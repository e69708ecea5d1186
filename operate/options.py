"""Options that commands share: configuration, client, output."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from watcher.exits import EXIT_CONFIG

if TYPE_CHECKING:
    from importer.settings import ClientSettings
    from watcher.settings import Config

_INSTALLED_CONFIG: Final = Path("/etc/rosterd/config.toml")
_PACKAGE: Final = Path(__file__).resolve().parent
_LANGUAGES: Final = ("en", "fr")  # those of importer/wording/catalogue, which each command would have to load
_LONG_WORK_BYTES: Final = 5 << 20
_MOST_LISTED: Final = 10  # clients, in a message
_MOST_SUGGESTED: Final = 3
_CommandT = TypeVar("_CommandT", bound=Callable[..., object])
# Files with secrets next to config.toml, which the units pass to the service and the console as credentials.
_SECRETS: Final = ("smtp_password", "database_password", "ping_url")
_OF_HOOK: Final = "hook_"  # before the name of a hook


# The configuration


def _loaded(context: click.Context, _parameter: click.Parameter, config_file: Path | None) -> Config | None:
    """Return the configuration, or end with EXIT_CONFIG and its problems on standard error."""
    return _load(context, config_file, may_be_outdated=False)


def _loaded_or_adopted(context: click.Context, _parameter: click.Parameter, config_file: Path | None) -> Config | None:
    """Return the configuration; if it has errors, print them and return the one that the service uses."""
    return _load(context, config_file, may_be_outdated=True)


def _load(context: click.Context, config_file: Path | None, *, may_be_outdated: bool) -> Config | None:
    from watcher.config import ConfigError, load

    is_completing = context.resilient_parsing  # nothing may be printed
    try:
        if config_file is not None or _INSTALLED_CONFIG.exists():
            config = load(config_file or _INSTALLED_CONFIG)
            if config.service.place.file is None:  # the password of the server, which systemd gives only to the units
                use_secret_files(Path(config.source))
            return config
        if not is_completing:
            _announce_demo(context)
        return load(_built_in_config(), base=Path.cwd())
    except ConfigError as error:
        if is_completing:
            return None
        click.echo(str(error), err=True)
        if may_be_outdated and (adopted := _adopted(config_file or _INSTALLED_CONFIG)) is not None:
            return adopted
        sys.exit(EXIT_CONFIG)


def secret_files(config_file: Path) -> list[Path]:
    """Return the files with secrets that there are."""
    folder = config_file.absolute().parent
    return sorted(path for path in folder.glob("*") if path.name in _SECRETS or path.name.startswith(_OF_HOOK))


def use_secret_files(config_file: Path) -> None:
    """Let this process read secrets where the units load them from, as systemd gives it no credentials."""
    if any(os.access(path, os.R_OK) for path in secret_files(config_file)):
        os.environ.setdefault("CREDENTIALS_DIRECTORY", str(config_file.absolute().parent))


def _adopted(config_file: Path) -> Config | None:
    """Return the configuration that the service uses, and say so; None when it is not known."""
    from watcher.adopted import read_adopted

    adopted = read_adopted(config_file)
    if adopted is not None:
        click.echo(f"{config_file} has errors: using the configuration that the service last accepted.", err=True)
    return adopted


def _announce_demo(context: click.Context) -> None:
    """Say on standard error which configuration is used when none was named."""
    text = f"{_INSTALLED_CONFIG} does not exist: using the built-in demo: client demo, folders in ./var"
    click.echo(f"{text}. To use another configuration: {context.command_path} --config FILE", err=True)


def _built_in_config() -> Path:
    """Return the config.toml of this checkout, or the copy an installed package carries."""
    carried = _PACKAGE / "config.toml"
    return carried if carried.exists() else _PACKAGE.parent / "config.toml"


def _config_option(load: Callable[..., Config | None]) -> Callable[[_CommandT], _CommandT]:
    return click.option(
        "--config",
        metavar="FILE",
        type=click.Path(path_type=Path, readable=False),  # an unreadable file is reported like other errors
        callback=load,
        help=f"Configuration file. Default: {_INSTALLED_CONFIG}, or the built-in demo if that does not exist.",
    )


# Gives the command its `config`, loaded and checked.
config_option: Final = _config_option(_loaded)
# The same for commands about the service: while the file has errors, the configuration that the service uses.
service_config_option: Final = _config_option(_loaded_or_adopted)
# Gives the command its `config_file`: for commands that check or change a configuration.
config_file_option: Final = click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path, readable=False),  # an unreadable file is reported like other errors
    default=_INSTALLED_CONFIG,
    show_default=True,
    help="Configuration file; clients are configured in clients.d next to it.",
)
limit_option: Final = click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Show at most this many."
)
# Gives the command its `languages`, of LANGUAGES; empty for those of the client.
language_option: Final = click.option(
    "--language",
    "languages",
    type=click.Choice(_LANGUAGES),
    multiple=True,
    help="Language of the text. Repeatable.  [default: the client's]",
)
json_option: Final = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")

# Gives the command its `is_recorded`: for checks whose results are metrics.
record_option: Final = click.option(
    "--record", "is_recorded", is_flag=True, help="Keep the number of problems for the metrics; as the timer does."
)


# Commands


class Abbreviated(click.Group):
    """A group of commands, one of which may be left out: what names none of them are its arguments."""

    def __init__(self, *arguments: Any, default: str, **options: Any) -> None:  # noqa: ANN401 - as click has them
        super().__init__(*arguments, **options)
        self._default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put in the command that is left out."""
        is_named = bool(args) and args[0] in {*self.commands, *self.get_help_option_names(ctx)}
        return super().parse_args(ctx, args if is_named else [self._default, *args])


# The client


class ClientName(click.ParamType[str]):
    """
    The name of a client from a command line: what a configuration may call one, so no path and no control characters.

    Every command that takes one declares it with this type, before it can become part of a path or of a message. The
    shell completes it.
    """

    name = "client"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name, or fail with the rule for names."""
        from importer.settings import CLIENT_NAME, CLIENT_NAME_IN_WORDS

        if not re.match(CLIENT_NAME, value):
            what = "cannot be the name of a login or a client"
            self.fail(f"{json.dumps(value)} {what}; expected {CLIENT_NAME_IN_WORDS}", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the configured clients whose names begin so; none when the configuration cannot be read."""
        return [CompletionItem(name) for name in _configured_names(ctx) if name.startswith(incomplete)]


def _configured_names(context: click.Context) -> list[str]:
    from watcher.config import ConfigError, load

    try:
        # A command has either the configuration or its file.
        config = context.params.get("config") or load(context.params["config_file"])
    except (KeyError, ConfigError, OSError):
        return []
    return list(config.clients_by_name)


client_option: Final = click.option(
    "--client",
    "client_name",
    metavar="NAME",
    type=ClientName(),
    help="Name of the client; required if there are several.",
)
# For lists: also of a client that is no longer configured.
one_client_option: Final = click.option("--client", metavar="NAME", type=ClientName(), help="Only this client.")


def chosen_client(config: Config, name: str | None) -> ClientSettings:
    """Return the client of that name, or the only one; anything else is a usage error."""
    from operate.output import some  # with msgspec, 10 ms of `rosterd --help`

    clients = config.clients_by_name
    if name is not None and name not in clients:
        raise unknown_client(name, clients)
    if name is None and len(clients) != 1:
        raise click.UsageError(
            f"several clients are configured; choose one with --client: {some([*clients])}"
            if clients
            else "no client is configured"
        )
    return clients[name] if name is not None else config.clients[0]


def unknown_client(name: str, names: Iterable[str]) -> click.UsageError:
    """Return the usage error that suggests a similar name, and tells which clients are known, or how many."""
    known = sorted(names)
    clients = "no client is known"
    if len(known) > _MOST_LISTED:
        clients = f"{len(known)} clients are known; rosterd client list shows them"
    elif known:
        clients = f"known clients: {', '.join(known)}"
    return click.UsageError(f'unknown client "{name}";{did_you_mean(name, known, most=_MOST_SUGGESTED)} {clients}')


def did_you_mean(word: str, words: Iterable[str], *, most: int = 1) -> str:
    """Return ' did you mean "acme" or "acme2"?' with so many of the words that are similar; nothing if none is."""
    import difflib

    folded = {each.casefold(): each for each in words}
    near = difflib.get_close_matches(word.casefold(), folded, n=most)
    return f" did you mean {' or '.join(json.dumps(folded[each]) for each in near)}?" if near else ""


# The terminal


def is_plain_terminal() -> bool:
    """Return whether the user asked for neither colours nor escape sequences. Source: https://no-color.org."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


@contextlib.contextmanager
def progress_bar(name: str, size_bytes: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes the current position; shows a bar for a large file on a terminal, else nothing."""
    with bytes_bar(size_bytes, name) as advance:
        done = 0

        def move(position: int) -> None:
            nonlocal done
            advance(position - done)
            done = position

        yield move


def bytes_bar(size_bytes: int, label: str) -> contextlib.AbstractContextManager[Callable[[int], None]]:
    """Yield a function that takes how many bytes were done since; shows a bar as `steps_bar` does."""
    return steps_bar(size_bytes, label, is_long=size_bytes >= _LONG_WORK_BYTES)


@contextlib.contextmanager
def steps_bar(length: int, label: str, *, is_long: bool) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes how much was done since; shows a bar for long work on a terminal, else nothing."""
    if not is_long or not sys.stderr.isatty() or is_plain_terminal():
        yield lambda _: None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar.update
