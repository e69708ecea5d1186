"""
From a name in the inbox to a claim folder in `.work`, and back: the rename is the claim.

`layout` lists the durable steps. A claimed file that is not the one that was examined is renamed back.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Final

import msgspec

from importer.durable import Unsynced, sync, write_durably
from importer.fs import open_file, open_folder
from importer.model import Claim, Message
from importer.names import answers
from watcher.inbox import layout
from watcher.inbox.archive import free_archive_name
from watcher.inbox.entries import find_identity, is_valid_sidecar, look_at, sidecar_of, writer_of
from watcher.inbox.layout import MAX_NAME_BYTES, SIDECAR, Inbox, clear_claim_folder, exists
from watcher.inbox.work.committed import Committed
from watcher.model import Capture, ClaimGone, Identity, Writer

_REFUSAL: Final = b".refusal"
_RELEASED: Final = b".released"
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_CLAIM_ID: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


def claim_upload(
    inbox: Inbox,
    name: bytes,
    identity: Identity,
    at: datetime,
    *,
    refusal: Message | None = None,
    is_released: bool = False,
) -> Capture | None:
    """
    Move a file, and its sidecar, out of the client's reach into a new claim folder.

    `refusal` is the reason, if it is not to be imported; `is_released`: the operator says that it is complete. Both
    are stored with the claim.

    Nothing is durable yet: see `Claim.unsynced`. Returns None when it is gone, or was changed at the last moment and is
    in the inbox again. Raises OSError; what was moved before the error is among the `unfinished_claims`.
    """
    claim_id = _make_claim_folder(inbox, at)
    with open_folder(claim_id, inbox.work_fd) as folder_fd:
        _write_decision(folder_fd, refusal, is_released=is_released)
        try:
            layout.move(inbox.fd, name, folder_fd, name)
        except OSError as error:
            clear_claim_folder(inbox, claim_id, folder_fd)
            if error.errno != errno.ENOENT:
                raise
            return None
        settled = _is_settled(folder_fd, name, identity)
        if settled:
            _fetch_sidecar(inbox, folder_fd, name)
        elif _give_back(inbox, claim_id, folder_fd, name):
            return None
    return Capture(claim_id, settled=settled)


def _write_decision(folder_fd: int, refusal: Message | None, *, is_released: bool) -> None:
    if refusal:
        write_durably(folder_fd, _REFUSAL, [msgspec.json.encode(refusal)])
    if is_released:
        write_durably(folder_fd, _RELEASED, [])


def claim_again(inbox: Inbox, before: Committed) -> bool:
    """
    Take an upload out of `.bak` again, under the id of its claim; return whether it was there. Raises OSError.

    Its answers are removed first: those of the import that is to come get their names. Killed in between, it is still
    an upload in `.bak` that the ledger does not have.
    """
    if not exists(inbox.bak_fd, before.archive):
        return False
    with contextlib.suppress(FileExistsError):
        os.mkdir(before.claim_id, 0o700, dir_fd=inbox.work_fd)
    with open_folder(before.claim_id, inbox.work_fd) as folder_fd:
        _write_decision(folder_fd, before.refusal, is_released=before.is_released)
        for answer in answers(before.archive):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(answer, dir_fd=inbox.bak_fd)
        layout.move(inbox.bak_fd, before.archive, folder_fd, before.name)
        for fd in (folder_fd, inbox.work_fd, inbox.bak_fd):
            sync(fd)
    return True


def _make_claim_folder(inbox: Inbox, at: datetime) -> str:
    """
    Make a folder whose stamp no other unfinished claim has.

    Archive names consist of name and stamp, so two claims never need the same one.
    """
    stamps = {claim_id.partition("-")[0] for claim_id in os.listdir(inbox.work_fd)}
    while f"{at:{_STAMP}}" in stamps:
        at += timedelta(seconds=1)
    claim_id = f"{at:{_STAMP}}-{os.urandom(4).hex()}"
    os.mkdir(claim_id, 0o700, dir_fd=inbox.work_fd)
    return claim_id


def _fetch_sidecar(inbox: Inbox, folder_fd: int, name: bytes) -> None:
    """Move the sidecar with its upload. What is not a valid sidecar is left, or deleted if it was slipped in."""
    sidecar, claimed_name = sidecar_of(inbox, name), SIDECAR + inbox.sidecar[1:]
    if sidecar is None or not is_valid_sidecar(inbox, sidecar[1]):
        return
    with contextlib.suppress(FileNotFoundError, FileExistsError):
        layout.move(inbox.fd, sidecar[0], folder_fd, claimed_name)
        if not is_valid_sidecar(inbox, os.stat(claimed_name, dir_fd=folder_fd, follow_symlinks=False)):
            os.unlink(claimed_name, dir_fd=folder_fd)


def _give_back(inbox: Inbox, claim_id: str, folder_fd: int, name: bytes) -> bool:
    """Move back what is not the file that was examined; if it is not a file, under another name if necessary."""
    if _is_file(folder_fd, name):
        return _put_back(inbox, claim_id, folder_fd, name)
    tail = f".{claim_id}".encode()
    return _put_back(inbox, claim_id, folder_fd, name, name[: MAX_NAME_BYTES - len(tail)] + tail)


def _put_back(inbox: Inbox, claim_id: str, folder_fd: int, name: bytes, *other_names: bytes) -> bool:
    """Move a file back to its name, or to one of the others, unless all are taken."""
    for free_name in (name, *other_names):
        with contextlib.suppress(FileExistsError):
            layout.move(folder_fd, name, inbox.fd, free_name)
            clear_claim_folder(inbox, claim_id, folder_fd)
            sync(inbox.fd)
            return True
    return False


def unfinished_claims(inbox: Inbox, being_processed: Collection[str] = ()) -> list[str]:
    """
    Return the ids of the claims in `.work`, oldest first; folders without an upload are removed.

    Those of claims that are `being_processed`, by another thread, are not opened.
    """
    claim_ids = sorted(name for name in os.listdir(inbox.work_fd) if _CLAIM_ID.fullmatch(name))
    return [claim_id for claim_id in claim_ids if claim_id in being_processed or _holds_upload(inbox, claim_id)]


def is_all_moved(inbox: Inbox, claim_id: str, archive: bytes) -> bool:
    """Return whether the upload of a claim is in `.bak`, and nothing of it is to be moved; its folder is removed."""
    if not exists(inbox.bak_fd, archive):
        return False
    return not exists(inbox.work_fd, claim_id.encode()) or not _holds_upload(inbox, claim_id)


def _holds_upload(inbox: Inbox, claim_id: str) -> bool:
    with open_folder(claim_id, inbox.work_fd) as folder_fd:
        name = _upload_name(folder_fd)
        if name is not None and _is_file(folder_fd, name):
            return True
        if name is not None:
            # A link or the like, slipped in as we claimed.
            _give_back(inbox, claim_id, folder_fd, name)
            return False
        clear_claim_folder(inbox, claim_id, folder_fd)
    return False


@contextlib.contextmanager
def resume_claim(
    inbox: Inbox, claim_id: str, *, archive: bytes | None = None, unsynced: Unsynced | None = None
) -> Iterator[Claim]:
    """
    Open an unfinished claim again, as the file is now. `archive` is its archive name, if it has one already.

    `unsynced` is shared with other claims; None if this one shares nothing.
    Raises ClaimGone when the claim no longer exists, OSError for problems of the host.
    """
    if not exists(inbox.work_fd, claim_id.encode()):
        raise ClaimGone
    with open_folder(claim_id, inbox.work_fd) as folder_fd, Unsynced() as own:
        unsynced = own if unsynced is None else unsynced
        for fd in (folder_fd, inbox.work_fd, inbox.fd):
            unsynced.add(fd)
        name = _upload_name(folder_fd)
        if name is None:
            raise ClaimGone
        info = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        _finish_link(inbox, name, info)
        if find_identity(inbox, name) is None:
            _fetch_sidecar(inbox, folder_fd, name)
        stamp = claim_id.partition("-")[0]
        yield Claim(
            claim_id=claim_id,
            client=inbox.client,
            name=name,
            folder_fd=folder_fd,
            bak_fd=inbox.bak_fd,
            archive=free_archive_name(inbox, name, stamp) if archive is None else archive,
            device=info.st_dev,
            inode=info.st_ino,
            size_bytes=info.st_size,
            mtime_ns=info.st_mtime_ns,
            claimed_at=datetime.fromisoformat(stamp),
            refusal=_refusal(folder_fd),
            is_released=exists(folder_fd, _RELEASED),
            unsynced=unsynced,
        )


def _finish_link(inbox: Inbox, name: bytes, claimed: os.stat_result) -> None:
    """Complete a claim that was cut off between link and unlink, see `layout.move`."""
    current = find_identity(inbox, name)
    if current is not None and (current.device, current.inode) == (claimed.st_dev, claimed.st_ino):
        os.unlink(name, dir_fd=inbox.fd)


def is_in_writing(claim: Claim) -> bool:
    """Return whether a process has the claimed file open for writing."""
    with open_file(claim.name, claim.folder_fd) as file:
        return writer_of(file.fileno()) is Writer.OPEN


def discard_drafts(claim: Claim) -> None:
    """Remove the drafts of an import that was rolled back."""
    for name in map(os.fsencode, os.listdir(claim.folder_fd)):
        if name.startswith(b".") and not name.startswith((_REFUSAL, _RELEASED, SIDECAR)):
            os.unlink(name, dir_fd=claim.folder_fd)


def _is_settled(folder_fd: int, name: bytes, looked_at: Identity) -> bool:
    """Return whether a file just claimed is the one that was examined, unchanged and closed."""
    if not _is_file(folder_fd, name):
        return False
    with open_file(name, folder_fd) as file:
        look = look_at(file.fileno())
    # A rename changes the ctime, and leaves the sidecar behind.
    expected = msgspec.structs.replace(looked_at, ctime_ns=look.identity.ctime_ns, sidecar=None)
    return look.identity == expected and look.links == 1 and look.writer is not Writer.OPEN


def _is_file(folder_fd: int, name: bytes) -> bool:
    return stat.S_ISREG(os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_mode)


def _refusal(folder_fd: int) -> Message | None:
    """Return why the claim is not to be imported; None when it is."""
    try:
        with open_file(_REFUSAL, folder_fd) as file:
            return msgspec.json.decode(file.read(), type=Message)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:  # a version before this one wrote a sentence
        return Message("upload.incomplete")


def _upload_name(folder_fd: int) -> bytes | None:
    """Return the name in a claim folder that is not a draft."""
    return next((os.fsencode(name) for name in os.listdir(folder_fd) if not name.startswith(".")), None)
