"""The audit trail and how far it was sent. Events keep labels and JSON: they outlive all else."""

from __future__ import annotations

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from worklist.audit.marks import MarkField
from worklist.audit.messages import LOOKS


def actions() -> list[tuple[str, str]]:
    """What is signed: writes, looks at what is of a patient, and who was let in or kept out."""
    return [
        ("create", gettext("Created")),
        ("change", gettext("Changed")),
        ("delete", gettext("Deleted")),
        ("view", gettext("Viewed")),
        ("print", gettext("Printed")),
        ("export", gettext("Exported")),
        ("query", gettext("Worklist query")),
        ("test", gettext("Connection tested")),
        ("sign-in", gettext("Signed in")),
        ("sign-out", gettext("Signed out")),
        ("lock", gettext("Locked out")),
        ("deny", gettext("Permission denied")),
        ("refuse", gettext("Caller refused")),
        ("start", gettext("Started")),
        ("stop", gettext("Stopped")),
    ]


class Outcome(models.IntegerChoices):
    """PS3.15 A.5.2, EventOutcomeIndicator: how it ended."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    SERIOUS_FAILURE = 8
    MAJOR_FAILURE = 12


class AuditEvent(models.Model):
    """One write or look: at what, by whom, from where, why, and what was there before and after.

    `before` and `after` hold the columns that changed (all of them when the row was made or
    deleted), each as JSON; a list of related rows stands as the list of their labels. Of a look,
    `after` says what was looked at where no single row is meant, such as a list's filters.
    """

    at = models.DateTimeField(default=timezone.now, editable=False)
    actor = models.CharField(max_length=150, help_text=_("account name, or the command that wrote"))
    address = models.GenericIPAddressField(null=True, blank=True)
    action = models.CharField(max_length=8, choices=actions)
    outcome = models.PositiveSmallIntegerField(default=Outcome.SUCCESS, editable=False)
    reason = models.CharField(max_length=200, blank=True, default="")
    model = models.CharField(
        max_length=100, help_text=_("app.model, lower case; empty: no one row")
    )
    object_id = models.CharField(max_length=64, blank=True, default="")
    object_label = models.CharField(max_length=200, blank=True, default="")
    before = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    after = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    # Empty in those that were written before there were marks; a seal covers them all the same.
    mark = MarkField(max_length=64, default="", db_default="", editable=False)

    class Meta:
        ordering = ("-at", "-id")
        constraints = (
            models.CheckConstraint(
                condition=Q(outcome__in=(0, 4, 8, 12)), name="audit_event_outcome"
            ),
        )
        indexes = (
            # The history of one object.
            models.Index(fields=("model", "object_id", "at"), name="audit_event_of_object"),
            models.Index(fields=("at",), name="audit_event_at"),
            # Which lists have shown a patient: few among the queries of modalities.
            models.Index(
                fields=("at",),
                condition=Q(model="", action__in=LOOKS),
                name="audit_event_of_lists",
            ),
        )

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.actor} {self.action} {self.object_label}"


class Seal(models.Model):
    """A link of the chain over the events; see `seals`.

    It closes those up to `upto` that no earlier one has, but for the `missing` runs of numbers,
    [first, last] each, and the `late` ones among the missing of earlier seals.
    """

    number = models.PositiveBigIntegerField(primary_key=True)
    at = models.DateTimeField()
    upto = models.BigIntegerField()
    late = models.JSONField(default=list)
    missing = models.JSONField(default=list)
    # The digest of the one before it.
    previous = models.CharField(max_length=64, blank=True)
    digest = models.CharField(max_length=64)

    class Meta:
        default_permissions = ()
        indexes = (models.Index(fields=("at",), name="audit_seal_at"),)

    def __str__(self) -> str:
        return f"{self.number}:{self.digest}"


class Delivery(models.Model):
    """How far the trail was delivered to a collector: every event up to `last` is there."""

    # host:port
    collector = models.CharField(max_length=300, primary_key=True)
    last = models.BigIntegerField(default=0)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        # Nobody changes it but the sender.
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.collector}: {self.last}"
