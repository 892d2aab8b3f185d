"""Who uses the worklist, and whom it is about."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q

from worklist.models.fields import (
    DicomDate,
    DicomInteger,
    DicomText,
    DicomTime,
    FoldedName,
    SearchWords,
)


class User(AbstractUser):
    """A person who signs in."""


def sexes() -> list[tuple[str, str]]:
    """PS3.3 C.7.1.1, the enumerated values of Patient's Sex."""
    return [("M", "Male"), ("F", "Female"), ("O", "Other")]


def pregnancy_statuses() -> list[tuple[int, str]]:
    """PS3.3 C.2.4, the enumerated values of Pregnancy Status."""
    return [
        (1, "Not pregnant"),
        (2, "Possibly pregnant"),
        (3, "Definitely pregnant"),
        (4, "Unknown"),
    ]


class Patient(models.Model):
    """A patient, known by ID and issuer. A name keeps its three component groups in one value."""

    name = DicomText("PatientName", blank=False)
    name_folded = FoldedName("name")
    search = SearchWords(("patient_id", "name", "other_ids", "other_names"))
    patient_id = DicomText("PatientID", blank=False)
    issuer = DicomText("IssuerOfPatientID")
    other_ids = DicomText("OtherPatientIDs")
    other_names = DicomText("OtherPatientNames")
    other_names_folded = FoldedName("other_names")
    birth_date = DicomDate("PatientBirthDate", null=True, blank=True)
    birth_time = DicomTime("PatientBirthTime", null=True, blank=True)
    sex = DicomText("PatientSex", choices=sexes)
    weight = DicomText("PatientWeight", help_text="kg")
    size = DicomText("PatientSize", help_text="m")
    confidentiality = DicomText("ConfidentialityConstraintOnPatientDataDescription")
    state = DicomText("PatientState")
    pregnancy_status = DicomInteger(
        "PregnancyStatus", choices=pregnancy_statuses, null=True, blank=True
    )
    medical_alerts = DicomText("MedicalAlerts", help_text="one a line")
    allergies = DicomText("Allergies", help_text="one a line")
    special_needs = DicomText("SpecialNeeds")
    history = DicomText("AdditionalPatientHistory")
    smoking_status = DicomText("SmokingStatus")
    last_menstrual_date = DicomDate("LastMenstrualDate", null=True, blank=True)
    mother_birth_name = DicomText("PatientMotherBirthName")
    mother_birth_name_folded = FoldedName("mother_birth_name")
    responsible_person = DicomText("ResponsiblePerson")
    responsible_person_folded = FoldedName("responsible_person")
    responsible_person_role = DicomText("ResponsiblePersonRole")
    ethnic_group = DicomText("EthnicGroup")
    occupation = DicomText("Occupation")
    address = DicomText("PatientAddress")
    telephone_numbers = DicomText("PatientTelephoneNumbers", help_text="one a line")
    comments = DicomText("PatientComments")

    class Meta:
        ordering = ("name_folded", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("patient_id", "issuer"),
                name="worklist_patient_id_once_per_issuer",
                violation_error_message="A patient with this ID and issuer is there already.",
            ),
            models.CheckConstraint(
                condition=~Q(name="") & ~Q(patient_id=""), name="worklist_patient_is_identified"
            ),
        )
        indexes = (
            # C-FIND by name and by birth date.
            models.Index(fields=("name_folded",), name="worklist_patient_name"),
            models.Index(fields=("birth_date",), name="worklist_patient_birth_date"),
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.patient_id})"
