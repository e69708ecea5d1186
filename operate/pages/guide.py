"""`rosterd guide`: the page that tells a client how to upload, with its own login, columns and addresses filled in."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

import click
import msgspec

from importer.attributes import ATTRIBUTES
from importer.disk_space import MOST_FAILED_BYTES, MOST_FAILED_ROWS
from importer.settings import ClientSettings, ReferenceSettings
from operate.options import ClientName, chosen_client, config_option
from operate.pages.documents import attribute_rows
from operate.pages.markup import Block, Code, Heading, Items, Table, Text, as_html, as_markdown
from operate.provision.keys import host_keys
from watcher.settings import Config

ALWAYS_ACCEPTED = "OPSCOM"  # listed or not
# Since when a program can agree on keys by elliptic curves, the only way left by default in OpenSSH 10.
_CURVES_SINCE = (
    ("OpenSSH (`sftp`, `scp`, `sshfs`)", "5.7 (2011)"),
    ("WinSCP", "5.9 (2016)"),
    ("PuTTY (`psftp`, `pscp`)", "0.68 (2017)"),
    ("FileZilla", "any of 2018 or later"),
    ("Cyberduck", "5 (2016)"),
    (
        "curl, PHP and others by libssh2",
        "libssh2 1.9 (2019) built with OpenSSL; builds with WinCNG, on Windows, may lack it",
    ),
    ("Java: JSch", "the maintained fork, `com.github.mwiede:jsch`; the original up to 0.1.50 lacks it"),
    ("Java: sshj", "0.15 (2015)"),
    (".NET: SSH.NET (Renci), Posh-SSH", "SSH.NET 2020.0.2, Posh-SSH 3"),
    ("Python: Paramiko", "2.3 (2017)"),
)
_SAMPLE_COLUMNS = ("unique_id", "login_source", "first_name", "last_name", "email", "province")


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How a client reaches its inbox."""

    host: str
    port: int
    login: str
    folder: str = "/upload"
    host_keys: tuple[str, ...] = ()


@click.command()
@click.option(
    "--client",
    "client_name",
    metavar="NAME",
    type=ClientName(),
    help="Name of the client; required if there are several.",
)
@click.option("--html", "as_page", is_flag=True, help="Write HTML instead of Markdown.")
@click.option("--host", default=socket.getfqdn, help="Host name that clients use.  [default: this machine's]")
@click.option("--port", default=22, show_default=True, help="Port of sshd.")
@config_option
def guide(client_name: str | None, host: str, port: int, config: Config, *, as_page: bool) -> None:
    """
    Write the page that tells a client how to upload.

    It contains the host, the login, the columns, a sample and what comes back, but no secrets.
    """
    client = chosen_client(config, client_name)
    access = Access(host=host, port=port, login=client.name, host_keys=tuple(host_keys()))
    blocks = list(guide_blocks(client, access, config))
    click.echo(as_html(blocks) if as_page else as_markdown(blocks), nl=False)


def guide_blocks(client: ClientSettings, access: Access, config: Config) -> Iterator[Block]:
    """Yield the guide of one client."""
    yield Heading("How to send us your users", 1)
    yield Text(
        "Upload a CSV file of your users by SFTP. Within seconds we record them, and put the result in the folder "
        "`.bak` next to your upload. Rows that we could not record come back as a CSV that says why."
    )
    yield from _connecting(access)
    yield from _file(client)
    yield from _columns(client, config.reference)
    yield from _uploading(access)
    yield from _answers(client, config)
    yield from _waiting(config)
    yield from _refused_connection()


def _connecting(access: Access) -> Iterator[Block]:
    rows = [
        ("host", f"`{access.host}`"),
        ("port", str(access.port)),
        ("login", f"`{access.login}`"),
        ("folder", f"`{access.folder}`"),
    ]
    yield Heading("Connecting")
    yield Table(("what", "value"), (*rows, *(("host key", f"`{key}`") for key in access.host_keys)))
    yield Text(
        "Log in with the key whose public half you gave us, or with the password that we gave you. When your program "
        "asks whether to trust the host, compare the host key."
    )


def _file(client: ClientSettings) -> Iterator[Block]:
    columns = [name for name in _SAMPLE_COLUMNS if name in ("unique_id", *client.needed)]
    own = {attribute: header for header, attribute in client.columns.items() if attribute}
    yield Heading("The file")
    yield Code(
        ",".join(own.get(name, name) for name in columns) + "\n" + ",".join(ATTRIBUTES[name].sample for name in columns)
    )
    yield Items(
        (
            "Its name ends in `.csv`. You can use the same name each time.",
            "The first line contains the names of the columns, exactly as below, in any order.",
            'Save it as UTF-8; in Excel: "CSV UTF-8". Separate columns by comma, semicolon, tab or `|`.',
            "Columns that you leave out, and blank cells, do not change what we have recorded.",
            "Users who are not in the file are not deleted.",
            "`unique_id` identifies a user. It never changes, and leading zeros count.",
        )
    )


