"""The mail to the operator about trouble with the host: what happened, in a sentence, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Event -> what happened, what to do. {client} is the name of a client.
_SENTENCES: Final = {
    "archive.missing": (
        "A file of {client} is recorded as imported, but is not in .bak: it was removed.",
        "`rosterd verify` names the file. Check who can write to the folders of {client}.",
    ),
    "check.deferred": (
        "A file that {client} tries out in its folder check cannot be checked. Imports are not affected.",
        "Fix what the reason below names; `rosterd doctor` says more. The file is kept and retried.",
    ),
    "check.unusable": (
        "The folder check of {client} cannot be used: the client cannot try files out. Imports are not affected.",
        "`rosterd doctor` says how to fix it. rosterd checks again every 10 s.",
    ),
    "clock.differs": (
        "The clock of this host is more than five minutes from that of a file system with inboxes.",
        "`rosterd status` says which. Set both clocks by NTP: `timedatectl set-ntp true`. Imports continue.",
    ),
    "copy.refused": (
        "The read copy of the database cannot be made: readers see an old one, or none.",
        "Fix what the reason below names. The service must be able to write to the folder of [service] read_copy.",
    ),
    "file.deferred": (
        "Files of {client} cannot be imported for now, because of trouble with this host.",
        "Fix what the reason below names; `rosterd doctor` says more. The files are kept and retried every minute.",
    ),
    "file.failed": (
        "A file of {client} is not imported, because of a fault in rosterd.",
        "Please report it, with the log (`journalctl -u rosterd`). The file is kept and retried.",
    ),
    "file.unread": (
        "Checking whether a file of {client} is complete took longer than allowed, so the file is held.",
        "Check its quotation marks, for example with `rosterd check`. `rosterd release` imports the file as it is.",
    ),
    "hook.unusable": (
        "Events cannot be sent to a webhook, for the reason below; they wait.",
        "`rosterd doctor` says how to fix it. Imports and mail continue.",
    ),
    "inbox.full": (
        "Files that stay in the inbox of {client} have more bytes than max_inbox_bytes, so new ones are refused.",
        "Have the client delete some, or `rosterd client set {client} --max-inbox-bytes BYTES --apply`.",
    ),
    "inbox.unusable": (
        "The inbox of {client} cannot be used: nothing of this client is imported.",
        "`rosterd doctor` says how to fix its folders. rosterd checks again every 10 s.",
    ),
    "intake.unprobed": (
        "The service cannot see whether files of {client} are still being written.",
        "`rosterd doctor` says which right is missing. Until then files of {client} must stay unchanged for longer.",
    ),
    "mail.stuck": (
        "The outbox cannot be read or written, so no mail is sent.",
        "`rosterd doctor` checks the database and its disk. rosterd retries every second.",
    ),
    "mail.unusable": (
        "No mail could be sent from this host, for the reason below; this one was delayed, too.",
        "If the problem persists, `rosterd doctor` says how to fix it. Imports continue meanwhile.",
    ),
    "sessions.unheard": (
        "The log of the SFTP sessions of {client} is not received, so an interrupted upload is noticed later.",
        "`rosterd client add {client} --apply` creates the folder for the socket.",
    ),
    "store.refused": (
        "The database cannot be used for now, so nothing is imported.",
        "`rosterd doctor` checks the database and its disk. Uploads wait in the inboxes; none is lost.",
    ),
    "store.rewound": (
        "The database lacks files that it had confirmed: another server has taken over, or a backup was restored.",
        "They are imported again from .bak, by each host its own. Repeat what you ordered then: approvals, undos.",
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
        "rosterd resumes by itself when the cause is gone. This mail is repeated after an hour at the earliest.\n"
    )
