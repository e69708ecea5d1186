"""Words and numbers that programs and people write where they have no value. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from importer.attributes import ATTRIBUTES

# Where they have no id: each in capitals, in small letters, and with one capital.
_WORDS: Final = (
    "undefined nan nat na n.a n.a. <na> unknown inconnu inconnue tbd tbc tba pending undef empty missing blank (blank) "
    "wahr falsch verdadero falso vero loading... loading chargement... chargement cargando... "
    "(vide) vide true false vrai faux s/o s.o s.o. n/c n.d n.d. nothing nonetype dbnull dbnull.value aucun aucune . ? "
    "?? ??? # * <id> %id% %unique_id% (auto) <auto> <generated> <dbnull>"
)
_PHRASES: Final = (
    "not available,to be determined,to come,à venir,en attente,sans objet,not enrolled,see office,no number,not issued,"
    "wird geladen..."
)
# What is left of a value of a programming language, of a template, or of a spreadsheet that a program read.
_OBJECTS: Final = (
    *(
        f"[object {kind}]"
        for kind in ("Object", "object", "Promise", "Array", "Undefined", "Null", "Function", "Window")
    ),
    *(f"System.{kind}" for kind in ("Object", "String", "String[]", "Int32", "Int64", "Guid", "Decimal", "DBNull")),
    *("System.Data.DataRow", "System.Data.DataRowView", "System.Byte[]"),
    *("NaN", "NaT", "NoneType", "1.#IND", "-1.#IND", "1.#INF", "1.#QNAN", "DBNull", "DBNull.Value"),
    *("ADPropertyValueCollection", "Microsoft.ActiveDirectory.Management.ADPropertyValueCollection"),
    *("System.Collections.ArrayList", "System.Collections.Hashtable", "System.Object[]"),
    *("Infinity", "-Infinity", "inf", "-inf", "nan(ind)", "-nan(ind)"),
    *(f"Error {number}" for number in (2000, 2007, 2015, 2023, 2029, 2036, 2042)),
    *("00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}"),
)
_TEMPLATES: Final = tuple(
    f"{before}{name}{after}"
    for name in ("unique_id", "UNIQUE_ID", "id", "student_id", "user_id")
    for before, after in (("[", "]"), ("{", "}"), ("<", ">"), ("$", ""), ("@", ""), (":", ""), ("#", "#"), ("%(", ")s"))
)


def _spelt(words: Iterable[str]) -> frozenset[str]:
    return frozenset(spelt for word in words for spelt in (word, word.upper(), word.capitalize(), word.title()))


NO_IDS: Final = _spelt((*_WORDS.split(), *_PHRASES.split(","))) | {*_OBJECTS, *_TEMPLATES}

# What could be the id of an account, but is rather in place of one.
_ZEROS: Final = tuple("0" * length for length in range(1, 16))
_NINES: Final = tuple("9" * length for length in range(6, 16))
_DOUBTFUL: Final = (
    "new nouveau temp test dummy default nd nc sample example exemple deleted duplicate invalid auto later ditto "
    "idem x xx 123456789 1234567890 0123456789"
)
DOUBTFUL_IDS: Final = _spelt(_DOUBTFUL.split()) | {*_ZEROS, *_NINES, "-1"}
SAMPLE_ID: Final = ATTRIBUTES["unique_id"].sample  # of the template
SUSPECT_IDS: Final = NO_IDS | DOUBTFUL_IDS | {SAMPLE_ID}

# Those that no person is called, and others that are in place of a name.
_NO_NAME_PHRASES: Final = (
    "tbd,tba,tbc,to be determined,undef,s/o,dbnull,aucun,aucune,vacant,(vacant),do not use,no first name,no last name,"
    "not provided,not given,not available,sans nom,à combler,poste vacant,"
    "first name,last name,first_name,last_name,firstname,lastname,given name,family name,surname,fname,lname,prénom,"
    "nom de famille,unknown unknown,none none,nan nan,nobody,anonymous,noname,administrator,"
    "asdf,qwerty,mr,mr.,ms.,mrs,mrs.,dr.,mme,mlle,jr.,sr.,iii,ph.d.,phd,female,inactive,deceased,withdrawn,inactif,décédé,"
    "décédée,baby boy,baby girl,oui,active,actif"
)
_IN_CAMEL_CASE: Final = frozenset(("FirstName", "LastName", "GivenName", "FamilyName", "firstName", "lastName"))
_TYPES: Final = tuple(each for each in _OBJECTS if each.startswith(("System.", "Microsoft.", "ADProperty", "DBNull")))
_NO_NAMES: Final = _spelt(_NO_NAME_PHRASES.split(",")) | {*_TYPES, "FNU", "LNU", "NFN", "NLN"} | _IN_CAMEL_CASE

# In place of numbers of people, and of phones.
_NO_NUMBERS: Final = NO_IDS | _spelt(("yes", "no", "oui", "non", "x", "xx")) | {*_ZEROS, *_NINES, "-1"}
_AREAS: Final = ("{0}{1}{2}", "{0}-{1}-{2}", "({0}) {1}-{2}", "{0}.{1}.{2}", "{0} {1} {2}", "{1}-{2}", "{1}{2}")
_NO_PHONES: Final = frozenset(
    front + form.format(digit * 3, digit * 3, digit * 4)
    for digit in "0123456789"
    for form in _AREAS
    for front in ("", "1", "1-", "+1", "+1 ", "+1-")
) | {form.format("123", "456", "7890") for form in _AREAS[:5]}

# Attribute -> what is in place of its value, but for the words that `characters` finds in all.
IN_PLACE_OF: Final = {
    **dict.fromkeys(("first_name", "last_name"), _NO_NAMES),
    **dict.fromkeys(("student_no", "employ_no"), _NO_NUMBERS),
    **dict.fromkeys(("phone_cell", "employee_phone", "student_phone"), _NO_NUMBERS | _NO_PHONES),
}
