"""E-mail addresses that are probably misspelt."""

from __future__ import annotations

import pytest

from importer.rows.values import addresses
from tests.engine import Engine

COLUMNS = "unique_id,login_source,first_name,last_name,email"


@pytest.mark.parametrize(
    ("domain", "found", "expected"),
    [
        ("gmail.con", "@gmail.con", "@gmail.com"),
        ("gmial.com", "@gmial.com", "@gmail.com"),
        ("GMAI.com", "@gmai.com", "@gmail.com"),
        ("gmail.co", "@gmail.co", "@gmail.com"),
        ("hotmail.co", "@hotmail.co", "@hotmail.com"),
        ("hotmial.fr", "@hotmial.fr", "@hotmail.fr"),
        ("outlook.cm", "@outlook.cm", "@outlook.com"),
        ("yaho.com", "@yaho.com", "@yahoo.com"),
        ("school.example.ogr", ".ogr", ".org"),
        ("videotron.caa", ".caa", ".ca"),
    ],
)
def test_a_misspelt_domain_is_told_with_what_is_meant(engine: Engine, domain: str, found: str, expected: str) -> None:
    """The address is stored; the warning names the wrong end and the right one."""
    rows = ["S1,OPSCOM,Ann,Lee,ann@example.org", f"S2,OPSCOM,Bob,Roy,bob@{domain}"]
    result = engine.file(COLUMNS, *rows)
    warning = result.warnings["email.misspelt"]
    assert ("email", (3,), 1) == (warning.field, warning.lines, warning.rows)
    assert (
        f'email has addresses that end in "{found}", and we stored them. "{expected}" is probably meant.' in result.text
    )
    assert f"bob@{domain}" == engine.column("email")["S2"]


@pytest.mark.parametrize(
    "domain",
    [
        *(
            "gmail.com",
            "hotmail.co.uk",
            "hotmail.fr",
            "outlook.fr",
            "yahoo.ca",
            "yahoo.co.jp",
            "icloud.com",
            "mail.com",
        ),
        *("ymail.com", "gmx.com", "example.co", "school.cm", "email.com", "live.com", "mail.gmial.example.org"),
    ],
)
def test_a_domain_that_is_right_is_not_told(domain: str) -> None:
    """So are domains that are nearly those of a provider, and ends of countries at others."""
    assert ("", "") == addresses.misspelt(domain)
