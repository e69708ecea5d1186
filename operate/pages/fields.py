"""`rosterd fields` and `rosterd template`: what a file of users may hold, and one to begin with."""

from __future__ import annotations

import sys

import click

from operate.options import json_option
from operate.output import print_json, print_table
from operate.pages import documents

_HEADER = ("name", "or", "characters", "required", "rule")


@click.command()
@click.option("--markdown", is_flag=True, help="As the document that stands in docs/.")
@json_option
def fields(*, markdown: bool, as_json: bool) -> None:
    """List the possible columns of a file of users."""
    if markdown:
        click.echo(documents.attributes_markdown(), nl=False)
    elif as_json:
        print_json([dict(zip(_HEADER, row, strict=True)) for row in documents.attribute_rows()])
    else:
        print_table(_HEADER, documents.attribute_rows(), empty="")


@click.command()
def template() -> None:
    """Print a CSV file to begin with: the line of names and a sample user."""
    sys.stdout.buffer.write(documents.template().encode())
