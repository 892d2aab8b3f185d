"""Which version of a row this is: so that nobody saves over what somebody else has saved.

The audit trail's `save` counts the version up with each change that it signs.
"""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from worklist.audit.loaded import Loaded


class Versioned(Loaded):
    """A row that people edit: `version` starts at 1 and grows with each change."""

    version = models.PositiveIntegerField(default=1, editable=False)
    changed_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        abstract = True
