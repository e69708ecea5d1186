"""The words that sentences are filled in with, as messages of their own, so that they are translated, too."""

from __future__ import annotations

from typing import Final

from importer.wording.template import Template

TERMS: Final[dict[str, Template]] = {
    "delimiter/comma": Template("a comma"),
    "delimiter/semicolon": Template("a semicolon"),
    "delimiter/tab": Template("a tab"),
    "delimiter/pipe": Template("a vertical bar (|)"),
    "time": Template("{at} {zone}"),
    # Zones that are called otherwise in French: the name and the offset.
    **{
        f"zone/{zone.lower()}{offset}": Template(zone)
        for zone, offset in (
            ("NST", "-0330"),
            ("NDT", "-0230"),
            ("AST", "-0400"),
            ("ADT", "-0300"),
            ("EST", "-0500"),
            ("EDT", "-0400"),
            ("CST", "-0600"),
            ("CDT", "-0500"),
            ("MST", "-0700"),
            ("MDT", "-0600"),
            ("PST", "-0800"),
            ("PDT", "-0700"),
        )
    },
}
