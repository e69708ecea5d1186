"""The one table of attributes: possible header names, limits and rules; everything else is derived from it."""

from __future__ import annotations

import enum
import unicodedata
from typing import Final

import msgspec


class Rule(enum.Enum):
    """How the value of an attribute is judged, beyond its length."""

    TEXT = "free text"
    KEY = "the key of the user; case-sensitive"
    LOGIN_SOURCE = "one of the configured login sources"
    USER_NAME = "unique per client, whatever the case"
    EMAIL = "a valid address, unique per client, whatever the case"
    PROVINCE = "code of a Canadian province or territory, or of a US state, territory or military region; any case"
    USER_TYPE = "digits; one of the configured user types, when any are configured"
    LOCKER_TYPE = "digits; one of the configured locker types, when any are configured"
    DATE = "YYYY-MM-DD, a real day from 1900 to today"
    STATUS = "one of the client's words for who is active and who has left"


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    """One thing known of a user. Its name is also the database column."""

    name: str
    limit: int  # characters
    rule: Rule = Rule.TEXT
    also: str = ""  # a second possible header name
    near: tuple[str, ...] = ()  # names people write instead, for "did you mean"
    sample: str = ""  # for the template
    is_personal: bool = False  # its values are quoted only in the failed CSV

    @property
    def names(self) -> tuple[str, ...]:
        """Return the possible header names; the first non-blank cell in this order counts."""
        return (self.name, self.also) if self.also else (self.name,)


_TABLE: Final = (
    Attribute(
        name="unique_id",
        limit=50,
        rule=Rule.KEY,
        near=("UserUUID", "uuid", "id", "userid", "uid", "matricule", "identifiant", "sourcedid"),
        sample="S0012345",
    ),
    Attribute(name="login_source", limit=20, rule=Rule.LOGIN_SOURCE, near=("source",), sample="OPSCOM"),
    Attribute(name="first_name", limit=50, near=("given_name", "forename", "fname", "prénom", "first"), sample="Zoé"),
    Attribute(
        name="last_name",
        limit=50,
        near=("surname", "family_name", "lname", "nom", "nom_de_famille", "last"),
        sample="Tremblay",
    ),
    Attribute(
        name="user_name", limit=50, rule=Rule.USER_NAME, near=("login_name", "nom_utilisateur"), sample="ztremblay"
    ),
    Attribute(
        name="email",
        limit=100,
        rule=Rule.EMAIL,
        near=("e_mail", "mail", "email_address", "courriel", "adresse_courriel"),
        sample="zoe.tremblay@example.org",
    ),
    Attribute(name="street", limit=255, near=("address", "street1", "address1", "adresse", "rue"), sample="1 Main St"),
    Attribute(name="city", limit=50, near=("town", "ville"), sample="Ottawa"),
    Attribute(name="province", limit=2, rule=Rule.PROVINCE, also="state", near=("prov",), sample="ON"),
    Attribute(name="postal_code", limit=20, also="zip", near=("postcode", "zip_code", "code_postal"), sample="K1A 0B1"),
    Attribute(name="street2", limit=20, near=("address2", "adresse2", "rue2")),
    Attribute(name="city2", limit=50, near=("ville2",)),
    Attribute(name="province2", limit=2, rule=Rule.PROVINCE, also="state2", near=("prov2",)),
    Attribute(name="postal_code2", limit=20, also="zip2", near=("postcode2", "code_postal2")),
    Attribute(
        name="phone_cell",
        limit=20,
        near=("cell_phone", "mobile", "cell", "cellphone", "mobile_phone", "cellulaire", "telephone_cellulaire"),
    ),
    Attribute(name="user_type_id", limit=20, rule=Rule.USER_TYPE, near=("UserTypeID", "user_type")),
    Attribute(name="employ_no", limit=50, near=("employee_no", "employee_number", "emp_no", "no_employe")),
    Attribute(name="employee_phone", limit=20, near=("work_phone", "office_phone")),
    Attribute(name="student_phone", limit=20, near=("home_phone",)),
    Attribute(name="student_no", limit=50, near=("student_number", "student_id", "no_etudiant")),
    Attribute(
        name="driver_licence_num",
        limit=50,
        is_personal=True,
        also="driver_license_num",
        near=("driver_licence_number", "driver_license_number", "drivers_licence", "drivers_license", "licence_num"),
    ),
    Attribute(
        name="driver_licence_prov",
        limit=2,
        rule=Rule.PROVINCE,
        also="driver_license_state",
        near=("driver_licence_state", "driver_license_prov", "driver_licence_province"),
    ),
    Attribute(
        name="date_of_birth",
        limit=10,
        is_personal=True,
        rule=Rule.DATE,
        near=("dob", "birth_date", "birthdate", "birthday", "date_de_naissance"),
        sample="2001-05-23",
    ),
    Attribute(name="locker_user_type_id", limit=20, rule=Rule.LOCKER_TYPE, near=("LockerUserTypeID", "locker_type")),
)

