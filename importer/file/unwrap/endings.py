"""How names of uploads end: by that they are looked at, and archives are called. Few imports, for `rosterd status`."""

from __future__ import annotations

import os
from typing import Final

# Of each kind, in small letters; one that ends with another comes first.
CSV: Final = (b".csv",)
GZIP: Final = (b".csv.gz", b".xlsx.gz", b".gz")
ZIP: Final = (b".zip", b".xlsx", b".xlsm", b".xlsb", b".ods")
OLE: Final = (b".xls",)
PGP: Final = tuple(
    inner + outer
    for inner in (b".csv.gz", b".xlsx.gz", b".csv", b".xlsx", b".zip", b".gz", b"")
    for outer in (b".pgp", b".gpg", b".asc")
)
_OTHERS: Final = (*GZIP, *ZIP, *OLE, *PGP)


def is_named_encrypted(name: bytes) -> bool:
    """Tell whether the name of an upload says that it is encrypted."""
    return name.lower().endswith(PGP)


def divided(name: bytes) -> tuple[bytes, bytes]:
    """Return the name of an upload without its ending, and the ending of its archive, which is that of a kind."""
    ending = next((each for each in (*_OTHERS, *CSV) if name.lower().endswith(each)), b"")
    return (name[: -len(ending)], ending) if ending else (os.path.splitext(name)[0], b".csv")


def patterns(pattern: str) -> list[str]:
    """Return what the names of uploads match: a pattern of names of CSV is one of all other kinds, too."""
    stem, ending = os.path.splitext(pattern)
    if ending.lower() != ".csv":
        return [pattern]
    return [pattern, *(stem + each.decode() for each in _OTHERS)]
