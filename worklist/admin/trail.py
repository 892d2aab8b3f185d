"""The audit trail and the counters, to be read alone."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from worklist.admin.signed import SignedAdmin
from worklist.audit.models import AuditEvent
from worklist.models import Counter


class ReadOnlyAdmin(SignedAdmin):
    """Nobody changes these rows here, superusers included."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor", "address", "action", "model", "object_label")
    list_filter = ("action", "model", "at")
    date_hierarchy = "at"
    search_fields = ("actor", "object_label", "object_id")
    # Counting a table that only grows is not worth its time.
    show_full_result_count = False


@admin.register(Counter)
class CounterAdmin(ReadOnlyAdmin):
    list_display = ("name", "value")
    ordering = ("name",)
    search_fields = ("name",)
