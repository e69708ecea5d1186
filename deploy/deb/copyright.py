"""
Print the package's copyright file, in Debian's machine-readable format: rosterd's, and that of each library in it.

    python deploy/deb/copyright.py SITE_PACKAGES

What it says of a library is what the library says of itself: the licence in its metadata, the statements and texts in
its licence files. Ends with status 1 for a licence that is not listed here: read it, then add it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]
PERMISSIVE: Final = {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "PSF-2.0", "Unlicense", "ZPL-2.1"}
KNOWN: Final = PERMISSIVE | {"LGPL-3.0-only"}  # which allows it for a library in files of its own, as it was published
OTHER_NAMES: Final = {"Apache License, Version 2.0": "Apache-2.0", "Apache 2.0": "Apache-2.0", "MIT License": "MIT"}
BY_THEIR_FILES: Final = {"Jinja2": "BSD-3-Clause", "multipart": "MIT"}  # say it in their licence files alone
LICENCE_FILE: Final = re.compile(r"(licen[cs]es?|copying|notice)\b[^/]*", re.IGNORECASE)
STATEMENT: Final = re.compile(r"^[\s*-]*copyright\W+(?:\(c\)|©)?\s*(\d{4}.*)$", re.IGNORECASE | re.MULTILINE)
COMMON: Final = {  # texts that Debian has in /usr/share/common-licenses, by how they begin
    "Apache-2.0": re.compile(r"\s*Apache License\s+Version 2\.0, January 2004\s"),
    "LGPL-3": re.compile(r"\s*GNU LESSER GENERAL PUBLIC LICENSE\s+Version 3, 29 June 2007\s"),
}
HEAD: Final = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: rosterd
Comment: rosterd itself, and the libraries that it needs in the folder of the package.
"""


def field(text: str) -> str:
    """Return a text as the lines that continue a field."""
    return "\n".join(f" {line.rstrip()}" if line.strip() else " ." for line in text.strip("\n").splitlines())


def stated(library: Distribution, *keys: str) -> str:
    """Return the first of these fields of the metadata that has a value, or ""."""
    return next((value for key in keys for value in library.metadata.get_all(key) or [] if value), "")


def licence_of(library: Distribution) -> str:
    """Return the licence as an SPDX expression. Raises SystemExit for one that nobody has read."""
    said = stated(library, "License-Expression", "License") or BY_THEIR_FILES.get(library.name, "")
    expression = OTHER_NAMES.get(said, said)
    if not expression or {*re.split(r" (?:AND|OR) ", expression)} - KNOWN:
        sys.exit(f'{library.name}: licence "{said}" is not in deploy/deb/copyright.py')
    return expression


def texts_of(library: Distribution) -> list[str]:
    """Return what the licence files say. Raises SystemExit if there is none."""
    files = [
        file for file in library.files or [] if ".dist-info" in file.parts[0] and LICENCE_FILE.fullmatch(file.name)
    ]
    if not files:
        sys.exit(f"{library.name}: has no licence file")
    return [Path(str(file.locate())).read_text(encoding="utf-8") for file in files]


def holders(library: Distribution, texts: list[str]) -> list[str]:
    """Return whose it is: by the licence files, else by the metadata. Raises SystemExit if neither says it."""
    found = [match.strip() for text in texts for match in STATEMENT.findall(text)]
    found = found or [stated(library, "Author", "Author-email", "Maintainer", "Maintainer-email")]
    if not any(found):
        sys.exit(f"{library.name}: does not say whose it is")
    return [*dict.fromkeys(found)]


def in_short(text: str) -> str:
    """Return where Debian has the text of a licence, else the text."""
    names = (name for name, begin in COMMON.items() if begin.match(text))
    return next((f"The full text of this licence is in /usr/share/common-licenses/{name}." for name in names), text)


def paragraph(library: Distribution, site: Path) -> str:
    """Return what the file says of a library."""
    said = [in_short(text) for text in texts_of(library)]
    tops = {file.parts[0] for file in library.files or [] if file.parts[0] not in ("..", "__pycache__")}
    where = "/".join(site.parts[site.parts.index("opt") :])
    files = [f"{where}/{top}" if top.endswith(".py") else f"{where}/{top}/*" for top in sorted(tops)]
    fields = {
        "Files:": "\n".join(files),
        "Copyright:": "\n".join(holders(library, said)),
        f"License: {licence_of(library)}": "\n\n".join(said),
    }
    return "".join(f"{name}\n{field(text)}\n" for name, text in fields.items())


def paragraphs(site: Path) -> Iterator[str]:
    """Yield the parts of the file."""
    yield HEAD
    own = (REPOSITORY / "LICENSE").read_text(encoding="utf-8")
    yield f"Files: *\nCopyright: {STATEMENT.findall(own)[0]}\nLicense: MIT\n{field(own)}\n"
    for library in sorted(distributions(path=[str(site)]), key=lambda each: each.name):
        if library.name != "rosterd":
            yield paragraph(library, site)


if __name__ == "__main__":
    sys.stdout.write("\n".join(paragraphs(Path(sys.argv[1]))))
