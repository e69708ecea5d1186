"""What is proposed for the names of other systems: the right attribute, or none."""

from __future__ import annotations

from typing import Final

import pytest

from importer.attributes import POSSIBLE_NAMES
from importer.file.proposals import nearest
from importer.model import message
from tests.engine import Engine

# Names as each system exports them, and the attribute that has their data; "" for none.
SYSTEMS: Final[dict[str, dict[str, str]]] = {
    "Canvas": {
        "user_id": "unique_id",
        "login_id": "user_name",
        "first_name": "first_name",
        "email": "email",
        **dict.fromkeys(("integration_id", "full_name", "sortable_name", "short_name", "status", "pronouns"), ""),
        **dict.fromkeys(("authentication_provider_id", "declared_user_type", "homeroom_user"), ""),
    },
    "OneRoster": {
        "sourcedId": "unique_id",
        "username": "user_name",
        "givenName": "first_name",
        "familyName": "last_name",
        "email": "email",
        "sms": "phone_cell",
        "birthDate": "date_of_birth",
        **dict.fromkeys(("status", "dateLastModified", "enabledUser", "orgSourcedIds", "role", "userIds"), ""),
        **dict.fromkeys(("middleName", "identifier", "phone", "agentSourcedIds", "grades", "sex"), ""),
        **dict.fromkeys(("userMasterIdentifier", "preferredGivenName", "preferredLastName", "resourceSourcedIds"), ""),
    },
    "Clever": {
        "Student_number": "student_no",
        "Last_name": "last_name",
        "First_name": "first_name",
        "DOB": "date_of_birth",
        "Student_street": "street",
        "Student_city": "city",
        "Student_state": "province",
        "Student_zip": "postal_code",
        "Student_email": "email",
        "Teacher_email": "email",
        "Username": "user_name",
        **dict.fromkeys(("School_id", "State_id", "State_teacher_id", "Middle_name", "Grade", "Gender", "Title"), ""),
        **dict.fromkeys(("Contact_name", "Contact_phone", "Contact_email", "Contact_type", "Race", "Ell_status"), ""),
    },
    "Okta": {
        "login": "user_name",
        "firstName": "first_name",
        "mobilePhone": "phone_cell",
        "streetAddress": "street",
        "state": "province",
        "zipCode": "postal_code",
        "employeeNumber": "employ_no",
        **dict.fromkeys(("middleName", "displayName", "nickName", "secondEmail", "primaryPhone", "countryCode"), ""),
        **dict.fromkeys(("honorificPrefix", "profileUrl", "postalAddress", "locale", "costCenter", "managerId"), ""),
    },
    "PowerSchool": {
        "[01]Student_Number": "student_no",
        "Students.Student_Number": "student_no",
        "Students.First_Name": "first_name",
        "[1]Last_Name": "last_name",
        "Students.DOB": "date_of_birth",
        "Students.Street": "street",
        "Students.Zip": "postal_code",
        "U_DEF.Email": "email",
        "U_StudentsUserFields.student_email": "email",
        "Teachers.TeacherNumber": "employ_no",
        "Users.Email_Addr": "email",
        **dict.fromkeys(("Students.DCID", "LastFirst", "Students.Mailing_Street", "Students.SchoolID", "Mother"), ""),
        **dict.fromkeys(("Grade_Level", "Enroll_Status", "EntryDate", "Guardianemail", "Emerg_Phone_1"), ""),
        **dict.fromkeys(("Schools.City", "Contacts.Email", "Students.Student_Web_ID", "Home_Room"), ""),
    },
    "Infinite Campus": {
        "student.personID": "unique_id",
        "student.studentNumber": "student_no",
        "student.lastName": "last_name",
        "student.birthdate": "date_of_birth",
        "student.cellPhone": "phone_cell",
        "individual.email": "email",
        **dict.fromkeys(("student.stateID", "student.grade", "student.homeroomTeacher", "contacts.cellPhone"), ""),
        **dict.fromkeys(("guardian.email", "cal.name", "sch.city", "student.middleName"), ""),
    },
    "Salesforce": {
        "Id": "unique_id",
        "Username": "user_name",
        "FirstName": "first_name",
        "MobilePhone": "phone_cell",
        "Birthdate": "date_of_birth",
        "Zip/Postal Code": "postal_code",
        "State/Province": "province",
        "EmployeeNumber": "employ_no",
        **dict.fromkeys(("Name", "Salutation", "AccountId", "OwnerId", "OtherPhone", "Phone", "LeadSource"), ""),
        **dict.fromkeys(("CreatedDate", "Department", "Alias", "CommunityNickname", "OtherCity"), ""),
    },
    "Aspen": {
        "STD_ID_LOCAL": "unique_id",
        "PSN_NAME_FIRST": "first_name",
        "PSN_NAME_LAST": "last_name",
        "PSN_EMAIL_01": "email",
        "PSN_DOB": "date_of_birth",
        **dict.fromkeys(("STD_HOMEROOM", "STD_GRADE_LEVEL", "PSN_GENDER_CODE"), ""),
    },
    "Mozaïk": {
        "Code permanent": "unique_id",
        "Nom de l'élève": "last_name",
        "Prénom de l'élève": "first_name",
        "Courriel de l'élève": "email",
        **dict.fromkeys(("Groupe-repère", "Courriel du parent", "Nom du père", "École"), ""),
    },
    "PeopleSoft": {
        "EMPLID": "unique_id",
        "FIRST_NAME": "first_name",
        "EMAIL_ADDR": "email",
        "NAME": "",
        "ACAD_PROG": "",
    },
    "Banner": {
        "SPRIDEN_ID": "unique_id",
        "Banner ID": "unique_id",
        "SPRIDEN_LAST_NAME": "last_name",
        "SPRIDEN_FIRST_NAME": "first_name",
        "GOREMAL_EMAIL_ADDRESS": "email",
        "GOBTPAC_EXTERNAL_USER": "user_name",
        "SPBPERS_BIRTH_DATE": "date_of_birth",
        "SPRADDR_STREET_LINE1": "street",
        "SPRADDR_CITY": "city",
        "SPRADDR_STAT_CODE": "province",
        "SPRADDR_ZIP": "postal_code",
        **dict.fromkeys(("SPRIDEN_PIDM", "SPRIDEN_MI", "SPRADDR_STREET_LINE2", "SPRTELE_PHONE_NUMBER"), ""),
        **dict.fromkeys(("SPBPERS_SEX", "SPRADDR_ATYP_CODE", "STVMAJR_DESC"), ""),
    },
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_names_of_other_systems_lead_to_their_data_or_nowhere(system: str) -> None:
    """Whoever follows a proposal has the right data in the column."""
    proposed = {name: nearest(name) for name in SYSTEMS[system]}
    assert SYSTEMS[system] == {name: near and POSSIBLE_NAMES[near].name for name, near in proposed.items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("email [Required]", "email"),
        ("First Name [Required]", "first_name"),
        ("email*", "email"),
        ("3. email", "email"),
        ("2) First name", "first_name"),
        ("Courriel (obligatoire)", "email"),
        ("date of birth (YYYY-MM-DD)", "date_of_birth"),
        ("Date de naissance (AAAA-MM-JJ)", "date_of_birth"),
        ("phone_cell (mobile)", "phone_cell"),
        ("street (max. 255 characters)", "street"),
        ("Students.Email [Required]*", "email"),
        ("First name [givenName]", "first_name"),
        ("Email [mail]", "email"),
        ("User name [userPrincipalName] Required", "user_name"),
        ("userPrincipalName [userPrincipalName] Required", "user_name"),
        ("ZIP or postal code [postalCode]", "postal_code"),
        ("Name [displayName] Required", ""),
        ("unique_id1", "unique_id"),
        ("last_name3", "last_name"),
        ("email2", ""),
        ("Textbox12", ""),
        ("unique_id VARCHAR(50)", "unique_id"),
        ("[dbo].[users].[unique_id]", "unique_id"),
        ("email__c", "email"),
        ("user_first_name", "first_name"),
        ("Student Last Name", "last_name"),
        ("Student Source", ""),
        ("Student Name", ""),
        ("Employee #", "employ_no"),
        ("email (parent)", ""),
        ("last_name (maiden)", ""),
        ("Phone (home)", ""),
    ],
)
def test_remarks_beside_a_name_do_not_count(name: str, expected: str) -> None:
    """What says how to fill in a column is passed over; what says whose data it has is not."""
    assert expected == nearest(name)


