"""What each column of a file of users is for, as the guide tells a client."""

from __future__ import annotations

from typing import Final

from importer.wording.template import Template

COLUMNS: Final[dict[str, Template]] = {
    key: Template(text)
    for key, text in {
        "column/unique_id": "What identifies the user in your system, such as a student or employee number. It never "
        "changes. Capitals and leading zeros count.",
        "column/login_source": "How the user signs in.",
        "column/first_name": "First name.",
        "column/last_name": "Last name.",
        "column/user_name": "Name that the user signs in with. No two users may have the same.",
        "column/email": "E-mail address. No two users may have the same.",
        "column/street": "Street and number.",
        "column/city": "City.",
        "column/province": "Province, territory or state as a two-letter code, such as ON.",
        "column/postal_code": "Postal code or ZIP code.",
        "column/street2": "Second address: street and number.",
        "column/city2": "Second address: city.",
        "column/province2": "Second address: province, territory or state as a two-letter code.",
        "column/postal_code2": "Second address: postal code or ZIP code.",
        "column/phone_cell": "Mobile telephone number.",
        "column/user_type_id": "Type of the user, a number.",
        "column/employ_no": "Employee number.",
        "column/employee_phone": "Telephone number at work.",
        "column/student_phone": "Telephone number of the student.",
        "column/student_no": "Student number.",
        "column/driver_licence_num": "Number of the driver's licence.",
        "column/driver_licence_prov": "Province, territory or state of the driver's licence as a two-letter code.",
        "column/date_of_birth": "Date of birth: year, month and day, such as 2001-05-23.",
        "column/locker_user_type_id": "Type of the user for lockers, a number.",
        "column:value": "Enter {value}.",
        "column:values": "Possible values: {values}.",
        "column:blank": "If the cell is blank, a new user gets {value}.",
        "column:or": "{name} or {also}",
    }.items()
}
