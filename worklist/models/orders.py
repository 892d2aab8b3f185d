"""What is ordered and scheduled: request, procedure, step (PS3.4 K.6.1.1, PS3.3 C.4.10-C.4.12)."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from worklist.models.catalogue import Code, Station
from worklist.models.fields import (
    DicomDate,
    DicomText,
    DicomTime,
    FoldedName,
    SearchWords,
)
from worklist.models.people import Patient
from worklist.models.versions import Versioned


class ImagingServiceRequest(Versioned):
    """An order, with the visit during which it was placed; its accession number names it."""

    below = "procedures"

    patient = models.ForeignKey(Patient, models.PROTECT, related_name="requests")
    accession_number = DicomText("AccessionNumber")
    search = SearchWords(("accession_number",), max_length=64)
    requesting_physician = DicomText("RequestingPhysician")
    requesting_physician_folded = FoldedName("requesting_physician")
    referring_physician = DicomText("ReferringPhysicianName")
    referring_physician_folded = FoldedName("referring_physician")
    referring_physician_address = DicomText("ReferringPhysicianAddress")
    placer_order_number = DicomText("PlacerOrderNumberImagingServiceRequest")
    filler_order_number = DicomText("FillerOrderNumberImagingServiceRequest")
    comments = DicomText("ImagingServiceRequestComments")
    reason = DicomText("ReasonForTheImagingServiceRequest")
    requesting_service = DicomText("RequestingService")
    issue_date = DicomDate("IssueDateOfImagingServiceRequest", null=True, blank=True)
    issue_time = DicomTime("IssueTimeOfImagingServiceRequest", null=True, blank=True)
    entered_by = DicomText("OrderEnteredBy")
    entered_by_folded = FoldedName("entered_by")
    enterer_location = DicomText("OrderEntererLocation")
    callback_phone = DicomText("OrderCallbackPhoneNumber")
    # The visit (PS3.3 C.3).
    admission_id = DicomText("AdmissionID")
    patient_location = DicomText("CurrentPatientLocation")
    referenced_patient_class_uid = DicomText("ReferencedSOPClassUID")
    referenced_patient_uid = DicomText("ReferencedSOPInstanceUID")
    visit_status = DicomText("VisitStatusID")
    patient_residence = DicomText("PatientInstitutionResidence")
    institution = DicomText("InstitutionName")
    institution_address = DicomText("InstitutionAddress")
    institution_code = models.ForeignKey(
        Code, models.PROTECT, null=True, blank=True, related_name="+"
    )
    department = DicomText("InstitutionalDepartmentName")
    admitting_date = DicomDate("AdmittingDate", null=True, blank=True)
    admitting_time = DicomTime("AdmittingTime", null=True, blank=True)
    admitting_diagnoses = DicomText("AdmittingDiagnosesDescription", help_text=_("one a line"))

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("patient", "accession_number"),
                condition=~Q(accession_number=""),
                name="worklist_request_accession_once_per_patient",
                violation_error_message=_(
                    "This patient has a request with this accession number already."
                ),
            ),
        )
        indexes = (
            models.Index(fields=("accession_number",), name="worklist_request_accession"),
            models.Index(fields=("admission_id",), name="worklist_request_admission"),
        )

    def __str__(self) -> str:
        return f"{self.accession_number or 'no accession number'}"


def priorities() -> list[tuple[str, str]]:
    """PS3.3 C.4.11, the defined terms of Requested Procedure Priority."""
    return [
        ("STAT", gettext("Emergency")),
        ("HIGH", gettext("Urgent")),
        ("ROUTINE", gettext("Routine")),
        ("MEDIUM", gettext("Medium")),
        ("LOW", gettext("Low")),
    ]


class RequestedProcedure(Versioned):
    """One procedure of a request: becomes one study, under one Study Instance UID."""

    below = "steps"

    request = models.ForeignKey(ImagingServiceRequest, models.PROTECT, related_name="procedures")
    procedure_id = DicomText("RequestedProcedureID", blank=False)
    description = DicomText("RequestedProcedureDescription")
    search = SearchWords(("description",))
    code = models.ForeignKey(Code, models.PROTECT, null=True, blank=True, related_name="+")
    study_instance_uid = DicomText("StudyInstanceUID", blank=False, unique=True)
    study_date = DicomDate("StudyDate", null=True, blank=True)
    study_time = DicomTime("StudyTime", null=True, blank=True)
    referenced_study_class_uid = DicomText("ReferencedSOPClassUID")
    referenced_study_uid = DicomText("ReferencedSOPInstanceUID")
    priority = DicomText("RequestedProcedurePriority")
    transport = DicomText("PatientTransportArrangements")
    reason = DicomText("ReasonForTheRequestedProcedure")
    reason_code = models.ForeignKey(Code, models.PROTECT, null=True, blank=True, related_name="+")
    location = DicomText("RequestedProcedureLocation")
    confidentiality = DicomText("ConfidentialityCode")
    reporting_priority = DicomText("ReportingPriority")
    result_recipients = DicomText("NamesOfIntendedRecipientsOfResults", help_text=_("one a line"))
    result_recipients_folded = FoldedName("result_recipients")
    comments = DicomText("RequestedProcedureComments")

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=~Q(study_instance_uid="") & ~Q(procedure_id=""),
                name="worklist_procedure_is_identified",
            ),
        )
        indexes = (models.Index(fields=("procedure_id",), name="worklist_procedure_id"),)

    def __str__(self) -> str:
        return f"{self.procedure_id} {self.description}".strip()


class StepStatus(models.TextChoices):
    """Scheduled Procedure Step Status: PS3.3 C.4.10's terms, and the ends that the field uses."""

    SCHEDULED = "SCHEDULED", _("Scheduled")
    ARRIVED = "ARRIVED", _("Arrived")
    READY = "READY", _("Ready")
    STARTED = "STARTED", _("Started")
    DEPARTED = "DEPARTED", _("Departed")
    COMPLETED = "COMPLETED", _("Done")
    DISCONTINUED = "DISCONTINUED", _("Stopped")
    CANCELED = "CANCELED", _("Cancelled")


