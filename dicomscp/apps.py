from __future__ import annotations

from django.apps import AppConfig


class DicomScpConfig(AppConfig):
    name = "dicomscp"
    default_auto_field = "django.db.models.BigAutoField"
