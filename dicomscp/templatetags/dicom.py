"""What other doors' pages show of the modality's: they name it, and import nothing."""

from __future__ import annotations

from typing import Any

from django import template
from django.conf import settings

from dicomscp import access, callers
from dicomscp import certificates as tls_certificates
from worklist.models import Station

register = template.Library()


@register.inclusion_tag("setup/_callers.html", takes_context=True)
def callers_to_look_at(context: Any) -> dict[str, Any]:
    """Set-up mode, who called and is not set up, and who was refused all the same."""
    found = callers.to_look_at()
    return {
        "strangers": [caller for caller in found if not caller.is_set_up],
        "refused": [caller for caller in found if caller.is_set_up],
        "mode": access.set_up_mode(),
        "anybody": settings.DICOM_ACCESS == "any",
        "csrf_token": context.get("csrf_token"),
        "has_stations": bool(context.get("rows")),
    }


@register.inclusion_tag("setup/_connection.html", takes_context=True)
def connection(context: Any, station: Station) -> dict[str, Any]:
    """The test of a scanner's connection, of what is saved: a form may hold other values."""
    stored = Station.objects.get(pk=station.pk)
    return {"station": stored, "csrf_token": context.get("csrf_token")}


@register.inclusion_tag("setup/_certificates.html", takes_context=True)
def certificates(context: Any, station: Station) -> dict[str, Any]:
    """The certificates that a scanner has shown, and which of them are trusted."""
    stored = Station.objects.get(pk=station.pk)
    return {
        "station": stored,
        "seen": tls_certificates.seen(stored),
        "is_bound": bool(stored.certificates),
        "is_on": tls_certificates.is_on(),
        "csrf_token": context.get("csrf_token"),
    }
