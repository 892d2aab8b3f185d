"""Who may open which address: every one of the urlconf, for every role and for who is signed out.

A new page is a line in NEEDS, by the name of its address.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from dicomscp.models import Query
from tests.cast import DAY, actor, book, patient, station
from worklist import roles
from worklist.audit import trail
from worklist.models import ClosedDay, OpeningHours, OrderSet, ProcedureType, User

pytestmark = pytest.mark.django_db

STATIONS = "worklist.manage_stations"
CATALOGUE = "worklist.manage_catalogue"
AUDIT = "audit.view_auditevent"
SEE = "worklist.view_scheduledprocedurestep"
EXPORT = "worklist.export_exams"
BOOK = "worklist.schedule_exam"
PATIENTS = "worklist.view_patient"
QUERIES = "worklist.view_querylog"

# What each address asks for, by its name; (): being signed in.
NEEDS: dict[str, tuple[str, ...]] = {
    "home": (),
    # Account
    "sign-out": (),
    "switch-user": (),
    "stay": (),
    "preferences": (),
    "theme": (),
    "password": (),
    # Board
    "today": (SEE,),
    "keys": (),
    # Booking
    "exam-new": (BOOK, PATIENTS),
    "exam-new-patients": (BOOK, PATIENTS),
    "exam-new-procedures": (BOOK, PATIENTS),
    "exam-new-slots": (BOOK, PATIENTS),
    "walk-in": (BOOK, PATIENTS),
    # Exams
    "exam": (SEE,),
    "exam-edit": (SEE, BOOK),
    "exam-move": (SEE, BOOK),
    "exam-cancel": (SEE, "worklist.cancel_exam"),
    "exam-status": (SEE, "worklist.set_status"),
    "exam-dicom": (SEE, PATIENTS),
    "exam-dicom-wl": (SEE, PATIENTS, EXPORT),
    "exam-dicom-json": (SEE, PATIENTS, EXPORT),
    "bulk-move": (SEE, BOOK),
    "undo": (SEE,),
    # Patients
    "patients": (PATIENTS,),
    "patient": (PATIENTS, SEE),
    "patient-edit": (PATIENTS, "worklist.change_patient"),
    "patient-merge": (PATIENTS, "worklist.merge_patients"),
    "patient-unmerge": (PATIENTS, "worklist.merge_patients"),
    # Set-up
    "setup-scanners": (STATIONS,),
    "setup-scanner-new": (STATIONS,),
    "setup-scanner": (STATIONS,),
    "setup-scanner-test": (STATIONS,),
    "setup-scanner-certificate": (STATIONS,),
    "setup-scanner-add": (STATIONS,),
    "setup-scanner-listen": (STATIONS,),
    "setup-scanner-take": (STATIONS,),
    "setup-scanner-added": (STATIONS,),
    "setup-scanner-sheet": (STATIONS,),
    "queries": (QUERIES, PATIENTS),
    "query": (QUERIES, PATIENTS),
    "status": (QUERIES,),
    "status-test": (STATIONS, QUERIES),
    "query-case": (QUERIES, PATIENTS),
    "explain": (QUERIES, PATIENTS),
    "exam-explain": (QUERIES, PATIENTS),
    "readiness-exam": (SEE,),
    "readiness-notice": (SEE,),
    "readiness-lanes": (SEE,),
    "setup-mode": (STATIONS,),
    "setup-scanner-shown": (STATIONS, SEE, PATIENTS),
    "setup-scanner-shown-now": (STATIONS, SEE, PATIENTS),
    "setup-hours": (STATIONS,),
    "setup-hours-new": (STATIONS,),
    "setup-hours-edit": (STATIONS,),
    "setup-closed-days": (STATIONS,),
    "setup-closed-day-new": (STATIONS,),
    "setup-closed-day": (STATIONS,),
    "setup-closed-day-delete": (STATIONS,),
    "setup-procedures": (CATALOGUE,),
    "setup-procedure-new": (CATALOGUE,),
    "setup-procedure": (CATALOGUE,),
    "setup-procedure-active": (CATALOGUE,),
    "setup-import": (CATALOGUE,),
    "setup-procedures-csv": (CATALOGUE,),
    "setup-order-sets": (CATALOGUE,),
    "setup-order-set-new": (CATALOGUE,),
    "setup-order-set": (CATALOGUE,),
    # Print and export
    "print-day": (SEE,),
    "exam-slip": (SEE,),
    "exams-csv": (SEE, EXPORT),
    # Audit
    "audit": (AUDIT,),
    "audit-csv": (AUDIT,),
}
# Open to who is signed out.
OPEN = frozenset({"sign-in", "language", "healthz", "readyz", "metrics", "wall"})
# The administration has rights of its own, row by row; tests/test_admin.py holds them.
ELSEWHERE = ("admin/", "static/")
SIGNED_OUT = "signed out"


@dataclass(frozen=True)
class Address:
    """One pattern of the urlconf."""

    name: str
    route: str
    view: Any
    parameters: frozenset[str]


def addresses() -> list[Address]:
    return list(_walk(get_resolver(), ""))


def _walk(resolver: URLResolver, prefix: str) -> Iterator[Address]:
    for pattern in resolver.url_patterns:
        route = prefix + str(pattern.pattern)
        if route.startswith(ELSEWHERE):
            continue
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern, route)
        else:
            assert isinstance(pattern, URLPattern)
            parameters = frozenset(getattr(pattern.pattern, "converters", {}))
            yield Address(pattern.name or route, route, pattern.callback, parameters)


def faults(found: list[Address], table: dict[str, tuple[str, ...]]) -> list[str]:
    """Where the urlconf and the table differ."""
    wrong = []
    for address in found:
        if address.name in OPEN:
            continue
        asked = getattr(address.view, "needs", None)
        if asked is None:
            wrong.append(f"{address.route}: its view says nothing of what it needs")
        elif address.name not in table:
            wrong.append(f'"{address.name}": {asked!r}, is not in the table')
        elif asked != table[address.name]:
            wrong.append(f"{address.name}: asks for {asked!r}, the table {table[address.name]!r}")
    names = {address.name for address in found}
    return wrong + [f"{name}: has no address any more" for name in table if name not in names]


def test_table_and_addresses_agree() -> None:
    assert faults(addresses(), NEEDS) == []


def test_planted_faults_are_found() -> None:
    def unguarded(request: Any) -> None:
        """A view without `needs`."""

    planted = Address("planted", "planted/", unguarded, frozenset())
    assert len(faults([*addresses(), planted], NEEDS)) == 1
    assert len(faults(addresses(), {**NEEDS, "gone": ()})) == 1
    assert len(faults(addresses(), {**NEEDS, "audit": ()})) == 1
    less = {name: needed for name, needed in NEEDS.items() if name != "audit"}
    assert len(faults(addresses(), less)) == 1


# --- every address, really asked ------------------------------------------------------------------


@pytest.fixture
def rows() -> dict[str, int]:
    """A row for each kind of address, by how the address begins."""
    hours = OpeningHours(name="Weekdays")
    kind = ProcedureType(code="CT", description="CT", modality="CT")
    order_set = OrderSet(code="O", name="Trauma")
    closed = ClosedDay(day=DAY + dt.timedelta(days=1))
    for row in (hours, kind, order_set, closed):
        trail.save(row, by=actor)
    step = book(anna := patient(), stations=[ct1 := station()])
    asked = Query.objects.create(at=timezone.now(), keys=0, sent=0, milliseconds=0, identifier=b"")
    return {
        "exams/": step.pk,
        "readiness/exam/": step.pk,
        "queries/": asked.pk,
        "patients/": anna.pk,
        "setup/scanners/": ct1.pk,
        "setup/hours/": hours.pk,
        "setup/closed-days/": closed.pk,
        "setup/procedures/": kind.pk,
        "setup/order-sets/": order_set.pk,
    }


def path_of(address: Address, rows: dict[str, int]) -> str:
    route = "/" + address.route
    if not address.parameters:
        return route
    if address.name == "wall":  # its key is the right to see it
        return route.replace("<str:key>", "unknown")
    assert address.parameters == {"pk"}, f"{address.route}: say here which row it is about"
    key = next(key for start, key in rows.items() if address.route.startswith(start))
    return route.replace("<int:pk>", str(key))


def clients() -> dict[str, Client]:
    made = {SIGNED_OUT: Client()}
    for role in roles.ROLES:
        user = User(username=role.lower())
        user.set_password("quiet-lake-19")
        trail.save(user, by=actor, lists={"groups": [Group.objects.get(name=role)]})
        made[role] = Client()
        made[role].force_login(user)
    return made


def ask(client: Client, path: str) -> Any:
    """The answer to a GET, or where that is not a way to ask, to an empty form; nothing stays."""
    session = deepcopy(client.cookies)
    with transaction.atomic():
        response = client.get(path)
        if response.status_code == 405:
            response = client.post(path)
        transaction.set_rollback(True)
    client.cookies = session
    return response


def may(role: str, needed: tuple[str, ...]) -> bool:
    held = roles.ROLES[role]
    return "*" in held or all(name.rpartition(".")[2] in held for name in needed)


def test_every_address_for_every_role_and_signed_out(rows: dict[str, int]) -> None:
    wrong = []
    everybody = clients()
    for address in addresses():
        path = path_of(address, rows)
        for role, client in everybody.items():
            response = ask(client, path)
            status = response.status_code
            to_sign_in = response.headers.get("Location", "").startswith("/sign-in/?next=")
            is_closed = status == 401 or (status == 302 and to_sign_in)
            if address.name in OPEN:
                is_right = not is_closed and status < 500
            elif role == SIGNED_OUT:
                is_right = is_closed
            elif may(role, NEEDS[address.name]):
                is_right = not is_closed and status not in (403, 404, 405) and status < 500
            else:
                is_right = status == 403
            if not is_right:
                wrong.append(f"{role} at {path}: {status}")
    assert wrong == []
