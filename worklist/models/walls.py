"""Screens on the wall: who holds such a link sees the day without names, signed in or not."""

from __future__ import annotations

import secrets

from django.db import models
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from worklist.models.versions import Versioned


def new_key() -> str:
    """What nobody guesses, short enough to be typed once if it must be."""
    return secrets.token_urlsafe(24)


class WallScreen(Versioned):
    """A screen that everybody sees. Its link lasts until this row is deleted."""

    name = models.CharField(_("name"), max_length=64, unique=True, help_text=_("where it hangs"))
    # Not editable: so it stands in no form and not in the audit trail.
    key = models.CharField(max_length=43, unique=True, default=new_key, editable=False)

    class Meta:
        ordering = ("name",)
        verbose_name = _("wall screen")
        verbose_name_plural = _("wall screens")

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("wall", args=[self.key])
