"""What an account may do, read in one statement a request: no page is shown without it."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Permission


class RightsBackend(ModelBackend):
    """Django's own, but that the rights of a person and of the roles are read together."""

    def get_all_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        if not user_obj.is_active or user_obj.is_anonymous or obj is not None:
            return set()
        if not hasattr(user_obj, "_rights"):
            user_obj._rights = {
                f"{app}.{codename}" for app, codename in _held_by(user_obj).iterator()
            }
        held: set[str] = user_obj._rights
        return held


def _held_by(user: Any) -> Any:
    all_ = Permission.objects.order_by().values_list("content_type__app_label", "codename")
    if user.is_superuser:
        return all_
    return all_.filter(group__user=user).union(all_.filter(user=user))
