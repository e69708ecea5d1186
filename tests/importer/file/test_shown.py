"""A number of a workbook is shown as a person sees it there."""

from __future__ import annotations

from datetime import datetime

import pytest

from importer.file.unwrap import shown

EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - days of a workbook have no zone
MAC_EPOCH = datetime(1904, 1, 1)  # noqa: DTZ001

NUMBERS = [
    ("General", 42, "42"),
    ("General", 42.0, "42"),
    ("General", 0.1 + 0.2, "0.3"),
    ("General", -5, "-5"),
    ("General", 1e-7, "0.0000001"),
    ("General", 123456789012345, "123456789012345"),
    ("General", 1234567890123456, "1.23457E+15"),
    ("General;-General", -5, "-5"),
    ("@", 42, "42"),
    ("0", 42.6, "43"),
    ("0", 0.5, "1"),
    ("0.00", 3.14159, "3.14"),
    ("0.###", 3.5, "3.5"),
    ("00000", 42, "00042"),
    ("0000000000", 6135551234.0, "6135551234"),
    ("000000000000000000", 12345, "000000000000012345"),
    ("#", 0, ""),
    ("#,##0", 1234567, "1,234,567"),
    ("#,##0.00", -1234.567, "-1,234.57"),
    ("#-###", 12345, "12-345"),
    ("000-00-0000", 123456789, "123-45-6789"),
    ("0000\\-00", 123456, "1234-56"),
    ("0,", 1234567, "1235"),
    ('0,,"M"', 12345678, "12M"),
    ("0%", 0.25, "25%"),
    ("0.0%", 0.255, "25.5%"),
    ("0.00E+00", 123456, "1.23E+05"),
    ('"ID-"0000', 7, "ID-0007"),
    ('0" pers"', 3, "3 pers"),
    ("[Red]0", -3, "-3"),
    ("0;(0)", -3, "(3)"),
    ("0;-0;;@", 0, ""),
    ('0;-0;"none"', 0, "none"),
    ("[$€-2] 0.00", 3, "€ 3.00"),
    ('_("$"* #,##0.00_)', 1234.5, "$1,234.50"),
    ("[<=9999999]###-####;(###) ###-####", 5551234, "555-1234"),
    ("[<=9999999]###-####;(###) ###-####", 6135551234, "(613) 555-1234"),
    ("# ?/?", 0.5, None),
]
DAYS = [
    ("yyyy-mm-dd", 38718, "2006-01-01"),
    ("dd/mm/yyyy", 38718.9, "2006-01-01"),
    ("d-mmm", 38718, "2006-01-01"),
    ("[$-409]d-mmm-yy;@", 38718, "2006-01-01"),
    ("m/d/yy h:mm", 38718.5, "2006-01-01 12:00"),
    ("m/d/yy h:mm", 38718, "2006-01-01"),
    ("yyyy-mm-dd hh:mm:ss", 38718.500011574, "2006-01-01 12:00:01"),
    ("yyyy-mm-dd", 0, "1900-01-00"),
    ("yyyy-mm-dd", 1, "1900-01-01"),
    ("yyyy-mm-dd", 59, "1900-02-28"),
    ("yyyy-mm-dd", 60, "1900-02-29"),
    ("yyyy-mm-dd", 61, "1900-03-01"),
    ("yyyy-mm-dd", 2958465, "9999-12-31"),
    ("yyyy-mm-dd", 2958466, "#VALUE!"),
    ("yyyy-mm-dd", -1, "#VALUE!"),
    ("h:mm", 0.5, "12:00"),
    ("h:mm AM/PM", 0.75, "6:00 PM"),
    ("h:mm AM/PM", 0.01, "12:14 AM"),
    ("mm:ss", 0.0007, "01:00"),
    ("[h]:mm:ss", 1.5, "36:00:00"),
    ("[hh]:mm", 0.25, "06:00"),
    ("[m]", 0.5, "720"),
    ("yyyy-mm-ddThh:mm:ssZ", 38718.5, "2006-01-01 12:00"),
    ('d" of "mmmm', 38718, "2006-01-01"),
    ("[Foo]weird?!", 38718, None),
]


@pytest.mark.parametrize(("code", "value", "expected"), [*NUMBERS, *DAYS])
def test_the_format_says_how_a_number_looks(code: str, value: float, expected: str | None) -> None:
    """Dates are ISO; a format that is not known is said to be."""
    show = shown.shower(code, 164, EPOCH)
    assert expected == (show(value) if show else None)


def test_a_workbook_may_count_from_1904() -> None:
    """Old workbooks of a Mac count from another day."""
    show = shown.shower("yyyy-mm-dd", 164, MAC_EPOCH)
    assert show is not None
    assert "2006-01-01" == show(38718 - 1462)
    assert "1904-01-01" == show(0)


@pytest.mark.parametrize("number", [27, 36, 50, 58])
def test_formats_that_only_have_a_number_are_dates(number: int) -> None:
    """The formats of dates in East Asia are in no file."""
    show = shown.shower("General", number, EPOCH)
    assert show is not None
    assert "2006-01-01" == show(38718)
