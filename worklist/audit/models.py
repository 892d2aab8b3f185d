"""The audit trail's one table. Rows keep labels and JSON, so they outlive their subject."""

from __future__ import annotations

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


def actions() -> list[tuple[str, str]]:
    """What is signed: writes, and looks at what is of a patient."""
    return [
        ("create", gettext("Created")),
        ("change", gettext("Changed")),
        ("delete", gettext("Deleted")),
        ("view", gettext("Viewed")),
        ("print", gettext("Printed")),
        ("export", gettext("Exported")),
        ("test", gettext("Connection tested")),
        ("sign-in", gettext("Signed in")),
    ]


class AuditEvent(models.Model):
    """One write or look: at what, by whom, from where, why, and what was there before and after.

    `before` and `after` hold the columns that changed (all of them when the row was made or
    deleted), each as JSON; a list of related rows stands as the list of their labels. Of a look,
    `after` says what was looked at where no single row is meant, such as a list's filters.
    """

    at = models.DateTimeField(auto_now_add=True)
    actor = models.CharField(max_length=150, help_text=_("account name, or the command that wrote"))
    address = models.GenericIPAddressField(null=True, blank=True)
    action = models.CharField(max_length=8, choices=actions)
    reason = models.CharField(max_length=200, blank=True, default="")
    model = models.CharField(
        max_length=100, help_text=_("app.model, lower case; empty: no one row")
    )
    object_id = models.CharField(max_length=64, blank=True, default="")
    object_label = models.CharField(max_length=200, blank=True, default="")
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
