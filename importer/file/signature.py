"""From the first bytes of a file: its byte order mark, and whether it is something else than CSV."""

from __future__ import annotations

import codecs
import functools
import re
from typing import Final

from importer.model import FileRejected, Message, message

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, ""),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, ""),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

_SIGNATURES: Final = (
    (rb"[^\r\n]{0,4000}?\+AF8-", message("file.not_csv/data", kind="UTF-7")),
    (rb"PK\x03\x04.{0,4000}?xl/", message("file.not_csv/xlsx")),
    (rb"PK\x03\x04.{0,60}mimetypeapplication/vnd\.oasis", message("file.not_csv/libreoffice")),
    (rb"PK\x03\x04.{0,4000}?\[Content_Types\]", message("file.not_csv/office")),
    (rb"PK[\x03\x05]", message("file.not_csv/zip")),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", message("file.not_csv/xls")),
    (rb"\x1f\x8b", message("file.not_csv/archive", kind="gzip")),
    (rb"7z\xbc\xaf", message("file.not_csv/archive", kind="7z")),
    (rb"Rar!", message("file.not_csv/archive", kind="RAR")),
    (rb"BZh[1-9]", message("file.not_csv/archive", kind="bzip2")),
    (rb"\xfd7zXZ", message("file.not_csv/archive", kind="xz")),
    (rb"-----BEGIN [A-Z0-9 ]*(?:KEY|CERTIFICATE)", message("file.not_csv/key")),
    (
        rb"age-encryption\.org/|-----BEGIN (?:AGE|PKCS7|CMS)|Salted__|U2FsdGVkX1|\$ANSIBLE_VAULT|AES[\x00-\x03]\x00",
        message("file.not_csv/encrypted_other"),
    ),
    (rb"-----BEGIN PGP|[\x84\x85].{1,2}\x03|\x8c\x0d\x04", message("file.not_csv/encrypted")),
    (rb"MZ.{0,62}\x00.{0,8000}?(?:PK\x03\x04|Rar!|7z\xbc\xaf|This program)", message("file.not_csv/program")),
    (rb"%PDF", message("file.not_csv/pdf")),
    (rb"\x89PNG|\xff\xd8\xff|GIF8", message("file.not_csv/picture")),
    (
        rb"SQLite format 3|\0\x01\0\0Standard (?:Jet|ACE) DB|[\x03\x83\x8b][\x50-\x99][\x01-\x0c][\x01-\x1f].{0,30}\0",
        message("file.not_csv/database"),
    ),
    (rb"\{\\rtf", message("file.not_csv/rtf")),
    (rb"(?i:<\?xml.{0,2000}?(?:workbook|spreadsheet))", message("file.not_csv/excel_xml")),
    (rb"(?i:<\?xml)", message("file.not_csv/data", kind="XML")),
    (
        (
            rb"(?i:<!doctype html|<!--|<(?:html|head|meta|table|body|style)\b"
            rb"|(?!<[^<>\r\n]+>[ \"]*[,;|\t])<(?:br|b|p|div|script|title|h1|pre|center|font)\b)"
        ),
        message("file.not_csv/html"),
    ),
    (
        rb"(?i:-- (?:mysql|mariadb|postgresql)|--\r?\n-- postgresql|insert into |create table |copy [^\s(]+ \()",
        message("file.not_csv/data", kind="SQL"),
    ),
    (rb"BEGIN:VCARD", message("file.not_csv/data", kind="vCard")),
    (rb"BEGIN:VCALENDAR", message("file.not_csv/data", kind="iCalendar")),
    (rb"ISA[^\w\s]\d\d|UNA.{5,6}\r?\n?UN[BG]|UN[BG]\+", message("file.not_csv/data", kind="EDI")),
    (rb"MSH\|\^", message("file.not_csv/data", kind="HL7")),
    (rb"ID;P[^\r\n,]*\r?\n[A-Z];", message("file.not_csv/data", kind="SYLK")),
    (rb"TABLE\r?\n0,\d+\r?\n\"", message("file.not_csv/data", kind="DIF")),
    (rb"\"?ClassId2e4f51ef21dd47e99d3c952918aff9cd|@\{\w+=", message("file.not_csv/data", kind="PowerShell")),
    (rb"PAR1", message("file.not_csv/data", kind="Parquet")),
    (rb"(?:---\s+)?- ?\w+: ?[^,;\t|\r\n]*\r?\n +\w+:", message("file.not_csv/data", kind="YAML")),
    (rb"(?:[A-Za-z0-9+/]{76}\r?\n){2}|[A-Za-z0-9+/]{120}", message("file.not_csv/data", kind="Base64")),
    (
        rb"MIME-Version: 1\.0|Return-Path: ?<|Received: from |From: [^\r\n]*@[^\r\n]*\r?\n(?:To|Subject|Date|Sent):",
        message("file.not_csv/data", kind="e-mail"),
    ),
    (rb"\[InternetShortcut\]|version https://git-lfs|L\0\0\0\x01\x14\x02\0", message("file.not_csv/link")),
    (rb"(?:version: 1\s+)?dn: ?\w+=", message("file.not_csv/data", kind="LDIF")),
    (rb"(?!<[^<>\r\n]+>[ \"]*[,;|\t])<!?[A-Za-z]", message("file.not_csv/data", kind="XML")),  # not a name in brackets
    # Likewise: of JSON, a name and a colon follow a brace; a value, and no further bracket, follows a bracket.
    (rb"[\[\s]*\{\s*(?:\"[^\"\r\n]*\"\s*:|\})", message("file.not_csv/data", kind="JSON")),
    (rb"(?!\[[^\[\]\r\n]*\] *[,;|\t] *[\[\w])\[(?:\s*\[)*\s*[\"\]]", message("file.not_csv/data", kind="JSON")),
    (rb"(?!\[[^\[\]\r\n]*\] *[,;|\t] *[\[\w])[\[(]+\s*[bu]?'", message("file.not_csv/data", kind="Python")),
    (rb"[^\0]{0,4000}?PK\x03\x04[\x0a-\x3f]\x00", message("file.not_csv/junk")),
)


