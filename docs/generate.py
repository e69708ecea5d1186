# noqa: INP001 - a script next to its output, not a package
"""Generate the documents whose text is in the code: `python -m docs.generate`. A test compares them."""

from __future__ import annotations

from pathlib import Path

from importer.settings import ClientSettings, MailSettings
from operate.pages.documents import attributes_markdown, codes_markdown
from operate.pages.guide import guide_parts
from operate.pages.guide_context import Access
from operate.pages.markup import as_markdown
from operate.pages.reference import configuration_markdown
from watcher.settings import Config

DOCS = Path(__file__).parent

# `rosterd guide` prints one page without pictures; the document has them.
_MAIL = """
## What the mail looks like

![A mail: 17 of 47 rows need correcting; four steps, a table of problems, and lines for support](mail-rows.png)
"""


def documents() -> dict[str, str]:
    """Return the text of each document by its name."""
    acme = ClientSettings(name="acme", inbox="/srv/sftp/acme/upload", failed_import_email=("it@acme.example",))
    access = Access(host="sftp.example.org", port=22, login="acme")
    config = Config(mail=MailSettings(contact="Marie Roy, 613 555-0123", reply_to="users@example.org"))
    return {
        "attributes.md": attributes_markdown(),
        "clients-guide.md": as_markdown(guide_parts(acme, access, config)["en"]) + _MAIL,
        "codes.md": codes_markdown(),
        "configuration.md": configuration_markdown(DOCS.parent / "config.toml"),
    }


if __name__ == "__main__":
    for name, text in documents().items():
        (DOCS / name).write_text(text)