@pytest.mark.parametrize("name", ["stage", "email2", "address3", "userids", "mname", "phone", "titre", "grades"])
def test_names_that_only_look_alike_are_not_proposed(name: str) -> None:
    """Another letter, digit or a plural makes another word of a short name."""
    assert "" == nearest(name)


@pytest.mark.parametrize("name", ["emial", "emaill", "last_nmae", "fist_name", "frist name", "Postal Cod", "birthdsy"])
def test_mistyped_names_are_proposed(name: str) -> None:
    """One letter that is missing, surplus, wrong or exchanged with the next does not hide what is meant."""
    assert nearest(name)


def test_the_one_number_is_the_id_where_there_is_none(engine: Engine) -> None:
    """A file without an id whose users have one number: to call it student_no would leave them without an id."""
    header = "[01]Student_Number,Students.First_Name,Students.Last_Name,U_DEF.Email"
    expected = {
        "[01]Student_Number": "unique_id",
        "Students.First_Name": "first_name",
        "Students.Last_Name": "last_name",
        "U_DEF.Email": "email",
    }
    assert (
        tuple(
            message("header.unknown/did_you_mean", line="1", name=name, expected=near)
            for name, near in expected.items()
        )
        == engine.file(header, "1,Ann,Lee,ann@example.org").refusal[:-1]
    )
    assert (
        message("header.unknown/did_you_mean", line="1", name="Student_Number", expected="student_no"),
    ) == engine.file("unique_id,Student_Number", "1,2").refusal


