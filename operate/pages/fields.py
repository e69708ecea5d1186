"""`rosterd fields` and `rosterd template`: the columns of a file of users, and a sample file."""

from __future__ import annotations

import sys

import click

from operate.options import json_option
from operate.output import print_json, print_table
from operate.pages import documents

_HEADER = ("name", "or", "characters", "required", "rule")


@click.command()
@click.option("--markdown", is_flag=True, help="Print Markdown, as in docs/attributes.md.")
@json_option
def fields(*, markdown: bool, as_json: bool) -> None:
    """List the columns that an upload may have."""
    if markdown:
        click.echo(documents.attributes_markdown(), nl=False)
    elif as_json:
        print_json([dict(zip(_HEADER, row, strict=True)) for row in documents.attribute_rows()])
    else:
        print_table(_HEADER, documents.attribute_rows(), empty="")


@click.command()
def template() -> None:
    """Print a sample CSV file: the header and one user."""
    sys.stdout.buffer.write(documents.template().encode())