# What is over: it takes up no time on a scanner and changes no more.
FINAL = frozenset({StepStatus.COMPLETED, StepStatus.DISCONTINUED, StepStatus.CANCELED})


def step_statuses() -> list[tuple[str, str]]:
    return [(value, str(label)) for value, label in StepStatus.choices]


class ScheduledProcedureStep(Versioned):
    """One entry of the worklist: what is to be done to whom, when, on which stations.

    Start and end are wall-clock values of the site. The names of the stations stand with the step
    as they were when it was booked: Scheduled Station Name is an attribute of the step.

    With its `version`, `revision` says whether anything of it has changed: the trail's `save`
    counts it up with each change of the procedure, the request or the patient above it.
    """

    requested_procedure = models.ForeignKey(
        RequestedProcedure, models.PROTECT, related_name="steps"
    )
    step_id = DicomText("ScheduledProcedureStepID", blank=False)
    stations = models.ManyToManyField(Station, through="StepStation", related_name="steps")
    station_names = DicomText(
        "ScheduledStationName", help_text=_("one a line; empty: the names of the stations")
    )
    start_date = DicomDate("ScheduledProcedureStepStartDate")
    start_time = DicomTime("ScheduledProcedureStepStartTime")
    end_date = DicomDate("ScheduledProcedureStepEndDate", null=True, blank=True)
    end_time = DicomTime("ScheduledProcedureStepEndTime", null=True, blank=True)
    modality = DicomText("Modality", blank=False)
    performing_physician = DicomText("ScheduledPerformingPhysicianName")
    performing_physician_folded = FoldedName("performing_physician")
    description = DicomText("ScheduledProcedureStepDescription")
    search = SearchWords(("description",))
    protocol_codes = models.ManyToManyField(
        Code, through="StepProtocolCode", related_name="steps", blank=True
    )
    location = DicomText("ScheduledProcedureStepLocation")
    pre_medication = DicomText("PreMedication")
    contrast_agent = DicomText("RequestedContrastAgent")
    status = DicomText(
        "ScheduledProcedureStepStatus",
        blank=False,
        default=StepStatus.SCHEDULED,
        choices=step_statuses,
    )
    comments = DicomText("CommentsOnTheScheduledProcedureStep")
    # Fingerprints of the risks that a person has accepted: a move does not ask about them again.
    accepted_risks = models.CharField(max_length=200, blank=True, default="", editable=False)
    revision = models.IntegerField(default=0, db_default=0, editable=False)
    # By this scanners find it by name. The database itself writes it (`copies`): what is given here
    # for it is never stored.
    patient_name_folded = models.CharField(
        max_length=4096, default="", db_default="", blank=True, editable=False
    )

    class Meta:
        # The order of the answers (C.11).
        ordering = ("start_date", "start_time", "id")
        permissions = (
            ("schedule_exam", gettext_noop("Can book, amend and move exams")),
            ("cancel_exam", gettext_noop("Can cancel exams")),
            ("set_status", gettext_noop("Can say how far an exam is")),
            ("step_back_status", gettext_noop("Can set a status back")),
            (
                "override_conflict",
                gettext_noop("Can book on closed days and outside opening hours"),
            ),
            ("export_exams", gettext_noop("Can download lists of exams")),
        )
        constraints = (
            models.UniqueConstraint(
                fields=("requested_procedure", "step_id"),
                name="worklist_step_id_once_per_procedure",
                violation_error_message=_("This procedure has a step with this ID already."),
            ),
            models.CheckConstraint(
                condition=~Q(step_id="") & ~Q(modality="") & ~Q(status=""),
                name="worklist_step_is_identified",
            ),
            models.CheckConstraint(
                condition=(
                    Q(end_date=None)
                    | Q(end_date__gt=F("start_date"))
                    | Q(end_date=F("start_date"), end_time=None)
                    | Q(end_date=F("start_date"), end_time__gte=F("start_time"))
                ),
                name="worklist_step_ends_after_start",
                violation_error_message=_("The step ends before it starts."),
            ),
        )
        indexes = (
            # "Today's list", of all, of a modality, in the order of the answer.
            models.Index(fields=("start_date", "start_time", "id"), name="worklist_step_start"),
            models.Index(
                fields=("modality", "start_date", "start_time", "id"),
                name="worklist_step_modality",
            ),
            models.Index(fields=("step_id",), name="worklist_step_step_id"),
            # C-FIND by name, of what has a status.
            models.Index(
                fields=("patient_name_folded", "status"),
                name="worklist_step_name",
                # Beginnings, whatever the database's collation.
                opclasses=["varchar_pattern_ops", "varchar_ops"],
            ),
        )

    def __str__(self) -> str:
        start = f"{self.start_date:%Y-%m-%d} {self.start_time:%H:%M}"
        return f"{start} {self.modality} {self.description}".strip()


class StepStation(models.Model):
    """A station of a step; the order is that of the values of Scheduled Station AE Title."""

    step = models.ForeignKey(ScheduledProcedureStep, models.CASCADE)
    station = models.ForeignKey(Station, models.PROTECT)
    position = models.PositiveSmallIntegerField()
    # The step's, so that one index finds "my station, today". PostgreSQL itself writes them
    # (`copies`); elsewhere they stay empty.
    start_date = models.DateField(null=True, editable=False)
    status = models.CharField(max_length=16, blank=True, default="", editable=False)

    class Meta:
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(fields=("step", "station"), name="worklist_stepstation_once"),
        )
        indexes = (
            # "The steps of my station".
            models.Index(fields=("station", "step"), name="worklist_stepstation_station"),
        )

    def __str__(self) -> str:
        return str(self.station)


class StepProtocolCode(models.Model):
    """A protocol code of a step; the order is that of the items of the sequence."""

    step = models.ForeignKey(ScheduledProcedureStep, models.CASCADE)
    code = models.ForeignKey(Code, models.PROTECT)
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(fields=("step", "code"), name="worklist_stepprotocolcode_once"),
        )

    def __str__(self) -> str:
        return str(self.code)