@functools.cache
def _kinds() -> list[tuple[re.Pattern[bytes], Message]]:
    return [(re.compile(pattern, re.DOTALL), reason) for pattern, reason in _SIGNATURES]


def byte_order_mark(head: bytes) -> tuple[int, str]:
    """Return where the text begins, and its encoding: UTF-8 without a mark. Raises encoding.invalid for UTF-32."""
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            if not encoding:
                raise FileRejected(message("encoding.invalid/unicode", encoding="UTF-32"))
            return len(mark), encoding
    return 0, "utf-8"


def refuse_other_kinds(head: bytes, encoding: str) -> None:
    """Raise file.not_csv when the first non-blank bytes are those of another kind of file."""
    if encoding != "utf-8":
        head = head[: len(head) & ~1].decode(encoding, "replace").encode()
    first = head.lstrip(b" \t\r\n\x0b\x0c")
    for pattern, reason in _kinds():
        if pattern.match(first):
            raise FileRejected(reason)


def refuse_wrong_mark(head: bytes, encoding: str) -> None:
    """Raise encoding.invalid when text with a mark of UTF-16 has none of its NUL bytes, or has them in other places."""
    here, there = head[1::2].count(0), head[::2].count(0)
    if encoding == "utf-16-be":
        here, there = there, here
    if len(head) > len(codecs.BOM_UTF16) and (not here or there > here):
        raise FileRejected(message("encoding.invalid/mark"))


def refuse_utf16_without_mark(head: bytes) -> None:
    """Raise encoding.invalid when about every second byte is NUL, as in the UTF-16 of most languages."""
    first, second = head[::2].count(0), head[1::2].count(0)
    if max(first, second) * 4 > len(head) > min(first, second) * 16:
        raise FileRejected(message("encoding.invalid/unicode", encoding="UTF-16"))
