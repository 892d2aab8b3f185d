"""What the modality's door keeps of its own: who called, what was asked, when anybody is let in."""

from __future__ import annotations

import datetime as dt
import uuid

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dicomscp.status import CANCEL, SUCCESS

# Of more, a person makes nothing, and a row would be too long.
MOST_STEPS = 500


class SetUpMode(models.Model):
    """A while in which callers that are not set up are let in, too; it ends by itself."""

    LASTS = dt.timedelta(hours=24)

    began = models.DateTimeField(default=timezone.now)
    ends = models.DateTimeField()

    class Meta:
        ordering = ("-ends",)
        constraints = (
            models.CheckConstraint(
                condition=Q(ends__gte=F("began")), name="dicomscp_setupmode_ends_later"
            ),
        )

    def __str__(self) -> str:
        return f"{self.began:%Y-%m-%d %H:%M} - {self.ends:%Y-%m-%d %H:%M} UTC"


class Ended(models.TextChoices):
    """How an association ended; "" while it is open, or when the server was stopped hard."""

    RELEASED = "RELEASED", _("released")
    ABORTED = "ABORTED", _("aborted, or the line was dropped")
    REJECTED = "REJECTED", _("rejected")


class Association(models.Model):
    """A request for an association, and what became of it.

    What a peer says of itself stands here in ASCII, with escapes for what is none.
    """

    # Made by the server: what belongs to it is written without asking for its number.
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    opened = models.DateTimeField()
    closed = models.DateTimeField(null=True)
    calling = models.CharField(max_length=64)
    called = models.CharField(max_length=64)
    address = models.CharField(max_length=64)
    implementation_uid = models.CharField(max_length=64)
    implementation_version = models.CharField(max_length=64)
    # A presentation context a line.
    contexts = models.TextField()
    refused_contexts = models.TextField()
    is_accepted = models.BooleanField()
    # What it was secured with ("": it came without TLS), and the certificate that the peer showed.
    tls = models.CharField(max_length=64, default="")
    certificate = models.CharField(max_length=64, default="")
    certificate_subject = models.CharField(max_length=200, default="")
    # One of access.Reason.
    reason = models.CharField(max_length=16)
    ended = models.CharField(max_length=8, choices=Ended.choices, default="")

    class Meta:
        ordering = ("-opened", "id")
        indexes = (
            # The last call of a station.
            models.Index(fields=("calling", "opened"), name="dicomscp_association_calling"),
            # Who is to be looked at: nearly every call is of a station that is set up.
            models.Index(
                fields=("opened",),
                condition=~Q(reason__in=["known", "verification"]),
                name="dicomscp_association_other",
            ),
            # What is old enough to go.
            models.Index(fields=("opened",), name="dicomscp_association_opened"),
        )
        constraints = (
            models.CheckConstraint(
                condition=Q(ended__in=["", *Ended.values]), name="dicomscp_association_ended_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.opened:%Y-%m-%d %H:%M:%S} {self.calling} {self.address}"


class Query(models.Model):
    """A C-FIND and how it was answered. What it asks for may name a patient."""

    # None when the association's own row was lost.
    association = models.ForeignKey(
        Association, models.CASCADE, null=True, related_name="queries", db_index=True
    )
    at = models.DateTimeField()
    calling = models.CharField(max_length=64)
    address = models.CharField(max_length=64)
    # The request's Identifier as it was received, and the transfer syntax it is encoded in.
    identifier = models.BinaryField()
    transfer_syntax = models.CharField(max_length=64)
    keys = models.PositiveIntegerField()
    # None: not known, since it was not read, or more than could be.
    matches = models.PositiveIntegerField(null=True)
    sent = models.PositiveIntegerField()
    # The ids of the first steps that were sent, in their order.
    steps = models.JSONField(default=list)
    # None: no final response, the association ended before.
    status = models.PositiveIntegerField(null=True)
    comment = models.CharField(max_length=64, blank=True)
    milliseconds = models.PositiveIntegerField()

    class Meta:
        ordering = ("-at", "-id")
        indexes = (
            # The last query of a station.
            models.Index(fields=("calling", "at"), name="dicomscp_query_calling"),
            # The log of a day; what is old enough to go.
            models.Index(fields=("at",), name="dicomscp_query_at"),
        )

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.calling}"

    @property
    def is_cancelled(self) -> bool:
        """Whether a C-CANCEL ended it."""
        return self.status == CANCEL

    @property
    def is_failed(self) -> bool:
        """Whether it was answered with a failure, or not to the end."""
        return self.status not in (SUCCESS, CANCEL)


class Heartbeat(models.Model):
    """A process of runscp: what it is, and how it was when it last said so.

    Its times are those of the database's clock, which all machines read.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    # Which one of several that share the port; 0: it serves it alone.
    worker = models.PositiveIntegerField(default=0, db_default=0)
    version = models.CharField(max_length=32)
    ae_title = models.CharField(max_length=16)
    port = models.PositiveIntegerField()
    # None: it serves no TLS.
    tls_port = models.PositiveIntegerField(null=True)
    started = models.DateTimeField()
    at = models.DateTimeField()
    # When it ended in good order.
    stopped = models.DateTimeField(null=True)
    associations = models.PositiveIntegerField(default=0)
    # Entries of the journal, and events of the audit trail, that could not be written.
    dropped = models.PositiveIntegerField(default=0)
    unsigned = models.PositiveIntegerField(default=0)
    # As tally.Tally counts.
    counts = models.JSONField(default=dict)
    # The certificates of TLS, which other machines cannot read: setting, subject, end.
    certificates = models.JSONField(default=list)
    # As replica.Told; None: there is none.
    replica = models.JSONField(null=True)

    class Meta:
        ordering = ("-at", "id")
        default_permissions = ()
        indexes = (models.Index(fields=("at",), name="dicomscp_heartbeat_at"),)

    def __str__(self) -> str:
        return f"{self.ae_title} {self.host}:{self.port} {self.at:%Y-%m-%d %H:%M:%S}"
