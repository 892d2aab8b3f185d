"""Looks at lists of patients: one event names them all, and is found by each of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Q
from django.utils import timezone

from worklist.audit import trail
from worklist.audit.messages import LOOKS
from worklist.audit.models import AuditEvent
from worklist.audit.trail import Actor

# For how long a look at a list that is shown again and again stands for the next ones.
_STANDS = dt.timedelta(minutes=10)


def seen(
    patients: Iterable[int],
    *,
    by: Actor,
    label: str,
    action: str = "view",
    details: Mapping[str, Any] | None = None,
) -> None:
    """Sign that a list named `label` showed the patients of these keys; nobody, and it is no event.

    What is printed or exported is one even when it is empty.
    """
    keys = list(dict.fromkeys(patients))
    if keys or action != "view":
        trail.note(action, by=by, label=label, details={**(details or {}), "patients": keys})


def seen_again(
    patients: Iterable[int], *, by: Actor, label: str, details: Mapping[str, Any] | None = None
) -> None:
    """The same for what is shown again and again, as a page that refreshes itself.

    It signs those whom this person has not seen there in the last minutes.
    """
    keys = set(patients)
    if keys:
        recent = AuditEvent.objects.filter(
            OF_LISTS, at__gte=timezone.now() - _STANDS, actor=by.name, object_label=label
        )
        for event in recent.order_by().only("model", "after"):
            keys.difference_update(patients_of(event))
    seen(sorted(keys), by=by, label=label, details=details)


# The condition of an index.
OF_LISTS = Q(model="", action__in=LOOKS)


def patients_of(event: AuditEvent) -> list[int]:
    """The keys of the patients whom a list has shown."""
    listed = event.after.get("patients") if not event.model else None
    return [key for key in listed if isinstance(key, int)] if isinstance(listed, list) else []


def of_patient(pk: int) -> Q:
    """The events of the lists that showed this patient."""
    # Both databases can be asked for a pattern in the text of a JSON list: [17,23] or [17, 23].
    return OF_LISTS & Q(after__patients__iregex=rf"[\[ ,]{pk}[\],]")
