"""The part of a client's guide about uploading: the clicks in WinSCP and FileZilla, scripts, what IT needs to know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from importer.model import Message, message
from operate.pages.guide_context import Guide
from operate.pages.markup import Block, Code, Items, Table

# Since when a program can agree on keys by elliptic curves, the only way left by default in OpenSSH 10.
_CURVES_SINCE: Final[tuple[tuple[str | Message, str | Message], ...]] = (
    ("OpenSSH (`sftp`, `scp`, `sshfs`)", "5.7 (2011)"),
    ("WinSCP", "5.9 (2016)"),
    ("PuTTY (`psftp`, `pscp`)", "0.68 (2017)"),
    ("FileZilla", message("guide/since_filezilla")),
    ("Cyberduck", "5 (2016)"),
    (message("guide/program_libssh2"), message("guide/since_libssh2")),
    ("Java: JSch", message("guide/since_jsch")),
    ("Java: sshj", "0.15 (2015)"),
    (".NET: SSH.NET (Renci), Posh-SSH", "SSH.NET 2020.0.2, Posh-SSH 3"),
    ("Python: Paramiko", "2.3 (2017)"),
)


def trying(guide: Guide) -> Iterator[Block]:
    """Yield how to have a file checked before the first upload, if the client has a folder for that."""
    if guide.client.check_folder:
        yield guide.heading("trial")
        yield guide.text("trial_what")
        steps = ("trial_upload", "trial_look", "trial_failed", "trial_again")
        yield guide.steps(*steps, upload=guide.link("upload"), folder=guide.access.folder)
        yield guide.text("trial_kept", count=guide.client.check_keep_days)


def uploading(guide: Guide) -> Iterator[Block]:
    """Yield the clicks from a file on a computer to a file in our folder."""
    access = guide.access
    where = {"host": access.host, "port": str(access.port), "login": access.login, "folder": access.folder}
    yield guide.heading("upload")
    yield guide.text("upload_what")
    yield Items(tuple(guide.say("pair", name=guide.say(key), value=f"`{value}`") for key, value in where.items()))
    yield guide.text("secret")
    where["it"] = guide.link("it")
    yield guide.heading("winscp", 3)
    yield guide.steps(*(f"winscp_{step}" for step in _WINSCP), **where)
    yield guide.heading("filezilla", 3)
    yield guide.steps(*(f"filezilla_{step}" for step in _FILEZILLA), **where)
    match guide.client.companion:
        case "done":
            yield guide.text("companion_done")
        case "sha256" | "md5" as kind:
            yield guide.text("companion_digest", kind=kind)
    yield guide.text("interrupted")


_WINSCP: Final = ("start", "details", "secret", "login", "trust", "drag", "taken", "bak")
_FILEZILLA: Final = ("details", "key", "trust", "drag", "taken", "bak")


def scripts(guide: Guide) -> Iterator[Block]:
    """Yield lines that upload without clicks."""
    access = guide.access
    target = f"{access.login}@{access.host}"
    url = f"sftp://{access.host}:{access.port}{access.folder}/"
    yield guide.heading("scripts")
    yield guide.text("scripts_what")
    yield guide.text("scripts_linux")
    yield Code(
        f'echo "put users.csv" | sftp -b - -P {access.port} {target}:{access.folder}\n'
        f'lftp -e "put -O {access.folder} users.csv; bye" -u {access.login}, sftp://{access.host}:{access.port}\n'
        f"curl --user {access.login}: --key ~/.ssh/id_ed25519 -T users.csv {url}"
    )
    yield guide.text("scripts_windows")
    yield Code(f'"put users.csv" | sftp -b - -P {access.port} {target}:{access.folder}')


def for_it(guide: Guide) -> Iterator[Block]:
    """Yield what a system administrator of the client wants to know, and no user has to."""
    yield guide.heading("it")
    if guide.access.host_keys:
        yield guide.text("it_host_keys")
        yield Items(tuple(f"`{key}`" for key in guide.access.host_keys))
    else:
        yield guide.text("it_no_host_keys")
    yield guide.text("it_key")
    yield guide.text("it_server")
    yield guide.heading("connect", 3)
    yield guide.text("connect_old")
    yield Table(
        (guide.say("program"), guide.say("since")),
        tuple((_shown(guide, program), _shown(guide, since)) for program, since in _CURVES_SINCE),
    )
    yield guide.text("connect_ask")


def _shown(guide: Guide, name: str | Message) -> str:
    return guide.words.say(name) if isinstance(name, Message) else name
