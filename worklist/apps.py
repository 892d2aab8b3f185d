from __future__ import annotations

from django.apps import AppConfig


class WorklistConfig(AppConfig):
    name = "worklist"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from worklist import checks  # noqa: F401  registers the system checks
