"""From the first bytes of a file: its byte order mark, and whether it is something else than CSV."""

from __future__ import annotations

import codecs
import re
from typing import Final

from importer.model import FileRejected

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, ""),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, ""),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_EXCEL_REMEDY: Final = "In Excel choose Save As, CSV UTF-8, and upload that file."
_SIGNATURES: Final = (
    (rb"PK\x03\x04.{0,4000}?xl/", "an Excel workbook", _EXCEL_REMEDY),
    (rb"PK\x03\x04.{0,60}mimetypeapplication/vnd\.oasis", "a LibreOffice document", "Save it as Text CSV in UTF-8."),
    (rb"PK\x03\x04.{0,4000}?\[Content_Types\]", "an Office document", _EXCEL_REMEDY),
    (rb"PK[\x03\x05]", "a zip archive or an Excel workbook", "Unpack it, or save the workbook as CSV UTF-8."),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls)", _EXCEL_REMEDY),
    (rb"\x1f\x8b", "a gzip archive", "Unpack it and upload the CSV file inside."),
    (rb"7z\xbc\xaf|Rar!|BZh[1-9]|\xfd7zXZ", "an archive", "Unpack it and upload the CSV file inside."),
    (rb"%PDF", "a PDF", "Export the data as CSV UTF-8 from the program the PDF was printed from."),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", "a picture", "Export the data as CSV UTF-8."),
    (rb"SQLite format 3", "a database", "Export the table of users as CSV UTF-8."),
    (rb"\{\\rtf", "a rich text document", "Export the data as CSV UTF-8 from the program it comes from."),
    (rb"(?i:<\?xml.{0,2000}?(?:workbook|spreadsheet))", "an Excel workbook in XML", _EXCEL_REMEDY),
    (rb"(?i:<\?xml)", "XML", "Export the data as CSV UTF-8 from the program it comes from."),
    (rb"(?i:<!doctype html|<(?:html|head|meta|table|body|style)\b)", "a web page (HTML)", _EXCEL_REMEDY),
    (rb"<!?[A-Za-z]", "XML", "Export the data as CSV UTF-8 from the program it comes from."),
    (rb"[\[{]", "JSON", "Export the data as CSV UTF-8 from the program it comes from."),
)


def byte_order_mark(head: bytes) -> tuple[int, str]:
    """Return where the text begins, and its encoding: UTF-8 without a mark. Raises encoding.invalid for UTF-32."""
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            if not encoding:
                raise FileRejected("encoding.invalid", 'the file is UTF-32; expected UTF-8. Save it as "CSV UTF-8".')
            return len(mark), encoding
    return 0, "utf-8"


def refuse_other_kinds(head: bytes, encoding: str) -> None:
    """Raise file.not_csv when the first non-blank bytes are those of another kind of file."""
    if encoding != "utf-8":
        head = head[: len(head) & ~1].decode(encoding, "replace").encode()
    first = head.lstrip(b" \t\r\n\x0b\x0c")
    for pattern, kind, remedy in _SIGNATURES:
        if re.match(pattern, first, re.DOTALL):
            raise FileRejected("file.not_csv", f"this is {kind}, not CSV. {remedy}")


def refuse_utf16_without_mark(head: bytes) -> None:
    """Raise encoding.invalid when about every second byte is NUL, as in the UTF-16 of most languages."""
    first, second = head[::2].count(0), head[1::2].count(0)
    if max(first, second) * 4 > len(head) > min(first, second) * 16:
        raise FileRejected(
            "encoding.invalid", 'the file looks like UTF-16 without its mark; expected UTF-8. Save it as "CSV UTF-8".'
        )
