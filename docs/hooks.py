# noqa: INP001 - loaded by mkdocs from where it lies
"""For `make docs`: what a page links to outside of this folder comes into the site, under the same name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

_INWARD = re.compile(r"\]\(docs/")  # as pages from outside name those of this folder
_OUTWARD = re.compile(r"\]\(\.\./([^)#]+)")
_DOCS = Path(__file__).parent


def on_files(files: Any, config: Any) -> Any:  # noqa: ANN401 - mkdocs calls it so, and its types are not installed with ours
    """Add the files outside that the pages name."""
    named = {name for page in _DOCS.glob("*.md") for name in _OUTWARD.findall(page.read_text(encoding="utf-8"))}
    for name in sorted({*named, "CHANGELOG.md", "SECURITY.md"}):
        files.append(File.generated(config, name, abs_src_path=str(_DOCS.parent / name)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Let their links lead there."""
    return _INWARD.sub("](", _OUTWARD.sub(r"](\1", markdown))
