"""What the operator is told by mail of trouble with the host: what happened, in a sentence, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Event -> what happened, what to do. {client} is the name of a client.
_SENTENCES: Final = {
    "archive.missing": (
        "A file of {client} is recorded as imported, and is not in .bak: somebody took it away.",
        "`rosterd verify` names the file. Look who can write to the folders of {client}.",
    ),
    "file.deferred": (
        "Files of {client} cannot be imported for now: this host is in the way.",
        "Mend what the reason below names; `rosterd doctor` says more. The files are kept and tried again each minute.",
    ),
    "file.failed": (
        "A file of {client} met a fault of rosterd's own, and is not imported.",
        "Please report it, with the log (`journalctl -u rosterd`). The file is kept and tried again.",
    ),
    "file.shrunk": (
        "A file of {client} has far fewer rows than the last one, and is held.",
        "Ask the client whether that is meant. `rosterd release` imports the file, `rosterd refuse` sends it back.",
    ),
    "file.unread": (
        "To find out whether a file of {client} is whole took more time than is allowed, and the file is held.",
        "Look at its quotation marks: `rosterd check` reads it. `rosterd release` imports it as it is.",
    ),
    "inbox.unusable": (
        "The inbox of {client} cannot be used: nothing of this client is imported.",
        "`rosterd doctor` says how to mend its folders. rosterd looks again every 10 s.",
    ),
    "intake.unprobed": (
        "This host does not tell whether files of {client} are still being written.",
        "`rosterd doctor` says which right is missing. Until then files of {client} have to be quiet for longer.",
    ),
    "mail.stuck": (
        "The outbox cannot be read or written, so that no mail leaves.",
        "`rosterd doctor` looks at the database and its disk. It is tried again each second.",
    ),
    "mail.unusable": (
        "No mail could leave this host, for the reason below; this one waited as well.",
        "If the reason lasts, `rosterd doctor` says how to mend it. Imports go on meanwhile.",
    ),
    "sessions.unheard": (
        "The log of the SFTP sessions of {client} is not heard, so that an upload that broke off is noticed later.",
        "`rosterd client add {client} --apply` makes the folder for the socket.",
    ),
    "store.refused": (
        "The database cannot be worked with for now, and nothing is imported.",
        "`rosterd doctor` looks at the database and its disk. Uploads wait in the inboxes, and none is lost.",
    ),
}
_OTHER: Final = ("rosterd met trouble that the operator has to end.", "`rosterd status` and `rosterd doctor` say more.")


def alert_text(host: str, event: str, about: Mapping[str, str]) -> str:
    """Return the mail about trouble that was told as this event."""
    happened, remedy = (text.format(client=about.get("client", "")) for text in _SENTENCES.get(event, _OTHER))
    traits = "\n".join(f"  {name}: {value}" for name, value in {"host": host, "event": event, **about}.items())
    return (
        f"{happened}\n\nWhat to do: {remedy}\n\n{traits}\n\n"
        "rosterd goes on by itself when the cause is gone. The same is told again after an hour at the earliest.\n"
    )
