"""What the modality's door keeps of its own: when every caller is let in for a while."""

from __future__ import annotations

import datetime as dt

from django.db import models
from django.db.models import F, Q
from django.utils import timezone


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