def test_of_two_numbers_the_one_called_id_identifies_the_users(engine: Engine) -> None:
    """Where unique_id is missing, Student ID is proposed for it and Student Number for student_no."""
    result = engine.file("Student ID,Student Number,login_source,first_name,last_name,email")
    assert [("Student ID", "unique_id"), ("Student Number", "student_no")] == [
        (dict(each.params)["name"], dict(each.params)["expected"]) for each in result.refusal
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("Email P", "email_m", "EmailF", "M Mobile", "F_First_Name", "P.Email", "guardian.person.email"),
        *("Employer Number", "Employer Phone", "Pronom", "Source ID", "Parent Email", "Home Room", "Date Modified"),
        *("Guardian Phone", "Date of Hire", "Birth City", "Mailing City", "Last Login", "Street No", "Emergency Email"),
    ],
)
def test_names_of_other_data_are_not_proposed(name: str) -> None:
    """Whoever followed the proposal would have the data of parents, employers or others in the column."""
    assert "" == nearest(name)


def test_data_of_teachers_are_not_proposed_for_students(engine: Engine) -> None:
    """In a file of students it is that of their teachers; in one of teachers it is their own."""
    names = "unique_id,login_source,first_name,last_name,Teacher Email,Teacher Number"
    assert {"email", "employ_no"} == {dict(each.params).get("expected") for each in engine.file(names).refusal}
    refusal = engine.file(f"{names},Student Status").refusal
    assert set() == {value for each in refusal for key, value in each.params if key == "expected"}
    engine.settings(unknown_columns="ignore")
    assert "columns.ignored" == engine.file(f"{names},Student Status").warnings["columns.ignored"].reason.key
