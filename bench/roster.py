"""
Makes a roster like that of a large Canadian school board: names from many places, and people whose name looks wrong.

Nothing in it is wrong, so that a warning about it is a false alarm. The same for the same seed:
`python -m bench.roster ROWS FILE`.
"""

from __future__ import annotations

import csv
import random
import sys
import unicodedata
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import msgspec

SEED: Final = 20261129
COLUMNS: Final = (
    *("unique_id", "login_source", "first_name", "last_name", "user_name", "email", "street", "city", "province"),
    *("postal_code", "street2", "phone_cell", "student_no", "employ_no", "date_of_birth", "driver_licence_num"),
)


class _Names(msgspec.Struct, frozen=True):
    """Names of one origin, and how many in a thousand people have them."""

    share: int
    first: tuple[str, ...]
    last: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.replace("_", " ") for word in text.split())


_ORIGINS: Final = (
    _Names(
        250,
        _words(
            "Emma Olivia Charlotte Amelia Ava Sophie Mia Isla Liam Noah Oliver James William Lucas Ethan Jack Owen May "
            "April June August Dawn Faith Hope Joy Grace Rose Will Mark Bill Art Rich Frank Guy Chase Hunter Page "
            "Precious Major Mary-Jane J. J.P. Anna_Lee T.J. Ann_Marie DeShawn LaToya McKenzie D'Andre"
        ),
        _words(
            "Smith Brown Wilson MacDonald McDonald Campbell Taylor Thompson Young King Long Short Street Park "
            "Hill Lake "
            "Church Parish Ontario Quebec London Ottawa March Day Weeks Friday Winter Page Row Total Count "
            "Sum Case Box "
            "Test Tester Grand Post Bond Price Cash Blank Nemo Void Noe Smith-Jones Van_Dyke "
            "St._John St-John de_la_Cruz Jones_Jr. Davis_III Fox Rice Berry Appleton"
        ),
    ),
    _Names(
        230,
        _words(
            "Zoé Chloé Léa Éloïse Noémie Maël Noël Joël Anaïs Loïc Gaël François Françoise Jean-François Marie-Ève "
            "Benoît Aurélie Jérôme Hélène Irène Amélie Étienne Émile Thérèse Océane Célestine Maïté Raphaëlle Cléa "
            "Jean Marie Pierre Luc Guy Yves Anne-Sophie Marc-André Zacharie Ludovic"
        ),
        _words(
            "Tremblay Côté Lévesque Bélanger Gagné Pelletier Bouchard Gauthier Fréchette Lefèbvre Lebœuf Cœur "
            "Châtelain "
            "Maîtrejean L'Écuyer L'Heureux D'Amours d'Anjou De_La_Durantaye Saint-Onge St-Pierre Ste-Marie La_Rochelle "
            "Le_Blanc Du_Pré Thériault Dépatie Hébert Goyette-Côté Ouellet_dit_Lavoie Août Où Daoust Ÿvon"
        ),
    ),
    _Names(
        70,
        _words("Siobhán Seán Aoife Niamh Pádraig Órla Ciarán Róisín Caoimhe Eoin Tadhg Fionnuala Dáithí Áine"),
        _words(
            "O'Brien O'Connor O’Neill O'Shea Ó_Súilleabháin Ní_Bhriain Mac_Giolla_Phádraig MacGowan Fitzgerald "
            "O'Malley-Byrne Nic_Dhonnchadha Uí_Dhálaigh"
        ),
    ),
    _Names(
        90,
        _words("Minh Thị_Mai Văn_An Ngọc_Ánh Hữu_Đức Thanh_Tâm Quốc_Bảo Mỹ_Linh Ái_Vân Ân Đào Yến Như_Ý Khánh_Vy Sơn"),
        _words("Nguyễn Trần Lê Phạm Huỳnh Phan Vũ Võ Đặng Bùi Đỗ Hồ Ngô Dương Lý Âu Ông Nguyen Ngo Ho Do Vo Ly O"),
    ),
    _Names(
        90,
        _words("محمد فاطمة أحمد عائشة يوسف مريم Mohammed Fatima Ahmad A'isha Yūsuf Maryam Abd_al-Rahman Nour Ali Al"),
        _words("العلي حسن بن_سعيد عبد_الله Al-Ali Hassan Ben_Saïd Abdullah El-Khoury Al_Sayed Bin_Laith Ba Aït_Ouali"),
    ),
    _Names(
        110,
        _words(
            "伟 芳 娜 秀英 建国 Wei Fang Na Xiu-Ying Jianguo Xiaoming Yu Li An E Ai Lü Nü-er Ka-Ho Chi_Wai Siu_Ming"
        ),
        _words(
            "王 李 张 刘 欧阳 司马 Wang Li Zhang Liu Ouyang Ng Wu Hu He She Ma Mu Yi U O E Au-Yeung Szeto Lo Mo So Ho"
        ),
    ),
    _Names(
        60,
        _words(
            "Priya Arjun Sri Venkata_Sai Harpreet Gurpreet Jaspreet Aarav Diya Om Jin-ho Min-seo 지우 さくら 健太 Ye"
        ),
        _words(
            "Singh Kaur Patel Kumar Das Rao Pillai Venkataraman Krishnamurthy Om Na Kim Lee Park 김 佐藤 Oo Aung Win"
        ),
    ),
    _Names(
        60,
        _words(
            "José María João Ângela Íñigo Núria Ñusta Zuleýka Łukasz Żaneta Šárka Žofie Håkon Åse Øyvind Þóra "
            "Ægir Jürgen"
        ),
        _words(
            "Muñoz Peña García-López São_João dos_Santos Conceição Müller Groß Wałęsa Świątek Dvořák Šťastný Ångström "
            "Åberg Øster Þorsteinsdóttir van_der_Berg 's-Gravendijk in_'t_Veld von_und_zu_Guttenberg Đorđević "
            "Ğürel Ilić"
        ),
    ),
    _Names(
        40,
        _words("Иван Ольга Юлія Γιώργος Ελένη אברהם שרה አበበ ማርያም Nʼgolo Ka‘imi Keʻalohi Kwame Ama Xólotl Siła-Łucja"),
        _words(
            "Иванова Петренко Παπαδόπουλος כהן לוי ተስፋዬ N'Diaye N’Guessan Kealoha Mbeki Qitsualik Tłı̨chǫ Nēhiyaw Okpik"
        ),
    ),
)
# One person in 2,500 has such a name.
_RARE: Final = (
    *(
        ("Jennifer", "Null"),
        ("True", "Nguyen"),
        ("Jean", "None"),
        ("Nil", "Roy"),
        ("Nan", "Li"),
        ("O", "Ng"),
        ("Yes", "Do"),
    ),
    *(("False", "Okafor"), ("Rob", "Total"), ("X", "A"), ("Na", "Ba"), ("Infinity", "Test")),
)
_TOWNS: Final = (
    *(("Ottawa", "ON", "K1A"), ("Toronto", "ON", "M5V"), ("Montréal", "QC", "H2X"), ("Québec", "QC", "G1R")),
    *(("Saint-Louis-du-Ha! Ha!", "QC", "G0L"), ("Trois-Rivières", "QC", "G9A"), ("L'Île-Dorval", "QC", "H9S")),
    *(("St. John's", "NL", "A1C"), ("100 Mile House", "BC", "V0K"), ("Delta", "BC", "V4C"), ("Iqaluit", "NU", "X0A")),
    *(
        ("Sault Ste. Marie", "ON", "P6A"),
        ("Charlottetown", "PE", "C1A"),
        ("Regina", "SK", "S4P"),
        ("Ontario", "ON", "L1A"),
    ),
)
_STREETS: Final = (
    *("Main St", "Queen St W", "King Edward Ave", "rue de l'Église", "boul. René-Lévesque", "ch. Sainte-Foy", "Hwy 7"),
    *("Concession Rd 5", "1re Avenue", "rang Saint-Joseph", "C.P.", "P.O. Box", "RR#2", "Côte-des-Neiges", "10th Line"),
)
_SECOND: Final = ("", "", "", "", "Apt 4", "Unit 12-B", "app. 3", "c/o Ms. Lee", "2e étage", "#5", "1/2", "Bsmt")
_DOMAINS: Final = ("board.example.org", "eleve.ecole.example.org", "mail.example.com", "gmail.example.net")
_EPOCH: Final = date(1945, 1, 1)