ATTRIBUTES: Final[dict[str, Attribute]] = {attribute.name: attribute for attribute in _TABLE}
# The status column of a client, see `StatusSettings`: no attribute, but who says that a user is inactive.
STATUS: Final = Attribute(name="inactive_by", limit=50, rule=Rule.STATUS)
ACTIVE: Final = "active"
INACTIVE: Final = "inactive"
COLUMNS: Final = {**ATTRIBUTES, STATUS.name: STATUS}  # what a column of a file can be
POSSIBLE_NAMES: Final[dict[str, Attribute]] = {name: attribute for attribute in _TABLE for name in attribute.names}

# Accepted in a header, never stored, never sent back: the OPS-COM template of old carried it.
TOKEN_NAME: Final = "apiToken"  # noqa: S105 - the name of a column
REPORT_NAMES: Final = ("import_line", "import_code", "import_field", "import_reason")

REQUIRED_CODES: Final = {
    "unique_id": "9013",
    "login_source": "9014",
    "email": "9016",
    "first_name": "9017",
    "last_name": "9018",
}


def folded(name: str) -> str:
    """Return a header name without case, accents, blanks, hyphens and underscores."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", name).casefold()))


_FOLDED: Final[dict[str, str]] = {
    **{folded(near): attribute.name for attribute in _TABLE for near in attribute.near},
    **{folded(name): name for name in POSSIBLE_NAMES},
}
_FOLDED_EXACT: Final[dict[str, str]] = {folded(name): name for name in POSSIBLE_NAMES}
_SECRETS: Final = {
    "passwords": ("password", "passwd", "passwort", "motdepasse", "contrasena", "kennwort", "pwd", "passphrase"),
    "tokens": ("apitoken", "authtoken", "accesstoken", "apikey"),
}
_MISTYPED_CHARS: Final = 5  # of a name at least
_SHORT_SECRETS: Final = (
    "pass",
    "pin",
    "pw",
    "userpw",
    "initialpw",
    "secret",
    "gobtpacpin",
)  # passwords, if the name is no more


def same_but_for_spelling(name: str) -> str:
    """Return the possible name that `name` equals but for case, accents, blanks, hyphens; "" if none."""
    return _FOLDED_EXACT.get(folded(name), "")


def nearest(name: str) -> str:
    """Return the possible name that `name` most likely means, "" when nothing is near."""
    plain = folded(name)
    return known(plain) or mistyped(plain)


def known(plain: str) -> str:
    """Return the possible name that people mean by a folded name, "" if none."""
    return _FOLDED.get(plain, "")


def mistyped(plain: str) -> str:
    """Return the possible name of which a folded name is most likely a misspelling, "" when nothing is near."""
    return next((_FOLDED[key] for key in _FOLDED if is_mistyped(plain, key)), "")


def is_mistyped(name: str, right: str) -> bool:
    """Tell whether one letter of a folded name is missing, surplus, another or exchanged with the next."""
    shorter, longer = sorted((name, right), key=len)
    # Short names mean something else with another letter, and all names with another digit or in the plural.
    if len(shorter) < _MISTYPED_CHARS or len(longer) - len(shorter) > 1 or name[0] != right[0] or name == right + "s":
        return False
    if [*filter(str.isdigit, name)] != [*filter(str.isdigit, right)]:
        return False
    at = next((place for place, (one, other) in enumerate(zip(shorter, longer, strict=False)) if one != other), -1)
    if len(shorter) < len(longer):
        return shorter[at:] == longer[at + 1 :] if at >= 0 else True
    is_exchanged = shorter[at : at + 2] == longer[at : at + 2][::-1] and shorter[at + 2 :] == longer[at + 2 :]
    return is_exchanged or (len(shorter) > _MISTYPED_CHARS and shorter[at + 1 :] == longer[at + 1 :])


def secrets_in(name: str) -> str:
    """Return which secrets, "passwords" or "tokens", a column of this name holds; "" if none."""
    plain = folded(name)
    if plain in _SHORT_SECRETS:
        return "passwords"
    return next((secrets for secrets, words in _SECRETS.items() if any(word in plain for word in words)), "")
