"""Rows that are here to be looked at alone; each look at what is of a patient is signed."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from worklist.actor import actor
from worklist.admin.signed import SignedAdmin
from worklist.audit import trail
from worklist.models import Patient


class ReadOnlyAdmin(SignedAdmin):
    """Nobody changes these rows here, superusers included."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class WatchedAdmin(ReadOnlyAdmin):
    """What is of patients: clerks' pages write it, support looks at it, and the trail knows who."""

    def patient_of(self, row: Any) -> Patient | None:
        """Whose row it is."""
        raise NotImplementedError

    def get_search_results(
        self, request: HttpRequest, queryset: Any, search_term: str
    ) -> tuple[Any, bool]:
        match = request.resolver_match
        if match is not None and match.url_name == "autocomplete":
            # No form here chooses among these rows.
            raise PermissionDenied
        return super().get_search_results(request, queryset, search_term)

    def changelist_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        response = super().changelist_view(request, *args, **options)
        if shown := _shown(response).get("cl"):
            found = list(shown.result_list)
            patients = {patient.pk for row in found if (patient := self.patient_of(row))}
            details: dict[str, Any] = {
                "page": self.opts.label_lower,
                "rows": len(found),
                "query": sorted(request.GET),
            }
            if patients:
                details["patients"] = sorted(patients)
            trail.note("view", by=actor(request), details=details)
        return response

    def changeform_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        response = super().changeform_view(request, *args, **options)
        if original := _shown(response).get("original"):
            self._note(request, original, page="change")
        return response

    def history_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        response = super().history_view(request, *args, **options)
        if row := _shown(response).get("object"):
            self._note(request, row, page="history")
        return response

    def _note(self, request: HttpRequest, row: Any, *, page: str) -> None:
        details = {"page": f"{self.opts.label_lower} {row.pk} {page}"}
        trail.note("view", self.patient_of(row) or row, by=actor(request), details=details)


def _shown(response: HttpResponse) -> dict[str, Any]:
    """What a page shows; a redirection shows nothing."""
    return (response.context_data or {}) if isinstance(response, TemplateResponse) else {}
