"""Who may do what: the roles as groups of permissions, and what each view asks for.

Views ask for permissions, never for the name of a role.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from django.apps import AppConfig
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

_CLERK = (
    "view_patient",
    "add_patient",
    "change_patient",
    "view_scheduledprocedurestep",
    "schedule_exam",
    "cancel_exam",
    "set_status",
    "export_exams",
    "view_station",
    "view_proceduretype",
)
_TECHNOLOGIST = (
    "view_patient",
    "add_patient",
    "view_scheduledprocedurestep",
    "schedule_exam",
    "set_status",
    "view_station",
    "view_proceduretype",
    "view_querylog",
)
_SUPERVISOR = (*_CLERK, "view_querylog", "step_back_status", "override_conflict", "merge_patients")
_SET_UP = ("manage_stations", "manage_catalogue")
# Whoever sets the product up needs the rows behind every page of the administration, too.
_EVERYTHING = "*"

ROLES: dict[str, tuple[str, ...]] = {
    "Clerk": _CLERK,
    "Technologist": _TECHNOLOGIST,
    "Supervisor": _SUPERVISOR,
    "Administrator": (_EVERYTHING,),
    "Auditor": ("view_auditevent",),
}
"""The codenames of each role's permissions; all are those of our own models."""

_OURS = ("worklist", "audit", "auth")
# Django names these in English, by its names of the models.
_WORDS = {
    "view_patient": _("Can see patients"),
    "add_patient": _("Can register patients"),
    "change_patient": _("Can change patients"),
    "view_scheduledprocedurestep": _("Can see exams"),
    "view_auditevent": _("Can read the audit trail"),
}


def right(codename: str) -> str:
    """What this permission lets one do, in words; "" when there is none of this name."""
    from django.contrib.auth.models import Permission  # not before the apps are loaded

    if codename in _WORDS:
        return str(_WORDS[codename])
    permission = Permission.objects.filter(codename=codename).first()
    # The names of our own are marked for the translators where the models name them.
    return gettext(permission.name) if permission else ""


def holders(codename: str) -> str:
    """The roles that hold this permission, to ask for help: "Administrator, Supervisor"."""
    from django.contrib.auth.models import Group  # not before the apps are loaded

    names = Group.objects.filter(permissions__codename=codename).order_by("name")
    return ", ".join(names.values_list("name", flat=True).distinct())


View = TypeVar("View", bound=Callable[..., HttpResponseBase])


def needs(*permissions: str) -> Callable[[View], View]:
    """A view that asks for these permissions ("worklist.schedule_exam"); none: being signed in.

    Whoever lacks one is told which, by the page of status 403.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **options: Any) -> HttpResponseBase:
            missing = [name for name in permissions if not request.user.has_perm(name)]
            if missing:
                raise PermissionDenied(missing[0])
            return view(request, *args, **options)

        guarded.needs = permissions  # type: ignore[attr-defined]  # read by the permission test
        return guarded  # type: ignore[return-value]

    return decorate


def synchronise(app_config: AppConfig | None = None, **options: Any) -> None:
    """Make the groups of the roles, and give each the permissions that its role has here.

    Runs after each migration. What a site has added to a group stays.
    """
    from django.contrib.auth.models import Group, Permission

    from worklist.audit import trail
    from worklist.audit.trail import Actor

    ours = {
        permission.codename: permission
        for permission in Permission.objects.filter(content_type__app_label__in=_OURS)
    }
    if not ours:
        return
    for name, codenames in ROLES.items():
        wanted = (
            set(ours.values())
            if _EVERYTHING in codenames
            else {ours[codename] for codename in codenames if codename in ours}
        )
        group = Group.objects.filter(name=name).first() or Group(name=name)
        held = set(group.permissions.all()) if group.pk else set()
        if group.pk is None or not wanted <= held:
            trail.save(group, by=Actor("migrate"), lists={"permissions": list(held | wanted)})
