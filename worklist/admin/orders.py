"""Requests, procedures and steps, to be looked at."""

from __future__ import annotations

import datetime as dt

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from worklist.admin.signed import OrderedInline
from worklist.admin.support import WatchedAdmin
from worklist.models import (
    ImagingServiceRequest,
    Patient,
    RequestedProcedure,
    ScheduledProcedureStep,
    StepProtocolCode,
    StepStation,
)


@admin.register(ImagingServiceRequest)
class RequestAdmin(WatchedAdmin):
    list_display = (
        "__str__",
        "patient",
        "requesting_physician",
        "requesting_service",
        "admission_id",
    )
    list_filter = ("requesting_service",)
    list_select_related = ("patient",)
    ordering = ("-id",)
    search_fields = (
        "patient__search",
        "accession_number",
        "placer_order_number",
        "filler_order_number",
        "admission_id",
    )
    search_help_text = "Patient, accession number, order number or admission ID."

    def patient_of(self, row: ImagingServiceRequest) -> Patient:
        return row.patient


@admin.register(RequestedProcedure)
class ProcedureAdmin(WatchedAdmin):
    list_display = ("procedure_id", "patient", "description", "priority", "accession_number")
    list_filter = ("priority",)
    list_select_related = ("request__patient",)
    ordering = ("-id",)
    search_fields = (
        "request__patient__search",
        "request__accession_number",
        "procedure_id",
        "study_instance_uid",
        "description",
    )
    search_help_text = "Patient, accession number, procedure ID, Study Instance UID or description."

    def patient_of(self, row: RequestedProcedure) -> Patient:
        return row.request.patient

    @admin.display(ordering="request__patient__name_folded")
    def patient(self, procedure: RequestedProcedure) -> Patient:
        return procedure.request.patient

    @admin.display(ordering="request__accession_number")
    def accession_number(self, procedure: RequestedProcedure) -> str:
        return procedure.request.accession_number


class StepStationInline(OrderedInline):
    model = StepStation
    fields = ("position", "station")
    autocomplete_fields = ("station",)
    verbose_name = "station"


class StepProtocolCodeInline(OrderedInline):
    model = StepProtocolCode
    fields = ("position", "code")
    autocomplete_fields = ("code",)
    verbose_name = "protocol code"


@admin.register(ScheduledProcedureStep)
class StepAdmin(WatchedAdmin):
    list_display = (
        "day",
        "time",
        "modality",
        "patient",
        "exam",
        "station_list",
        "state",
        "accession",
        "step",
    )
    list_display_links = ("day", "time")
    list_filter = ("status", "modality", "stations", "start_date")
    list_select_related = ("requested_procedure__request__patient",)
    date_hierarchy = "start_date"
    ordering = ("-start_date", "start_time", "id")
    search_fields = (
        "requested_procedure__request__patient__search",
        "requested_procedure__request__accession_number",
        "requested_procedure__procedure_id",
        "step_id",
    )
    search_help_text = "Patient, accession number, procedure ID or step ID."
    inlines = (StepStationInline, StepProtocolCodeInline)

    def patient_of(self, row: ScheduledProcedureStep) -> Patient:
        return row.requested_procedure.request.patient

    def get_queryset(self, request: HttpRequest) -> QuerySet[ScheduledProcedureStep]:
        return super().get_queryset(request).prefetch_related("stepstation_set__station")

    @admin.display(ordering="requested_procedure__request__patient__name_folded")
    def patient(self, step: ScheduledProcedureStep) -> Patient:
        return step.requested_procedure.request.patient

    # Short headings: the names of the attributes are wider than their values.
    @admin.display(description="date", ordering="start_date")
    def day(self, step: ScheduledProcedureStep) -> dt.date:
        return step.start_date

    @admin.display(description="time", ordering="start_time")
    def time(self, step: ScheduledProcedureStep) -> str:
        return f"{step.start_time:%H:%M}"

    @admin.display(description="description", ordering="description")
    def exam(self, step: ScheduledProcedureStep) -> str:
        return step.description

    @admin.display(description="status", ordering="status")
    def state(self, step: ScheduledProcedureStep) -> str:
        return step.get_status_display()

    @admin.display(description="step ID", ordering="step_id")
    def step(self, step: ScheduledProcedureStep) -> str:
        return step.step_id

    @admin.display(description="stations")
    def station_list(self, step: ScheduledProcedureStep) -> str:
        return ", ".join(row.station.ae_title for row in step.stepstation_set.all())

    @admin.display(
        description="accession", ordering="requested_procedure__request__accession_number"
    )
    def accession(self, step: ScheduledProcedureStep) -> str:
        return step.requested_procedure.request.accession_number
