"""The site's codes, stations and catalogue of procedures."""

from __future__ import annotations

from django.contrib import admin

from worklist.admin.signed import OrderedInline, SignedAdmin
from worklist.models import Code, ProcedureType, ProcedureTypeCode, Station


@admin.register(Code)
class CodeAdmin(SignedAdmin):
    list_display = ("__str__", "value", "scheme", "meaning")
    list_filter = ("scheme",)
    search_fields = ("value", "long_value", "urn_value", "scheme", "meaning")


@admin.register(Station)
class StationAdmin(SignedAdmin):
    list_display = ("ae_title", "name", "modality", "location")
    list_filter = ("modality",)
    search_fields = ("ae_title", "name", "modality", "location")


class ProcedureTypeCodeInline(OrderedInline):
    model = ProcedureTypeCode
    fields = ("position", "code")
    autocomplete_fields = ("code",)
    verbose_name = "protocol code"


@admin.register(ProcedureType)
class ProcedureTypeAdmin(SignedAdmin):
    list_display = ("description", "code", "modality", "minutes", "default_station")
    list_filter = ("modality",)
    list_select_related = ("default_station",)
    search_fields = ("code", "description")
    autocomplete_fields = ("requested_procedure_code", "default_station", "allowed_stations")
    inlines = (ProcedureTypeCodeInline,)
