"""Which attribute an unknown column probably has. If unsure, none: people follow the proposal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from importer import attributes
from importer.attributes import folded
from importer.patterns import regex

# What is written next to a name: [Required], (YYYY-MM-DD), (max. 50 characters), *.
_REMARK: Final = regex(
    r"\s+-\s+(?:required|mandatory|optional|obligatoire|requise?|facultati(?:f|ve))\Z"
    r"|\s*:\s*(?:string|text|varchar|char|int|integer|date)\Z|\s*[\[({<]\s*(?:\d+|required|mandatory|optional|obligatoire|requise?|facultati(?:f|ve)|mobile|cell(?:ulaire)?|text"
    r"|[YMDJA]{1,4}(?:[-/. ]?[YMDJA]{1,4}){2}|max\.?\s*\d+[\w\s]*|\d+\s*(?:chars|characters|caractères))\s*[\])}>]"
    r"|\s\[(?-i:[a-z]+(?:[A-Z][a-z]+)*)\](?:\s+required)?\Z"  # Entra: Email [mail]
    r"|\s+(?:n?(?:var)?char2?|number|text)\s*\(\d+\)\Z|__c\Z"
    r"|[\s*:]+\Z",
    re.IGNORECASE,
)
_FIELD_NUMBER: Final = regex(r"\A(?:\[\d+\]|\d+[.)])\s*")  # the first form is of PowerSchool
_BRACKETS_OF_SQL: Final = regex(r"\A\[.+\]\.\[.+\]\Z")
# Numbers that SSRS adds to names, of what nobody has two of: an email2 could be another address.
_REPORT_NUMBER: Final = regex(r"(?<=[a-z_])1\Z|(?<=(?:e_id|urce|name))\d\Z")
# A word for the people in front of a name.
_PREFIX: Final = regex(
    r"\A(?:users?|usr|u|student|stu|pupil|employee|emp|staff|person|member|payroll)[_ .](?!source)", re.IGNORECASE
)
# The table of a column, if it is one of the users themselves, not of their parents or schools.
_OF_USERS: Final = regex(
    r"(?:(?!.*(?:parent|guardian|mother|father|contact|manager|supervisor|advisor|spouse|emergency|p[èe]re|m[èe]re|tuteur))"
    r".*\.)?(?:students?|teachers?|staff|users?|persons?|people|individuals?|employees?|members?|u_\w+|(?-i:[a-z])(?=\.\S))\.\s*"
    r"|(?:spriden|spraddr|spbpers|goremal|gobtpac)_",  # Banner
    re.IGNORECASE,
)
# Names of Canvas, OneRoster, Clever, Okta, PowerSchool, Infinite Campus, Salesforce, Banner, Entra and Google that no
# attribute has among those near to it. Names that have another meaning in another of them are left out.
_FOREIGN: Final = {
    **dict.fromkeys(
        ("bannerid", "personid", "permid", "emplid", "stdidlocal", "externalpersonkey", "orgdefinedid", "idnumber"),
        "unique_id",
    ),
    **dict.fromkeys(("sisuserid", "sisid", "uniqueuserid", "personnumber", "personnelnumber", "pernr"), "unique_id"),
    **dict.fromkeys(("vorna", "legalgivenname"), "first_name"),
    **dict.fromkeys(("nachn", "legalsurname"), "last_name"),
    **dict.fromkeys(("correo", "courrielinstitutionnel", "businessemail", "primarysmtpaddress"), "email"),
    **dict.fromkeys(("gbdat", "datenaissance"), "date_of_birth"),
    **dict.fromkeys(("telcellulaire", "cellnumber", "mobileno", "cellno", "nocellulaire"), "phone_cell"),
    "stras": "street",
    "ort01": "city",
    "stateorprovince": "province",
    **dict.fromkeys(("pstlz", "postal", "ziporpostalcode"), "postal_code"),
    "sisloginid": "user_name",
    **dict.fromkeys(("fiche", "nofiche", "codepermanent", "matricula", "schulernummer"), "unique_id"),
    **dict.fromkeys(("psnnamefirst", "prenomdeleleve", "prenoms", "vorname"), "first_name"),
    **dict.fromkeys(("psnnamelast", "nomdeleleve", "nomdefamille", "nachname", "apellido", "apellidos"), "last_name"),
    **dict.fromkeys(("psnemail01", "courrieldeleleve", "adressedemessagerie", "correoelectronico"), "email"),
    **dict.fromkeys(("primaryworkemail", "workemail", "schoolemail"), "email"),
    **dict.fromkeys(("psndob", "geburtsdatum", "fechadenacimiento"), "date_of_birth"),
    **dict.fromkeys(("telephonemobile", "telephonecellulaire", "telefonomovil"), "phone_cell"),
    **dict.fromkeys(("voornaam", "nombres"), "first_name"),
    **dict.fromkeys(("achternaam", "sobrenome", "cognome"), "last_name"),
    **dict.fromkeys(("emailadresse", "mailadresse", "emailadres"), "email"),
    **dict.fromkeys(("benutzername", "anmeldename", "gebruikersnaam"), "user_name"),
    **dict.fromkeys(("matrikelnummer", "studentnummer"), "student_no"),
    "personalnummer": "employ_no",
    **dict.fromkeys(("strasse", "calle"), "street"),
    **dict.fromkeys(("stadt", "ciudad"), "city"),
    **dict.fromkeys(("plz", "postleitzahl", "codigopostal"), "postal_code"),
    **dict.fromkeys(("handynummer", "mobiltelefon"), "phone_cell"),
    "externaluser": "user_name",
    "login": "user_name",
    "loginid": "user_name",
    "samaccountname": "user_name",
    "userprincipalname": "user_name",
    "legalfirstname": "first_name",
    "legallastname": "last_name",
    "sn": "last_name",
    "emailaddr": "email",
    "primaryemail": "email",
    "staffemail": "email",
    "studentemail": "email",
    "teacheremail": "email",
    "useremail": "email",
    "addressline1": "street",
    "streetaddress": "street",
    "streetline1": "street",
    "studentstreet": "street",
    "studentcity": "city",
    "provincestate": "province",
    "stateprovince": "province",
    "statcode": "province",
    "studentstate": "province",
    "studentzip": "postal_code",
    "zippostalcode": "postal_code",
    "cellphonenumber": "phone_cell",
    "mobilenumber": "phone_cell",
    "mobilephonenumber": "phone_cell",
    "sms": "phone_cell",
    "employeeid": "employ_no",
    "teachernumber": "employ_no",
}
# What is one letter away from a name and means something else.
_OTHERS: Final = regex(r"employer|pronom\Z|sourceid\Z")
# The same for a letter that is a word: Email P, M_Mobile, emailF may be of parents.
_LETTER: Final = regex(r"[A-Za-z][\W_]|.*(?:[\W_][A-Za-z]|[a-z][A-Z])[\W_]*\Z")
_TEACHERS: Final = ("teacher", "staff")
_STUDENTS: Final = ("student", "pupil", "stu", "élève", "eleve")
_NUMBERS: Final = ("student_no", "employ_no")
_MISREAD_MARK: Final = "\xef\xbb\xbf"  # the byte order mark of UTF-8, as Windows-1252 has it
_NO_BRACKETS: Final = str.maketrans("", "", "[]")
_COMPARED_CHARS: Final = 100  # of a name: to search one of 64 KiB for remarks would take minutes


def nearest(name: str) -> str:
    """Return the possible name that a column most likely means, "" when none is similar."""
    name = name[:_COMPARED_CHARS].removeprefix(_MISREAD_MARK)
    if _BRACKETS_OF_SQL.match(name):
        name = name.translate(_NO_BRACKETS)
    plain = _FIELD_NUMBER.sub("", name)
    for each in dict.fromkeys((name, plain, _REMARK.sub("", plain))):
        if meant := _nearest(each):
            return meant
        if (of_users := _OF_USERS.match(each)) and (meant := _nearest(each[of_users.end() :])):
            return meant
    return _without_additions(_REMARK.sub("", plain))


def _without_additions(name: str) -> str:
    """Return the possible name that is left of one without what a report or an export added to it, "" if none."""
    others = (_REPORT_NUMBER.sub("", name), _PREFIX.sub("", name), name.replace("#", " number"))
    return next((meant for other in others if other != name and (meant := attributes.known(folded(other)))), "")


def identifying(proposed: dict[str, str]) -> list[str]:
    """Return the names among the proposals whose number could identify the users, the likely ones if there are such."""
    names = [name for name, expected in proposed.items() if expected in _NUMBERS]
    ids = [name for name in names if folded(name).endswith("id")]  # Student ID rather than Student Number
    return ids or names


def are_of_others(name: str, names: Iterable[str]) -> bool:
    """Tell whether a column is about the teachers of students, whom the other names are about."""
    return name.casefold().startswith(_TEACHERS) and any(each.casefold().startswith(_STUDENTS) for each in names)


def _nearest(name: str) -> str:
    plain = folded(name)
    if known := _FOREIGN.get(plain, "") or attributes.known(plain):
        return known
    return "" if _OTHERS.match(plain) or _LETTER.match(name) else attributes.mistyped(plain)
