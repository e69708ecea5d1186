# noqa: INP001 - mkdocs loads it from this path
"""For `make docs`: add the files outside this folder that pages link to, under the same name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

_INWARD = re.compile(r"\]\(docs/")  # how pages outside link to this folder
_OUTWARD = re.compile(r"\]\(\.\./([^)#]+)")
_DOCS = Path(__file__).parent


def on_files(files: Any, config: Any) -> Any:  # noqa: ANN401 - mkdocs calls it so, and its types are not installed with ours
    """Add the files outside this folder that pages link to."""
    named = {name for page in _DOCS.glob("*.md") for name in _OUTWARD.findall(page.read_text(encoding="utf-8"))}
    for name in sorted({*named, "CHANGELOG.md", "SECURITY.md"}):
        files.append(File.generated(config, name, abs_src_path=str(_DOCS.parent / name)))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Rewrite the links to them."""
    return _INWARD.sub("](", _OUTWARD.sub(r"](\1", markdown))
