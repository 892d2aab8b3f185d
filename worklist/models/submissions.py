"""Forms that were sent: a form that is sent twice is carried out once."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class FormSubmission(models.Model):
    """The key of a form and its contents, and the address that its first sending led to."""

    key = models.UUIDField(primary_key=True)
    address = models.CharField(max_length=200)
    at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return str(self.key)
