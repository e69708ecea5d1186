"""
Lines of an export that are no users: totals, counts, dashes, headings of groups, error messages. Pure.

They are found by their words, English and French and some that databases write in other languages, and by how few of
their cells have a value. A user taken for such a line would be lost, so each rule is one that no row of a user meets.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from importer.characters import EDGE, unguarded
from importer.file import first_line
from importer.file.proposals import nearest
from importer.patterns import regex

# What a line can be, as the end of the keys of 9003.
CLOSING: Final = "closing"
DASHES: Final = "dashes"
ERROR: Final = "error"
GROUP: Final = "group"
ONE_CELL: Final = "one_cell"  # all values together
TEXT: Final = "text"  # one text of an unknown kind

_MOST_FILLED: Final = 4  # cells; a new user has more
_MOST_IN_GROUP: Final = 2
_COMPARED: Final = 200  # characters: each pattern needs fewer
_ODD_MARKS: Final = 2  # in the first cell and in no other id: a single one may be in an id like no other
_DASHES: Final = regex(r"[-=*+~|:_.\u2013\u2014\u2500\u2501\u2550](?: ?[-=*+~|:_.\u2013\u2014\u2500\u2501\u2550])+\Z")
_END_OF_DOS: Final = "\x1a"  # at the very end it is passed over, but some programs end its line
_DASH: Final = regex(r"[-=*+_.\u2013\u2014]\Z")
_MARKS: Final = " *#=<>[](){}.:;,~_|!\"'-\u2013\u2014\xa0"
_WORD: Final = regex(r"[\w'\u2019@.&:/-]+")

# A line of nothing but these words and numbers, with one of the first kind, is none of a user.
_TOTAL_WORDS: Final = (
    "trl trlr tlr trailer ftr footer eof eor eod end fin total totals totaux totale subtotal subtotals sub-total "
    "sous-total sous-totaux count counts sum somme checksum records rows lignes enregistrements entries lines users "
    "students employees utilisateurs élèves étudiants employés recordcount rowcount reccount elapsed confidential "
    "confidentiel confidentielle average averages moyenne moyennes \u03c3 gesamt gesamtsumme insgesamt summe ende fim "
    "totaal zeilen zeile datensätze datensatz filas fila registros registro righe linhas rijen regels"
)
_OTHER_WORDS: Final = (
    "of the a in for this at is no number num nb nbr nbre nombre file report data export extract list listing output "
    "grand page pages affected selected returned exported processed written printed found fetched listed set sec secs "
    "second seconds s ms query ok time matched changed warnings warning successfully completed complete active general "
    "general général générale de du des le la les l d et and fichier rapport liste exportés exportées traités traitées "
    "sélectionnés sélectionnées affectées affectés trouvés trouvées aucune aucun record row ligne enregistrement "
    "user student élève utilisateur employee staff people header hash control date all tous toutes new more copied "
    "retrieved unloaded columns colonnes sélectionnée exportée traitée affectée trouvée betroffen ausgewählt "
    "exportiert gefunden der datei des berichts anzahl afectadas afectada seleccionadas devueltas exportadas "
    "exportados encontrados del archivo informe interessate selezionate esportate afetadas selecionadas do arquivo "
    "relatório betrokken geselecteerd geëxporteerd aantal"
)
_TOTALS: Final = frozenset(_TOTAL_WORDS.split())
_KNOWN: Final = _TOTALS.union(_OTHER_WORDS.split())
_SENTENCE: Final = regex(
    r"(?:generated|printed|exported|extracted|produced|created|prepared|run|report(?:ed)?|downloaded|retrieved"
    r"|générée?|imprimée?|exportée?|produite?|créée?|extraite?|préparée?)s?(?:\s*:|\s+(?:by|on|at|for|from|par|le|à|pour|date|time)\b)"
    r"|(?:copyright|confidential|confidentiel(?:le)?)\s|c\)\s*\d{4}|\xa9|(?:end|fin)\s+(?:of|de|du|des)\b"
    r"|(?:file|data|report|list|export|extract)\s+(?:ends?|completed?|finished|generated)\b"
    r"|(?:fichier|rapport|liste|listado|informe|reporte|archivo)\s+(?:générée?|imprimée?|exportée?|produite?|créée?"
    r"|extraite?|(?:gener|cre|export)ado|impreso)\b"
    r"|(?:generated|printed|exported|extracted|produced|created)\s+\d|1\s+(?:row|record|user|ligne|enregistrement|zeile|fila|riga|linha|rij)\b"
    r"|(?:process|exportation|export|query|report|job)\s+(?:completed?|finished|done|terminée?)\b|fin\s+d['\u2019]export"
    r"|(?:last\s+updated?|mis\s+à\s+jour|dernière\s+mise\s+à\s+jour|time|date|filters?|filtres?|nb|nbre)\s*:|as\s+of\s|completion\s+time\b|disconnected\s+from\b|elapsed\b"
    r"|(?:totals?|totaux|counts?|records?|rows?|nombre|number|checksum|gesamt\w*|summe|anzahl|cantidad|número|aantal"
    r"|datensätze|registros|filas|zeilen|crc-?\d*|md5|sha-?\d*|prüfsumme|somme de contrôle)\b[^:=]{0,40}[:=]"
    r"|(?:users|students)\s*[:=]\s"
    r"|(?:ende|fine?|fim)\s+(?:der|des|del|della|do|da|dello)\b"
    r"|(?:édité|exporté|extrait)e?s?\s+le\b|\d+\s+(?:datensätze|zeilen)\s"
    r"|[0-9a-f]{32,128} [ *]\S+\.\w+\Z"  # what md5sum and its like write
    r"|network packet size|clock time \(ms|version \d+\.\d"  # below what bcp and SQL*Plus wrote
    r"|.*\b(?:all rights reserved|tous droits réservés|successfully completed|completed successfully)\b",
    re.IGNORECASE,
)
_PAGE: Final = regex(
    r"(?:page|seite|página|pagina)\s+\d+(?:\s*(?:of|de|sur|von|di|van|/)\s*\d+)?[\s*-]*\Z", re.IGNORECASE
)
_GROUP: Final = regex(
    r"(?:points possible\Z|(?:dep(?:t|artment)|class|grade|group|school|home ?room|section|division|location|site|team"
    r"|gr|term|semester|year(?: group)?|level|program(?:me)?|faculty|building|campus|teacher|district|region|category"
    r"|période|école|classe|département|groupe|service|niveau|année|bâtiment|enseignante?|titulaire|foyer|cycle"
    r"|secteur|unité|équipe|faculté|région|catégorie|period|room|cohort|course|cours|cohorte|salle|groupe-repère)\.?"
    r"(?:\s*[:=]|\s+\S)|(?:teachers|students|staff|employees|enseignants|élèves|personnel|employés)\s*:\Z)",
    re.IGNORECASE,
)
_NO_TEXT: Final = regex(r"[\d@,;\t|]")  # in what may be a user

_SEPARATOR: Final = regex(r"sep=.?\Z", re.IGNORECASE)  # which Excel takes on the first line alone

_NO_MARK: Final = regex(r"[^\W_]")

# What is at the head of a group, such as "Sales", "HUMAN RESOURCES" or "9th Grade (12)", and hardly ever an id. That
# of many is a name in small letters, or a few capitals.
_HEADING: Final = regex(
    r"(?=.*[^\W\d_]{3})(?!.*(?:[@\\_]|\d{3}))"
    r"(?:[^\W_]+(?:[ ,/&(]|\. ).*|(?=[^\W_a-z])[^\W\d_](?:[^\W\d_]|['\u2019&/-]){3,})\Z"
    r"|\d{1,4}([-./])\d{1,2}\1\d{1,4}\b|https?://"  # or a date, an address
)
# In a row that describes the columns.
_FEWEST_DESCRIBED: Final = 2
_DESCRIBING: Final = regex(
    r"[\W_]*(?:n?(?:var)?char2?|(?:short |long |free )?text|texte?|string|chaîne|alpha\w*|number"
    r"|numeric|numéri\w+|nombre|int(?:eger)?|entier|date(?:time)?|bool(?:ean)?|required|optional|mandatory|obligatoire|facultati(?:f|ve)"
    r"|requise?|key|clé|primary key|not null|nullable|max\.?)\b[\w\W]{0,30}\Z",
    re.IGNORECASE,
)
_EXAMPLE: Final = regex(r"(?:e\.g\.|p\. ?ex\.|ex ?[.:]|examples?\b|exemples?\b|sample\b)", re.IGNORECASE)
_DATA: Final = regex(r"[@\d]")
_LIKE_A_NAME: Final = regex(r"[ _]|[a-z][A-Z]|^[^\W\d_a-z]+\Z")  # of a column
_RECORD: Final = regex(r"(?:[A-Za-z]{1,3}|\d)\Z", re.ASCII)
_FEWEST_COUNTS: Final = 3  # one of each column
_FEW_DIGITS: Final = regex(r"\d{1,8}\Z", re.ASCII)
_COUNT: Final = regex(r"\(?\d{1,4}\)?\Z|\d{4}[-/]\d[\d:/ -]*\Z", re.ASCII)  # of the users in a group; a year, a day

# In the column of ids: what few ids have, or a word that is a whole closing line.
_PLAIN_ID: Final = bytes(range(0x30, 0x3A)) + bytes(range(0x41, 0x5B)) + bytes(range(0x61, 0x7B)) + b"_.@-"
_PHONE: Final = regex(r"\+?(?:1[ .-]?)?\(?\d{3}\)?[ .-]?\d{3}[ .-]?\d{4}\Z", re.ASCII)  # no count
_ODD_ID: Final = regex(r"[^A-Za-z0-9_.@-]")
_ERRORS: Final = frozenset({"error", "erreur", "killed", "terminated", "aborted", "échec"})
_BARE: Final = frozenset(spelt for word in _TOTALS | _ERRORS for spelt in (word, word.upper(), word.capitalize()))
INITIALS: Final = frozenset(word for word in _BARE if len(word) <= 3)  # noqa: PLR2004 - that a person may have
_TOTAL: Final = regex(r"(?:(?:grand|sub|sous)[ -]?)?tot(?:al|aux)s?\b", re.IGNORECASE)  # which no id begins with


def kind_of(cells: Sequence[str]) -> str:
    """Return what a row is that has another number of cells than the header, "" if it may be a broken user."""
    return _kind_of(_texts(cells))


def kind_of_whole(cells: Sequence[str], id_cell: str, *, is_roster: bool) -> str:
    """
    Return the same of a row that has as many cells as the header; `id_cell` is the one of the unique_id.

    `is_roster`: each user of the file has names, so a row with nothing but an id cannot be applied anyway.
    """
    texts, unique_id = _texts(cells), _text(id_cell)
    if texts == [unique_id] and 2 < len(cells) <= 2 * max(map(id_cell.count, ",;\t|")):  # noqa: PLR2004 - or it is an id
        return ONE_CELL
    kind = _kind_of(texts)
    if kind and kind != DASHES and unique_id:
        is_word = unique_id in _BARE and not any(map(_PHONE.match, texts[1:]))
        is_id = unique_id != texts[0] or not (is_word or _ODD_ID.search(unique_id))
        return "" if is_id or (kind == TEXT and not is_roster) else kind
    if not unique_id and len(texts) == 1 and cells[0].strip(EDGE) and not _NO_TEXT.search(texts[0]):
        return kind or TEXT  # in the column where headings are
    return "" if kind == TEXT else kind


def describes_columns(cells: Sequence[str], failed: Collection[str]) -> bool:
    """
    Tell whether a row that fails, near below the header, says of the columns what they are.

    `failed`: the attributes with a problem. It has types, numbers of the columns, or examples; or only words.
    """
    texts = [text for cell in cells if cell and (text := _text(cell))]
    if len(texts) < _FEWEST_DESCRIBED:
        return False
    if all(map(_DESCRIBING.match, texts)) or texts == [*map(str, range(1, len(texts) + 1))]:
        return True
    if sum(bool(_EXAMPLE.match(text)) for text in texts) >= _FEWEST_DESCRIBED:
        return True
    if len({*texts}) < len(texts) or any(map(_DATA.search, texts)) or not {"login_source", "email"} <= {*failed}:
        return False
    return 2 * sum(bool(_LIKE_A_NAME.search(text) or nearest(text)) for text in texts) > len(texts)


def is_heading(cells: Sequence[str], id_cell: str) -> bool:
    """Tell whether a row has a word in place of an id, and nothing else but a count."""
    texts, unique_id = _texts(cells), _text(id_cell)
    others = [text for text in texts if text != unique_id]
    is_alone = len(texts) - len(others) == 1 and (not others or (len(others) == 1 and bool(_COUNT.match(others[0]))))
    return is_alone and bool(_HEADING.match(unique_id))


def is_count(cells: Sequence[str], id_cell: str) -> bool:
    """Tell whether a row that fails has numbers alone, or behind the letter or digit of a kind of record."""
    texts, unique_id = [text for cell in cells if cell and (text := _text(cell))], _text(id_cell)
    others = [text for text in texts if text != unique_id]
    if len(texts) >= _FEWEST_COUNTS and all(map(_FEW_DIGITS.match, texts)):
        return texts != [*map(str, range(1, len(texts) + 1))]  # which are numbers of the columns
    is_record = not unique_id or (len(texts) - len(others) == 1 and bool(_RECORD.match(unique_id)))
    return is_record and bool(others) and all(map(_FEW_DIGITS.match, others))


def _texts(cells: Sequence[str]) -> list[str]:
    """Return the cells with content; none of a row that has too many of them, as nearly all rows have."""
    fronts = "".join([cell[:1] for cell in cells[: _MOST_FILLED + 1]])
    if len(fronts) > _MOST_FILLED and fronts.isalnum():  # which is faster
        return []
    texts: list[str] = []
    for cell in cells:
        if cell and (text := _text(cell)):
            texts.append(text)
            if len(texts) > _MOST_FILLED and not (_DASHES.match(texts[0]) or _DASH.match(texts[0])):
                return []
    return texts


def _text(cell: str) -> str:
    return unguarded(cell).strip(EDGE)[:_COMPARED]


def _kind_of(texts: Sequence[str]) -> str:
    if texts and (all(map(_DASHES.match, texts)) or (len(texts) > 1 and all(map(_DASH.match, texts)))):
        return DASHES
    if not 0 < len(texts) <= _MOST_FILLED:
        return ""
    first, is_alone = texts[0], len(texts) == 1
    if first_line.has_error_words(first) or (is_alone and first.strip(_MARKS).lower() in _ERRORS):
        return ERROR
    if _is_closing(texts):
        return CLOSING
    if (is_alone or (len(texts) <= _MOST_IN_GROUP and first.endswith((":", "=")))) and _GROUP.match(
        first.lstrip(_MARKS)
    ):
        return GROUP
    is_text = " " in first and not _NO_TEXT.search(first)
    return TEXT if is_alone and (is_text or _SEPARATOR.match(first)) else ""


def _is_closing(texts: Sequence[str]) -> bool:
    if texts[0] == _END_OF_DOS and len(texts) == 1:
        return True
    if _SENTENCE.match(texts[0].lstrip(_MARKS)) or any(_PAGE.match(text.lstrip(_MARKS)) for text in texts):
        return True
    words, of_first = _words(" ".join(texts)), _words(texts[0])
    if _TOTAL.match(texts[0]) and _KNOWN.issuperset(of_first):
        return True
    return not _TOTALS.isdisjoint(of_first) and _KNOWN.issuperset(words)


def _words(text: str) -> list[str]:
    words = (word.strip(_MARKS) for word in _WORD.findall(text.lower().replace("(s)", "s")))
    return [word for word in words if any(map(str.isalpha, word))]


def doubtful(ids: Sequence[str]) -> Iterator[int]:
    """Yield the positions of ids that may be the words of such a line; hardly one id of a user is among them."""
    is_odd = "".join(ids).encode().translate(None, _PLAIN_ID)
    if is_odd or not _BARE.isdisjoint(ids):
        yield from (place for place, unique_id in enumerate(ids) if unique_id in _BARE or _ODD_ID.search(unique_id))


def has_few_values(cells: Sequence[str], but: int) -> bool:
    """Tell whether few enough cells have content, blanks included, for such a line; so many more do not count."""
    return len(cells) - cells.count("") <= _MOST_FILLED + but


def begins_no_row(cells: Sequence[str], rows: Iterable[Sequence[str]]) -> bool:
    """
    Tell whether the cells of a last line without an end are such a line, and cannot be the beginning of a row.

    `rows` are as many cells of each of some other rows; their first column has the ids. In any doubt the file counts
    as cut off: where a value fits its column, behind a delimiter that no value follows, where a first value may go on.
    """
    first, *others = (cell.strip(EDGE) for cell in cells)
    ids, *columns = [{cell.strip(EDGE) for cell in column} for column in zip(*rows, strict=True)] or [set[str]()]
    if not ids or kind_of(cells) not in (CLOSING, DASHES, ERROR) or (len(cells) > 1 and not any(others)):
        return False
    if any(cell and _fits(cell, column) for cell, column in zip(others, columns, strict=True)):
        return False
    odd = _NO_MARK.sub("", first).translate(dict.fromkeys(map(ord, "".join(ids))))
    if len(odd) >= _ODD_MARKS or (any(others) and _shape(first) not in {*map(_shape, ids)}):
        return True
    is_word = first in _BARE or (first.replace(" ", "").isalpha() and kind_of(cells) == CLOSING)
    return len(cells) == 1 and is_word and _is_unlike(first, ids)


def _is_unlike(word: str, ids: Collection[str]) -> bool:
    """Tell whether no id begins like a word: at one place of it all have a digit, or the other case, for its letter."""
    kinds = ({_shape(unique_id[at]) for unique_id in ids if len(unique_id) > at} for at in range(len(word)))
    return any(
        others and char.isalpha() and _shape(char) not in others for char, others in zip(word, kinds, strict=True)
    )


def _fits(cell: str, others: set[str]) -> bool:
    """Tell whether a cell may be a value of a column, or the beginning of one; of one without values, all may be."""
    shape = _shape(cell)
    shapes = {_shape(other) for other in others if other}
    return not shapes or any(each.startswith(shape) for each in shapes)


def _shape(text: str) -> str:
    """Return a value with one sign for each run of capitals, of small letters and of digits."""
    return re.sub(r"\d+", "9", re.sub(r"[^\W\d_A-Z]+", "a", re.sub(r"[A-Z]+", "A", text)))
