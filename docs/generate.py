# noqa: INP001 - a script next to its output, not a package
"""Generate the documents whose text is in the code: `python -m docs.generate`. A test compares them."""

from __future__ import annotations

from pathlib import Path

from importer.settings import ClientSettings
from operate.pages.documents import attributes_markdown, codes_markdown
from operate.pages.guide import Access, guide_blocks
from operate.pages.markup import as_markdown
from operate.pages.reference import configuration_markdown
from watcher.settings import Config

DOCS = Path(__file__).parent


def documents() -> dict[str, str]:
    """Return the text of each document by its name."""
    acme = ClientSettings(name="acme", inbox="/srv/sftp/acme/upload", failed_import_email=("it@acme.example",))
    access = Access(host="sftp.example.org", port=22, login="acme")
    return {
        "attributes.md": attributes_markdown(),
        "clients-guide.md": as_markdown(guide_blocks(acme, access, Config())),
        "codes.md": codes_markdown(),
        "configuration.md": configuration_markdown(DOCS.parent / "config.toml"),
    }


if __name__ == "__main__":
    for name, text in documents().items():
        (DOCS / name).write_text(text)
