"""What the site has and does: codes, stations (scanners) and the catalogue of procedures."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from worklist.models.fields import DicomText


class Code(models.Model):
    """A coded concept (PS3.3 8.8): one of the three kinds of value, its scheme and meaning."""

    value = DicomText("CodeValue")
    long_value = DicomText("LongCodeValue")
    urn_value = DicomText("URNCodeValue")
    scheme = DicomText("CodingSchemeDesignator")
    scheme_version = DicomText("CodingSchemeVersion")
    meaning = DicomText("CodeMeaning")

    class Meta:
        ordering = ("scheme", "value", "long_value", "urn_value", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("value", "long_value", "urn_value", "scheme", "scheme_version", "meaning"),
                name="worklist_code_once",
                violation_error_message="This code is there already.",
            ),
            models.CheckConstraint(
                condition=(
                    (~Q(value="") & Q(long_value="", urn_value=""))
                    | (~Q(long_value="") & Q(value="", urn_value=""))
                    | (~Q(urn_value="") & Q(value="", long_value=""))
                ),
                name="worklist_code_one_value",
                violation_error_message=(
                    "A code has exactly one of Code Value, Long Code Value and URN Code Value."
                ),
            ),
        )

    def __str__(self) -> str:
        value = self.value or self.long_value or self.urn_value
        return f"{value} {self.scheme} {self.meaning}".strip()


class Station(models.Model):
    """A scanner (or its console) that asks for its worklist under an AE title."""

    ae_title = DicomText("ScheduledStationAETitle", single=True, blank=False, unique=True)
    name = DicomText("ScheduledStationName", single=True)
    modality = DicomText("Modality")
    location = DicomText("ScheduledProcedureStepLocation")

    class Meta:
        ordering = ("ae_title",)
        constraints = (
            models.CheckConstraint(condition=~Q(ae_title=""), name="worklist_station_ae_title"),
        )

    def __str__(self) -> str:
        return f"{self.ae_title} {self.name}".strip()


class ProcedureType(models.Model):
    """One line of the catalogue: what a clerk chooses and what it fills in."""

    code = models.SlugField(max_length=16, unique=True, help_text="short name for booking")
    description = DicomText("RequestedProcedureDescription", blank=False)
    modality = DicomText("Modality", blank=False)
    minutes = models.PositiveSmallIntegerField(
        default=30, validators=(MinValueValidator(1), MaxValueValidator(24 * 60))
    )
    requested_procedure_code = models.ForeignKey(
        Code, models.PROTECT, null=True, blank=True, related_name="+"
    )
    protocol_codes = models.ManyToManyField(
        Code, through="ProcedureTypeCode", related_name="+", blank=True
    )
    default_station = models.ForeignKey(
        Station, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    allowed_stations = models.ManyToManyField(
        Station, blank=True, related_name="+", help_text="none: every station of the modality"
    )
    preparation = DicomText("RequestedProcedureComments", verbose_name="preparation text")

    class Meta:
        ordering = ("description", "id")
        constraints = (
            models.CheckConstraint(
                condition=Q(minutes__gte=1, minutes__lte=24 * 60),
                name="worklist_proceduretype_minutes",
            ),
        )

    def __str__(self) -> str:
        return f"{self.description} ({self.code})"


class ProcedureTypeCode(models.Model):
    """A protocol code of a procedure type, in the order in which scanners receive them."""

    procedure_type = models.ForeignKey(ProcedureType, models.CASCADE)
    code = models.ForeignKey(Code, models.PROTECT)
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(
                fields=("procedure_type", "code"), name="worklist_proceduretypecode_once"
            ),
        )

    def __str__(self) -> str:
        return str(self.code)
