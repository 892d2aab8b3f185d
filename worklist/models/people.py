"""Who uses the worklist, and whom it is about."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop, pgettext
from django.utils.translation import gettext_lazy as _

from worklist import names
from worklist.audit.loaded import Loaded
from worklist.models.fields import (
    DicomDate,
    DicomInteger,
    DicomText,
    DicomTime,
    FoldedName,
    SearchWords,
)
from worklist.models.versions import Versioned


def themes() -> list[tuple[str, str]]:
    """How the screens look; "" follows the system."""
    return [("", gettext("As the system")), ("light", gettext("Light")), ("dark", gettext("Dark"))]


def languages() -> list[tuple[str, str]]:
    """The languages of the screens; "" is the browser's, else the site's."""
    return [("", gettext("As the browser")), *settings.LANGUAGES]


class User(AbstractUser, Loaded):
    """A person who signs in, and how that person likes the screens."""

    theme = models.CharField(_("colours"), max_length=8, blank=True, default="", choices=themes)
    language = models.CharField(
        _("language"), max_length=8, blank=True, default="", choices=languages
    )
    single_keys = models.BooleanField(
        _("single keys are shortcuts"), default=True, help_text=_("such as N for a new exam")
    )


def sexes() -> list[tuple[str, str]]:
    """PS3.3 C.7.1.1, the enumerated values of Patient's Sex."""
    return [("M", gettext("Male")), ("F", gettext("Female")), ("O", pgettext("sex", "Other"))]


def pregnancy_statuses() -> list[tuple[int, str]]:
    """PS3.3 C.2.4, the enumerated values of Pregnancy Status."""
    return [
        (1, gettext("Not pregnant")),
        (2, gettext("Possibly pregnant")),
        (3, gettext("Definitely pregnant")),
        (4, gettext("Unknown")),
    ]


class Patient(Versioned):
    """A patient, known by ID and issuer. A name keeps its three component groups in one value.

    A patient that was merged into another keeps its row, and its ID leads to the survivor.
    """

    below = "requests"

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
    medical_alerts = DicomText("MedicalAlerts", help_text=_("one a line"))
    allergies = DicomText("Allergies", help_text=_("one a line"))
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
    telephone_numbers = DicomText("PatientTelephoneNumbers", help_text=_("one a line"))
    comments = DicomText("PatientComments")
    is_unknown = models.BooleanField(
        _("unknown patient"), default=False, help_text=_("to be merged once the name is known")
    )
    merged_into = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="merged_patients"
    )
    # When a pseudonym took the place of all that tells who it is (`privacy`).
    anonymised_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("name_folded", "id")
        permissions = (
            ("merge_patients", gettext_noop("Can merge patients and take a merge back")),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("patient_id", "issuer"),
                name="worklist_patient_id_once_per_issuer",
                violation_error_message=_("A patient with this ID and issuer is there already."),
            ),
            models.CheckConstraint(
                condition=~Q(name="") & ~Q(patient_id=""), name="worklist_patient_is_identified"
            ),
            models.CheckConstraint(
                condition=Q(merged_into=None) | ~Q(merged_into=F("id")),
                name="worklist_patient_merged_into_another",
            ),
        )
        indexes = (
            # C-FIND by name and by birth date.
            models.Index(fields=("name_folded",), name="worklist_patient_name"),
            models.Index(fields=("birth_date",), name="worklist_patient_birth_date"),
            # The board's reminder of patients who are still to be identified.
            models.Index(
                fields=("id",),
                condition=Q(is_unknown=True, merged_into=None),
                name="worklist_patient_unknown",
            ),
        )

    def __str__(self) -> str:
        """As people read it: MÜLLER, Anna · P1."""
        return f"{names.text(self.name)} · {self.patient_id}"


class PatientMerge(models.Model):
    """One merge of two patients, and what it takes to take it back exactly.

    `request_ids` are those of the requests that moved; `former` holds the survivor's columns that
    the merge changed, as they were.
    """

    survivor = models.ForeignKey(Patient, models.PROTECT, related_name="merges")
    merged = models.ForeignKey(Patient, models.PROTECT, related_name="merged_by")
    at = models.DateTimeField(default=timezone.now)
    actor = models.CharField(max_length=150)
    request_ids = models.JSONField(default=list)
    former = models.JSONField(default=dict)
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-at", "-id")

    def __str__(self) -> str:
        return f"{self.merged} into {self.survivor}"