def _columns(client: ClientSettings, reference: ReferenceSettings) -> Iterator[Block]:
    yield Heading("Columns")
    if client.columns:
        own = ((f"`{header}`", f"`{name}`" if name else "not used") for header, name in client.columns.items())
        yield Text("You can use these names of your own:")
        yield Table(("your column", "our column"), tuple(own))
    yield Table(
        ("column", "maximum characters", "required", "content"),
        tuple(
            (f"`{name}`" + (f" or `{also}`" if also else ""), str(limit), required, rule)
            for name, also, limit, required, rule in attribute_rows(client)
        ),
    )

    yield Items(tuple(_accepted(reference)))


def _accepted(reference: ReferenceSettings) -> Iterator[str]:
    """Yield which values we know, where they are a list."""
    lists = {
        "login_source": tuple(sorted({ALWAYS_ACCEPTED, *reference.login_sources})),
        "user_type_id": reference.user_types,
        "locker_user_type_id": reference.locker_types,
    }
    return (f"`{name}`: {', '.join(values)}" for name, values in lists.items() if values)


def _uploading(access: Access) -> Iterator[Block]:
    target = f"{access.login}@{access.host}"
    url = f"sftp://{access.host}:{access.port}{access.folder}/"
    yield Heading("Uploading")
    yield Text("Use any SFTP program, such as WinSCP, FileZilla or Cyberduck, or one of these lines in a script:")
    yield Code(
        f'echo "put users.csv" | sftp -b - -P {access.port} {target}:{access.folder}\n'
        f"scp -P {access.port} users.csv {target}:{access.folder}/\n"
        f"curl --user {access.login}: --key ~/.ssh/id_ed25519 -T users.csv {url}"
    )
    yield Text(
        "You can resume an interrupted upload, or start it again. The file disappears from the folder when we have "
        "taken it."
    )


def _answers(client: ClientSettings, config: Config) -> Iterator[Block]:
    addresses = config.mail.recipients_of(client)
    yield Heading("Results")
    yield Text("Look into the folder `.bak`, which many programs show only if you let them show hidden files:")
    yield Items(
        (
            "`users.20261122T074205Z.csv`: your file, as you uploaded it; the time is UTC.",
            "`users.20261122T074205Z.result.txt`: the result, in sentences.",
            "`users.20261122T074205Z.failed.csv`: the rows that we could not record, if any, with the reasons added.",
        )
    )
    yield Text(
        f"The failed CSV contains at most {MOST_FAILED_ROWS:,} rows, or {MOST_FAILED_BYTES >> 20} MiB. If there are "
        "more, its last row says how many: correct them at the source, and upload the whole file again."
    )
    yield Text(
        "Correct the cells of the failed CSV and upload it as it is: only its rows are imported. If you open a CSV "
        "with a double click, a spreadsheet drops leading zeros and turns long numbers into 1.2E+05. In Excel, use "
        "Data, From Text/CSV, and choose Text as the type of the columns."
    )
    yield Text(_mail_sentence(addresses, client, config.mail.reply_to))


def _mail_sentence(addresses: Sequence[str], client: ClientSettings, reply_to: str) -> str:
    if not addresses:
        return f"We send no mail about it. Questions: {reply_to}."
    when = "after each upload" if client.receipts else "if any row could not be recorded"
    return f"We send mail to {', '.join(addresses)} {when}. Send replies and questions to {reply_to}."


def _waiting(config: Config) -> Iterator[Block]:
    minutes = max(1, round(config.intake.resume_grace_s / 60))
    span = "a minute" if minutes == 1 else f"{minutes} minutes"
    yield Heading("If your file is not taken")
    yield Items(
        (
            "Wait some seconds after the last byte. While your program keeps the file open, we do not take it.",
            f"A file that looks cut off, or is empty, waits for {span}, so that you can resume it. Then it is refused.",
            f"We take only names like `{config.intake.pattern}`, and none that begin with a dot or look temporary.",
        )
    )


def _refused_connection() -> Iterator[Block]:
    yield Heading("If your program cannot connect")
    yield Text(
        'It says "no matching key exchange method", "Unable to exchange encryption keys" or "Couldn\'t agree a key '
        'exchange algorithm": it is too old. It knows only `diffie-hellman-group` methods, which servers with '
        "OpenSSH 10 no longer accept. These versions, and all newer ones, work:"
    )
    yield Table(("program or library", "from version"), _CURVES_SINCE)
    yield Text("If you cannot update it, tell us its name and version.")
