"""Refusing a claimed file for a reason that does not stand in it, with the same record and answer as any refusal."""

from __future__ import annotations

from typing import BinaryIO, NoReturn

from importer.model import Claim, FileRejected
from importer.pipeline import Importer
from importer.settings import ClientSettings, FileSettings, MailSettings, ReferenceSettings
from importer.store import Store


class Refuser(Importer):
    """An importer to which every file is refused."""

    def __init__(
        self,
        rejected: FileRejected,
        store: Store,
        *,
        file: FileSettings,
        reference: ReferenceSettings,
        mail: MailSettings,
    ) -> None:
        super().__init__(store, file=file, reference=reference, mail=mail)
        self._rejected = rejected

    def _import_rows(self, _raw: BinaryIO, _claim: Claim, _client: ClientSettings) -> NoReturn:
        raise self._rejected
