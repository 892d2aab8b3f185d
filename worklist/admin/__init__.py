"""The administration for staff, model by model; what all of them share is in `signed`."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin

from worklist.admin import accounts, catalogue, orders, patients, trail, walls

admin.site.site_header = settings.SITE_NAME
admin.site.site_title = settings.SITE_NAME
admin.site.index_title = "Set-up"

__all__ = ["accounts", "catalogue", "orders", "patients", "trail", "walls"]
