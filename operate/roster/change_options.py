"""Options of the commands that change users."""

from __future__ import annotations

from typing import Final

import click

apply_option: Final = click.option("--apply", "is_applied", is_flag=True, help="Do it. Without it nothing is changed.")
