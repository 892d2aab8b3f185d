"""The audit trail's one table. Rows keep labels and JSON, so they outlive their subject."""

from __future__ import annotations

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models


class AuditEvent(models.Model):
    """One write: what it was done to, by whom, from where, and what the row held before and after.

    `before` and `after` hold the columns that changed (all of them when the row was made or
    deleted), each as JSON; a list of related rows stands as the list of their labels.
    """

    at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=150, help_text="account name, or the command that wrote")
    address = models.GenericIPAddressField(null=True, blank=True)
    action = models.CharField(
        max_length=8,
        choices=(("create", "Created"), ("change", "Changed"), ("delete", "Deleted")),
    )
    model = models.CharField(max_length=100, help_text="app.model, lower case")
    object_id = models.CharField(max_length=64)
    object_label = models.CharField(max_length=200)
    before = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    after = models.JSONField(default=dict, encoder=DjangoJSONEncoder)

    class Meta:
        ordering = ("-at", "-id")
        indexes = (
            # The history of one object.
            models.Index(fields=("model", "object_id", "at"), name="audit_event_of_object"),
            models.Index(fields=("at",), name="audit_event_at"),
        )

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.actor} {self.action} {self.object_label}"
