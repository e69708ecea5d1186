"""The mail to the operator about trouble with the host: what happened, in a sentence, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Event -> what happened, what to do. {client} is the name of a client.
_SENTENCES: Final = {
    "archive.missing": (
        "A file of {client} is recorded as imported, but is not in .bak: somebody removed it.",
        "`rosterd verify` names the file. Check who can write to the folders of {client}.",
    ),
    "file.deferred": (
        "Files of {client} cannot be imported for now, because of trouble with this host.",
        "Mend what the reason below names; `rosterd doctor` says more. The files are kept and tried again each minute.",
    ),
    "file.failed": (
        "A file of {client} is not imported, because of a fault in rosterd.",
        "Please report it, with the log (`journalctl -u rosterd`). The file is kept and tried again.",
    ),
    "file.shrunk": (
        "A file of {client} has far fewer rows than the last one, and is held.",
        "Ask the client whether that is intended. `rosterd release` imports the file, `rosterd refuse` sends it back.",
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
        "The log of the SFTP sessions of {client} is not received, so an interrupted upload is noticed later.",
        "`rosterd client add {client} --apply` makes the folder for the socket.",
    ),
    "store.refused": (
        "The database cannot be used for now, and nothing is imported.",
        "`rosterd doctor` looks at the database and its disk. Uploads wait in the inboxes, and none is lost.",
    ),
}
_OTHER: Final = (
    "rosterd has a problem that the operator has to solve.",
    "`rosterd status` and `rosterd doctor` say more.",
)


def alert_text(host: str, event: str, about: Mapping[str, str]) -> str:
    """Return the text of the mail about this event."""
    happened, remedy = (text.format(client=about.get("client", "")) for text in _SENTENCES.get(event, _OTHER))
    traits = "\n".join(f"  {name}: {value}" for name, value in {"host": host, "event": event, **about}.items())
    return (
        f"{happened}\n\nWhat to do: {remedy}\n\n{traits}\n\n"
        "rosterd resumes by itself when the cause is gone. You get this mail again after an hour at the earliest.\n"
    )
