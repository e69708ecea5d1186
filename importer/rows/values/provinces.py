"""Codes of Canadian provinces and territories, US states, territories and military regions, and what people write."""

from __future__ import annotations

import functools
import re
from typing import Final

from importer.attributes import folded

_CANADA: Final = {
    "AB": "Alberta",
    "BC": "British Columbia",
    "MB": "Manitoba",
    "NB": "New Brunswick",
    "NL": "Newfoundland and Labrador",
    "NS": "Nova Scotia",
    "NT": "Northwest Territories",
    "NU": "Nunavut",
    "ON": "Ontario",
    "PE": "Prince Edward Island",
    "QC": "Quebec",
    "SK": "Saskatchewan",
    "YT": "Yukon",
}
_UNITED_STATES: Final = {
    "AL": "Alabama",
    "AK": "Alaska",
    "AZ": "Arizona",
    "AR": "Arkansas",
    "CA": "California",
    "CO": "Colorado",
    "CT": "Connecticut",
    "DE": "Delaware",
    "DC": "District of Columbia",
    "FL": "Florida",
    "GA": "Georgia",
    "HI": "Hawaii",
    "ID": "Idaho",
    "IL": "Illinois",
    "IN": "Indiana",
    "IA": "Iowa",
    "KS": "Kansas",
    "KY": "Kentucky",
    "LA": "Louisiana",
    "ME": "Maine",
    "MD": "Maryland",
    "MA": "Massachusetts",
    "MI": "Michigan",
    "MN": "Minnesota",
    "MS": "Mississippi",
    "MO": "Missouri",
    "MT": "Montana",
    "NE": "Nebraska",
    "NV": "Nevada",
    "NH": "New Hampshire",
    "NJ": "New Jersey",
    "NM": "New Mexico",
    "NY": "New York",
    "NC": "North Carolina",
    "ND": "North Dakota",
    "OH": "Ohio",
    "OK": "Oklahoma",
    "OR": "Oregon",
    "PA": "Pennsylvania",
    "RI": "Rhode Island",
    "SC": "South Carolina",
    "SD": "South Dakota",
    "TN": "Tennessee",
    "TX": "Texas",
    "UT": "Utah",
    "VT": "Vermont",
    "VA": "Virginia",
    "WA": "Washington",
    "WV": "West Virginia",
    "WI": "Wisconsin",
    "WY": "Wyoming",
    "AS": "American Samoa",
    "GU": "Guam",
    "MP": "Northern Mariana Islands",
    "PR": "Puerto Rico",
    "VI": "US Virgin Islands",
    "UM": "US Minor Outlying Islands",
    "FM": "Micronesia",
    "MH": "Marshall Islands",
    "PW": "Palau",
    "AA": "Armed Forces Americas",
    "AE": "Armed Forces Europe",
    "AP": "Armed Forces Pacific",
}
# Codes and names that were right once, or are right in French or in speech.
_OTHER_WORDS: Final = {
    "PQ": "QC",
    "QUE": "QC",
    "NF": "NL",
    "NFLD": "NL",
    "Newfoundland": "NL",
    "Newfoundland & Labrador": "NL",
    "Labrador": "NL",
    "NWT": "NT",
    "PEI": "PE",
    "YK": "YT",
    "Yukon Territory": "YT",
    "ONT": "ON",
    "ALTA": "AB",
    "SASK": "SK",
    "MAN": "MB",
    "Colombie-Britannique": "BC",
    "Nouveau-Brunswick": "NB",
    "Nouvelle-Écosse": "NS",
    "Terre-Neuve-et-Labrador": "NL",
    "Terre-Neuve": "NL",
    "Île-du-Prince-Édouard": "PE",
    "Territoires du Nord-Ouest": "NT",
    "Territoire du Yukon": "YT",
    "C.-B.": "BC",
    "N.-É.": "NS",
    "T.-N.-L.": "NL",
    "Î.-P.-É.": "PE",
    "T.N.-O.": "NT",
    "Washington DC": "DC",
    "Alb.": "AB",
    "Nfld. & Lab.": "NL",
    "Territoires du N.-O.": "NT",
    "Ariz.": "AZ",
    "Calif.": "CA",
    "Colo.": "CO",
    "Conn.": "CT",
    "Fla.": "FL",
    "Ill.": "IL",
    "Mass.": "MA",
    "Mich.": "MI",
    "Minn.": "MN",
    "Penn.": "PA",
    "Tenn.": "TN",
    "Tex.": "TX",
    "Wash.": "WA",
    "Wis.": "WI",
    "Ind.": "IN",
    "N. Mex.": "NM",
    "Northwest Terr.": "NT",
    "Ore.": "OR",
    "Penna.": "PA",
    "W. Va.": "WV",
    "Californie": "CA",
    "Caroline du Nord": "NC",
    "Caroline du Sud": "SC",
    "Dakota du Nord": "ND",
    "Dakota du Sud": "SD",
    "Floride": "FL",
    "Géorgie": "GA",
    "Hawaï": "HI",
    "Louisiane": "LA",
    "Nouveau-Mexique": "NM",
    "Pennsylvanie": "PA",
    "Porto Rico": "PR",
    "Virgin Islands": "VI",
    "Virginie": "VA",
    "Virginie-Occidentale": "WV",
}
_COUNTRIES: Final = frozenset(map(folded, ("Canada", "USA", "United States", "États-Unis")))
_TWO_MEANINGS: Final = re.compile(r"T\.[ -]*N\.?", re.IGNORECASE)  # Terre-Neuve, or the code of Tennessee with dots
_BETWEEN: Final = re.compile(r"[,;/()\u2013]| - ")

_DIGIT: Final = re.compile(r"\d")

CODES: Final = frozenset(_CANADA) | frozenset(_UNITED_STATES)
_BY_WORD: Final = {
    **{folded(name): code for code, name in (*_UNITED_STATES.items(), *_CANADA.items())},
    **{folded(f"CA-{code}"): code for code in _CANADA},  # ISO 3166-2
    **{folded(f"US-{code}"): code for code in _UNITED_STATES},
    **{folded(word): code for word, code in _OTHER_WORDS.items()},
    **{folded(code): code for code in CODES},  # "B.C."
}


@functools.lru_cache(1000)
def code_meant(text: str) -> str:
    """Return the code that a name or an old code means, "" for none: "Ontario (ON)", "Ontario, Canada"."""
    if _DIGIT.search(text):  # most of what is wrong has one
        return ""
    parts = _BETWEEN.split(text)
    if any(_TWO_MEANINGS.fullmatch(part.strip()) for part in (text, *parts)):
        return ""
    if code := _BY_WORD.get(folded(text), ""):
        return code
    codes = {_BY_WORD.get(part, "") for part in {*map(folded, parts)} - {""} - _COUNTRIES}
    return codes.pop() if len(codes) == 1 else ""
