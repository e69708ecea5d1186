"""
Rows that are lines of column names again, as in files that were put together from several.

The same names are no user and are passed over. Other names, or the same in another order, say that the rows below have
other columns than the header tells: the file is refused, or values would be recorded as what they are not.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Final

from importer.attributes import ATTRIBUTES, POSSIBLE_NAMES, folded
from importer.characters import EDGE
from importer.file.header import Header
from importer.file.proposals import nearest
from importer.file.table import Stretch
from importer.model import FileRejected, message
from importer.rows.validate import Rejected, User
from importer.settings import ClientSettings

_DATA: Final = re.compile(r"@|\d{3}|^\d+$")
_WORD: Final = re.compile(r"[^\W\d]+(?:[ ./-][^\W\d]+)*\.?\Z")  # an id that may be a name of a column
# Names in German, Spanish, Italian, Portuguese and Dutch, which no column may have.
_ABROAD_IDS: Final = (
    "kennung benutzerkennung personalnummer schülernummer matrikelnummer identificador identificación identificativo "
    "matricola matrícula legajo leerlingnummer studentnummer"
)
_ABROAD: Final = frozenset(
    folded(name)
    for name in (
        f"{_ABROAD_IDS} quelle anmeldequelle herkunft origen fuente fonte origem bron vorname nachname familienname "
        "name nombre nombres apellido apellidos nome cognome sobrenome voornaam achternaam familienaam correo "
        "correo_electrónico correo_electronico e-mail-adresse mailadresse emailadres posta_elettronica strasse straße "
        "calle rua straat indirizzo dirección stadt ort ciudad cidade città stad provincia bundesland "
        "plz postleitzahl código_postal codice_postale cap telefon teléfono telefono telefone handy móvil geburtsdatum "
        "fecha_de_nacimiento data_di_nascita data_de_nascimento geboortedatum benutzername usuario utente utilizador "
        "gebruikersnaam"
    ).split()
)
MOST_LOOKS: Final = 5_000  # for nearly right names, in a file
_FEWEST_BELOW: Final = 2  # rows that make a table
_COLUMN_NAME: Final = re.compile(r"(?=.{2,40}\Z)(?!.*(?:@|\d{3}))[^\W\d_].*[^\W_][).:*#]?\Z")
_VALUE: Final = re.compile(r"\d")


@functools.lru_cache(1000)
def _spellings(name: str) -> frozenset[str]:
    """Return a name as people write it."""
    words = re.split(r"[_ -]", name)
    camel = "".join(word.capitalize() for word in words)
    spellings = {camel, camel[:1].lower() + camel[1:]}
    for joined in (name, *(sep.join(words) for sep in ("_", " ", "-", ""))):
        title = joined.title()
        spellings |= {joined, joined.lower(), joined.upper(), title, title.replace("Id", "ID"), joined.capitalize()}
    return frozenset(spellings)


_NAMES: Final = frozenset(
    spelling
    for name in (
        *(*POSSIBLE_NAMES, *_ABROAD_IDS.split()),
        *(near for each in ATTRIBUTES.values() for near in each.near),
    )
    for spelling in _spellings(name)
)


class NamesAgain:
    """Finds such rows by the column of the id, and among those that fail."""

    def __init__(self, header: Header, client: ClientSettings) -> None:
        self._known = {folded(title) for title in (*header.titles, *client.headings) if title}
        self._header = [folded(title) for title in header.titles]
        own = (_spellings(title) for title in (*header.titles, *client.headings) if title)
        others = frozenset[str]().union(*own) - _NAMES  # as a rule none
        self._suspects = (_NAMES, others) if others else (_NAMES,)
        self._places = {name: frozenset(columns) for name, columns in header.columns.items()}
        self._looks_left = MOST_LOOKS
        self._other_table = _OtherTable(header.width)

    def taken_out(self, ids: list[str], stretch: Stretch, others: dict[int, User | Rejected]) -> list[int]:
        """
        Take the rows that are the header again out of the ids and the others; return their positions.

        Raises FileRejected header.changed.
        """
        rejected = [(place, each) for place, each in others.items() if isinstance(each, Rejected)]
        misfits = (place for place, each in rejected if each.user is None)
        wordy = [place for place, each in rejected if each.user and _WORD.match(str(each.user[0]))]
        for place, each in rejected:
            if each.problems[0].reason.key == "9003/describing" and self._are_moved(stretch.records[place]):
                self._refuse_changed(stretch.records[place], stretch.lines[place])
        again = self._positions(ids, misfits, wordy, stretch)
        if rejected:
            self._other_table.refuse([place for place, _ in rejected if place not in again], stretch)
        self._other_table.end = stretch.lines[-1] if stretch.lines else self._other_table.end
        for position in again:
            ids[position] = ""
            others.pop(position, None)
        return again

    def _positions(self, ids: list[str], misfits: Iterable[int], wordy: Iterable[int], stretch: Stretch) -> list[int]:
        """Return the positions of those rows; `misfits` have another number of cells, `wordy` a word for an id."""
        records = stretch.records
        places = [*wordy]
        misfit_names = [(place, records[place][0].strip(EDGE)) for place in misfits]
        for suspects in self._suspects:
            places += [place for place, name in misfit_names if name in suspects]
            if not suspects.isdisjoint(ids):
                places += [place for place, unique_id in enumerate(ids) if unique_id in suspects]
        positions = sorted(place for place in {*places} if self._are_names(records[place]))
        for place in positions:
            self._refuse_changed(records[place], stretch.lines[place])
        return positions

    def _are_moved(self, cells: list[str]) -> bool:
        """Tell whether two cells of a row about the columns name what the header has in other columns."""
        meant = {at: POSSIBLE_NAMES[name].name for at, cell in enumerate(cells) if (name := nearest(cell.strip(EDGE)))}
        return sum(at not in self._places.get(name, {at}) for at, name in meant.items()) > 1

    def _are_names(self, cells: list[str]) -> bool:
        if [folded(cell) for cell in cells] == self._header:
            return True
        names = [cell.strip(EDGE) for cell in cells if cell.strip(EDGE)]
        if any(map(_DATA.search, names)):
            return False
        known = sum(folded(name) in self._known or folded(name) in _ABROAD or self._is_near(name) for name in names)
        return known * 2 > len(names) and (known > 1 or folded(names[0]) == self._header[0])

    def _is_near(self, name: str) -> bool:
        """Tell whether it is nearly the name of a column; of a few thousand cells only, as one takes up to 0.5 ms."""
        self._looks_left -= 1
        return self._looks_left >= 0 and bool(nearest(name))

    def _refuse_changed(self, cells: list[str], line: int) -> None:
        """Raise header.changed unless the names are those of the header."""
        names = [folded(cell) for cell in cells]
        names = [*names, *[""] * (len(self._header) - len(names))]
        while len(names) > len(self._header) and not names[-1]:
            names.pop()
        if names != self._header:
            kind = "order" if sorted(filter(None, names)) == sorted(filter(None, self._header)) else "names"
            raise FileRejected(message(f"header.changed/{kind}", line=str(line)), line=line)


class _OtherTable:
    """Finds a line of names that no column of users has, by the rows below it: they fail as it does, and are alike."""

    def __init__(self, width: int) -> None:
        self._width = width  # of the rows of users
        self._line = 0  # of such names above the next row, 0 if none are
        self._names: list[str] = []
        self._below: list[list[str]] = []  # rows
        self._last = 0  # line of the last row that failed
        self.end = 0  # where the rows so far end, 0 if there are none
        self._is_apart = False  # the names are below a blank line, or a text alone
        self._is_of_users = False  # they fill a row of users

    def refuse(self, failed: Iterable[int], stretch: Stretch) -> None:
        """Take the positions of the rows that fail, in their order; raise FileRejected header.changed."""
        lines, records = stretch.lines, stretch.records
        for place in failed:
            cells, line = _filled(records[place]), lines[place]
            before = lines[place - 1] if place else self.end
            if line != self._last + 1:
                self._line = 0
            if self._line and len(cells) == len(self._names):
                self._below.append(cells)
                if len(self._below) == _FEWEST_BELOW and self._is_table():
                    raise FileRejected(message("header.changed/table", line=str(self._line)), line=self._line)
            elif _are_column_names(cells):
                is_below_text = bool(place) and len(_filled(records[place - 1])) == 1
                self._line, self._names, self._below = line, cells, []
                self._is_apart = is_below_text or 0 < before < line - 1
                self._is_of_users = len(records[place]) == self._width
            else:
                self._line = 0
            self._last = line

    def _is_table(self) -> bool:
        """Tell whether the names are apart, or columns below have numbers in all rows that their names lack."""
        numbers = sum(
            not _VALUE.search(name) and all(map(_VALUE.search, values))
            for name, *values in zip(self._names, *self._below, strict=True)
        )
        return self._is_apart or 2 * numbers >= (len(self._names) if self._is_of_users else 1)


def _filled(cells: list[str]) -> list[str]:
    """Return the cells up to the last one with content."""
    texts = [cell.strip(EDGE) for cell in cells]
    while texts and not texts[-1]:
        texts.pop()
    return texts


def _are_column_names(texts: list[str]) -> bool:
    return len(texts) > 1 and len({*map(str.casefold, texts)}) == len(texts) and all(map(_COLUMN_NAME.match, texts))
