"""What a client is to do about a file of another name: by its name alone."""

from __future__ import annotations

import pytest

from importer.settings import FileSettings
from importer.wording.catalogue import words
from watcher.inbox.settle import Names
from watcher.settings import Config, IntakeSettings
from watcher.strays.remedies import remedy, shown


def said(path: bytes, pattern: str = "*.csv", language: str = "en") -> str:
    """Return the remedy in words."""
    config = Config(intake=IntakeSettings(pattern=pattern), file=FileSettings(accept=("xlsx", "gz")))
    return words(language).say(remedy(path, Names(pattern), config))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"users.csv.txt", 'The name must end in .csv. Rename the file to "users.csv".'),
        (b"users.csv_old", 'The name must end in .csv. Rename the file to "users.csv".'),
        (b"users.csv (1)", 'The name must end in .csv. Rename the file to "users.csv".'),
        (b"users.csv\n", 'The name must end in .csv. Rename the file to "users.csv".'),
        (b"Users.XLSX ", 'The name must end in .XLSX. Rename the file to "Users.XLSX".'),
        (b"users.csv.gz.txt", 'The name must end in .gz. Rename the file to "users.csv.gz".'),
        (b"users.csv.age", "We cannot decrypt it."),
        (b"users.csv.P7M", "We cannot decrypt it."),
        (b"users.csv.7z", "We cannot open this kind of archive."),
        (b"users.rar", "We cannot open this kind of archive."),
        (b"users.csv.sha256", "We do not use such files from you."),
        (b"users.csv.pgp.sig", "We do not use such files from you."),
        (b"users.csv.SHA512", "We do not use such files from you."),
        (b"users.csv.ok", "We do not use such files from you."),
        (b"users.csv.approve", "This name approves no file."),
        (b"users.csv.approve_7K2QXM", "This name approves no file."),
        (b"users.txt", 'The name must end in one of these: ".csv", ".xlsx", ".gz".'),
        (b"users", 'The name must end in one of these: ".csv", ".xlsx", ".gz".'),
        (b"\xff\xfe", 'The name must end in one of these: ".csv", ".xlsx", ".gz".'),
        (b"exports/users.csv", "We do not look into folders."),
        (b"exports/users.csv.pgp", "We do not look into folders."),
    ],
)
def test_the_remedy_fits_the_name(path: bytes, expected: str) -> None:
    """Each name gets the one remedy that leads to an import."""
    assert said(path).startswith(expected)


def test_names_of_a_pattern_of_its_own() -> None:
    """Where other names count, the client is told which."""
    assert 'like these: "acme-*.csv", "acme-*.gz", "acme-*.xlsx".' in said(b"users.csv", "acme-*.csv")
    assert 'Rename the file to "acme-users.csv".' in said(b"acme-users.csv.txt", "acme-*.csv")


def test_it_is_said_in_french() -> None:
    """In the client's language, too."""
    assert "Le nom doit se terminer par .csv. Renommez le fichier en «\u00a0users.csv\u00a0»." == said(
        b"users.csv.txt", language="fr"
    )


def test_names_are_shown_safely() -> None:
    """Control characters and marks that turn text round are escaped; of a long name the end is shown."""
    assert "a\\n\\x1b\\u202eb" == shown("a\n\x1b\u202eb".encode())
    assert "\\xff.csv" == shown(b"\xff.csv")
    long = b"a/" * 8 + b"b" * 250 + b".txt"
    assert "..." + "b" * 96 + ".txt" == shown(long)
