"""The audit trail and the counters, to be read alone."""

from __future__ import annotations

from django.contrib import admin

from worklist.admin.support import ReadOnlyAdmin, WatchedAdmin
from worklist.audit.models import AuditEvent
from worklist.models import Counter


@admin.register(AuditEvent)
class AuditEventAdmin(WatchedAdmin):
    """It holds what stands in patients' rows: to read it is a look, too."""

    list_display = ("at", "actor", "address", "action", "model", "object_label")
    list_filter = ("action", "model", "at")
    date_hierarchy = "at"
    search_fields = ("actor", "object_label", "object_id")
    # Counting a table that only grows is not worth its time.
    show_full_result_count = False

    def patient_of(self, row: AuditEvent) -> None:
        return None


@admin.register(Counter)
class CounterAdmin(ReadOnlyAdmin):
    list_display = ("name", "value")
    ordering = ("name",)
    search_fields = ("name",)
