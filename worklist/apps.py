from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate


class WorklistConfig(AppConfig):
    name = "worklist"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from worklist import checks, copies, deadline, roles, shared, sign_ins  # noqa: F401  checks registers itself

        # Permissions are made by a receiver of the same signal, of an app that stands before.
        post_migrate.connect(roles.synchronise, sender=self)
        post_migrate.connect(copies.after_migrating, sender=self)
        pre_migrate.connect(shared.before_migrating, sender=self)
        post_migrate.connect(shared.after_migrating, sender=self)
        sign_ins.connect()
        deadline.connect()