def people(rows: int, seed: int = SEED) -> Iterator[list[str]]:
    """Yield the cells of each person, in the order of COLUMNS."""
    dice = random.Random(seed)  # noqa: S311 - data for tests
    for number in range(rows):
        yield _person(number, dice)


def _person(number: int, dice: random.Random) -> list[str]:
    origin = dice.choices(_ORIGINS, [each.share for each in _ORIGINS])[0]
    first, last = dice.choice(origin.first), dice.choice(origin.last)
    if dice.random() < 1 / 2500:
        first, last = dice.choice(_RARE)
    if dice.random() < 0.02:  # noqa: PLR2004 - as some systems send them
        first, last = first.upper(), last.upper()
    if dice.random() < 0.03:  # noqa: PLR2004
        last = f"{last}-{dice.choice(dice.choice(_ORIGINS).last)}"
    town, province, area = dice.choice(_TOWNS)
    street = f"{dice.choice(('', '', '12-'))}{dice.randrange(1, 9000)} {dice.choice(_STREETS)}"
    born = _EPOCH + timedelta(days=dice.randrange(27_000))
    is_staff = dice.random() < 0.1  # noqa: PLR2004
    login = f"{_plain(first)[:3]}{_plain(last)[:8]}{number}"
    return [
        f"{'E' if is_staff else 'S'}{number:06d}" if number % 3 else f"{300_000_000 + number * 10}",
        "OPSCOM",
        first,
        last,
        login,
        f"{_plain(first) or 'x'}{dice.choice('._-+')}{_plain(last) or 'y'}{number}@{dice.choice(_DOMAINS)}",
        street,
        town,
        province,
        f"{area} {dice.randrange(10)}{dice.choice('ABCEGHJ')}{dice.randrange(10)}",
        dice.choice(_SECOND),
        dice.choice(
            (
                "",
                f"613-555-{number % 10_000:04d}",
                f"(819) 555-{number % 10_000:04d}",
                f"+1 416 555 {number % 10_000:04d}",
            )
        ),
        "" if is_staff else f"{dice.randrange(10**8):09d}",
        f"{dice.randrange(10**5)}" if is_staff else "",
        f"{born:%Y-%m-%d}",
        f"{_plain(last)[:1].upper() or 'X'}{dice.randrange(10**4):04d}-{dice.randrange(10**5):05d}" if is_staff else "",
    ]


def _plain(name: str) -> str:
    """Return what a school makes of a name for an address."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return "".join(letter for letter in letters if letter.isalnum())


def write_file(path: Path, rows: int) -> None:
    """Write a file of `rows` people."""
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(COLUMNS)
        writer.writerows(people(rows))


if __name__ == "__main__":
    write_file(Path(sys.argv[2]), int(sys.argv[1]))
