"""`rosterd guide`: the page that tells a client how to upload, with its own login, columns and addresses filled in."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence

import click

from importer.model import message
from importer.settings import ClientSettings
from importer.store import queries
from importer.store.errors import StoreError, StoreUnusable
from importer.wording.catalogue import words
from operate.options import ClientName, chosen_client, config_option, language_option
from operate.pages.guide_answer import answering, asking, codes, correcting
from operate.pages.guide_context import CHAPTER, Access, Guide
from operate.pages.guide_file import all_columns, preparing
from operate.pages.guide_upload import for_it, scripts, trying, uploading
from operate.pages.markup import Block, Heading, Items, Text, as_html, as_markdown
from operate.provision.keys import host_keys
from watcher.owner import check_access
from watcher.settings import Config


@click.command()
@click.option(
    "--client",
    "client_name",
    metavar="NAME",
    type=ClientName(),
    help="Name of the client; required if there are several.",
)
@click.option("--html", "as_page", is_flag=True, help="Write HTML instead of Markdown.")
@language_option
@click.option("--host", default=socket.getfqdn, help="Host name that clients use.  [default: this machine's]")
@click.option("--port", default=22, show_default=True, help="Port of sshd.")
@config_option
def guide(
    client_name: str | None, languages: Sequence[str], host: str, port: int, config: Config, *, as_page: bool
) -> None:
    """
    Write the page that tells a client how to upload.

    It contains the host, the login, the columns, an example and what comes back, but no secrets.
    """
    client = chosen_client(config, client_name)
    access = Access(host=host, port=port, login=client.name, host_keys=tuple(host_keys()))
    parts = guide_parts(client, access, config, used=_used_attributes(config, client.name), languages=languages)
    click.echo(as_html(parts) if as_page else "\n".join(map(as_markdown, parts.values())), nl=False)


def _used_attributes(config: Config, client: str) -> tuple[str, ...]:
    """Return the attributes that the client has sent; none, and a sentence, when the database cannot be read."""
    place = config.service.place
    try:
        check_access(place, os.O_RDONLY)
        if place.is_missing:  # the service has not started yet
            return ()
        with place.reading() as conn:
            return queries.used_attributes(conn, client)
    except (StoreError, StoreUnusable, OSError) as error:
        click.echo(f"{place.name}: {error}. The guide does not say which columns the client has used so far.", err=True)
        return ()


def guide_parts(
    client: ClientSettings,
    access: Access,
    config: Config,
    *,
    used: tuple[str, ...] = (),
    languages: Sequence[str] = (),
) -> Mapping[str, Sequence[Block]]:
    """Return the guide of one client by language; `used` are the attributes that it has sent."""
    chosen = tuple(dict.fromkeys(languages or client.language))
    return {
        language: list(
            _blocks(
                Guide(
                    client=client,
                    access=access,
                    config=config,
                    words=words(language),
                    used=used,
                    anchors="" if language == chosen[0] else f"{language}-",
                ),
                chosen,
            )
        )
        for language in chosen
    }


def _blocks(guide: Guide, languages: Sequence[str]) -> Iterator[Block]:
    yield guide.heading("title", 1)
    if guide.words.language == languages[0]:
        yield from (Text(words(other).say(message("guide/follows"))) for other in languages[1:])
    yield guide.text("intro")
    parts = (preparing, trying, uploading, answering, correcting, asking, scripts, for_it, all_columns, codes)
    blocks = [block for part in parts for block in part(guide)]
    chapters = [block for block in blocks if isinstance(block, Heading) and block.level == CHAPTER]
    yield Items(tuple(f"[{each.text}](#{each.anchor})" for each in chapters))
    yield from blocks
