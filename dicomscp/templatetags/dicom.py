"""What other doors' pages show of the modality's: they name it, and import nothing."""

from __future__ import annotations

from typing import Any

from django import template
from django.conf import settings

from dicomscp import access, callers

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
