"""The site's codes, stations and catalogue of procedures."""

from __future__ import annotations

from django.contrib import admin

from worklist.admin.signed import OrderedInline, SignedAdmin
from worklist.models import (
    ClosedDay,
    Code,
    OpeningHours,
    OrderSet,
    OrderSetItem,
    ProcedureType,
    ProcedureTypeCode,
    Station,
)


@admin.register(Code)
class CodeAdmin(SignedAdmin):
    list_display = ("__str__", "value", "scheme", "meaning")
    list_filter = ("scheme",)
    search_fields = ("value", "long_value", "urn_value", "scheme", "meaning")


@admin.register(Station)
class StationAdmin(SignedAdmin):
    list_display = ("ae_title", "name", "modality", "location", "is_active")
    list_filter = ("modality", "is_active")
    search_fields = ("ae_title", "name", "modality", "location")


class ProcedureTypeCodeInline(OrderedInline):
    model = ProcedureTypeCode
    fields = ("position", "code")
    autocomplete_fields = ("code",)
    verbose_name = "protocol code"


@admin.register(ProcedureType)
class ProcedureTypeAdmin(SignedAdmin):
    list_display = ("description", "code", "modality", "minutes", "default_station", "is_active")
    list_filter = ("modality", "is_active")
    list_select_related = ("default_station",)
    search_fields = ("code", "description")
    autocomplete_fields = ("requested_procedure_code", "default_station", "allowed_stations")
    inlines = (ProcedureTypeCodeInline,)


@admin.register(OpeningHours)
class OpeningHoursAdmin(SignedAdmin):
    """The name alone: a week is edited on a page of its own."""

    list_display = ("name",)
    search_fields = ("name",)


@admin.register(ClosedDay)
class ClosedDayAdmin(SignedAdmin):
    list_display = ("day", "reason", "station")
    list_filter = ("station",)
    list_select_related = ("station",)
    search_fields = ("reason",)
    autocomplete_fields = ("station",)


class OrderSetItemInline(OrderedInline):
    model = OrderSetItem
    fields = ("position", "procedure_type")
    autocomplete_fields = ("procedure_type",)
    verbose_name = "procedure"


@admin.register(OrderSet)
class OrderSetAdmin(SignedAdmin):
    list_display = ("name", "code", "is_active")
    list_filter = ("is_active",)
    search_fields = ("code", "name")
    inlines = (OrderSetItemInline,)
