"""Nonsense in the administration's addresses and forms is refused, and never an error of ours."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.db import models
from django.test import Client
from django.urls import reverse

from tests.test_admin import fill, form_of, rows, signed_in, url
from worklist.audit.models import AuditEvent
from worklist.models import (
    ClosedDay,
    Patient,
    ProcedureType,
    ScheduledProcedureStep,
    Station,
    User,
)

pytestmark = pytest.mark.django_db

NUL = "a\0b"
HUGE = "9" * 5000
NONSENSE = (NUL, HUGE, "-" + HUGE, "9" * 30, "99999", "x")
MODELS = tuple(admin.site._registry)


@pytest.fixture
def boss() -> Client:
    client = signed_in(is_superuser=True)
    client.raise_request_exception = False
    fill(1)
    return client


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (Station, "ae_title"),
        (Station, "modality__in"),
        (Station, "id"),
        (Station, "q"),
        (Station, "p"),
        (Station, "o"),
        (Station, "_to_field"),
        (Station, NUL),
        (Patient, "issuer"),
        (Patient, "birth_date__year"),
        (Patient, "merged_into__id__exact"),
        (ScheduledProcedureStep, "start_date__year"),
        (ScheduledProcedureStep, "start_date__gte"),
        (ScheduledProcedureStep, "stations__id__exact"),
        (AuditEvent, "at__year"),
        (AuditEvent, "object_id"),
        (User, "is_active__exact"),
    ],
)
def test_list(boss: Client, model: type[models.Model], name: str) -> None:
    page = url(model, "changelist")
    for value in NONSENSE:
        assert boss.get(page, {name: value}).status_code < 500, value[:6]
    for value in (NUL, HUGE):
        assert boss.get(page, {name: value}).status_code == 400
    year = name.replace("month", "year")
    assert boss.get(page, {year: "2024", name.replace("year", "month"): "77"}).status_code < 500


@pytest.mark.parametrize("model", MODELS)
def test_row(boss: Client, model: type[models.Model]) -> None:
    row = model._default_manager.all()[0]
    for value in NONSENSE:
        for page in ("change", "delete", "history"):
            assert boss.get(url(model, page, value)).status_code in (302, 400, 403, 404), page
        query = dict.fromkeys(("p", "_changelist_filters", "_to_field", "_popup", "e"), value)
        for page in ("change", "delete", "history"):
            assert boss.get(url(model, page, row.pk), query).status_code < 500, (page, value[:6])
        assert boss.get(url(model, "add"), {**query, "name": value}).status_code < 500
        action = {"action": "delete_selected", "_selected_action": value, "index": value}
        for data in (action, {**action, "post": "yes"}, {**action, "select_across": value}):
            assert boss.post(url(model, "changelist"), data).status_code < 500, value[:6]


def test_autocomplete(boss: Client) -> None:
    usual = {"app_label": "worklist", "model_name": "closedday", "field_name": "station"}
    for name in ("app_label", "model_name", "field_name", "term", "page"):
        for value in NONSENSE:
            answer = boss.get(reverse("admin:autocomplete"), {**usual, name: value})
            assert answer.status_code < 500, (name, value[:6])


@pytest.mark.parametrize("model", [Station, ProcedureType, ClosedDay, User])
def test_form(boss: Client, model: type[models.Model]) -> None:
    page = url(model, "change", model._default_manager.all()[0].pk)
    form = form_of(boss, page)
    for name in (*form, "proceduretypecode_set-0-DELETE", "_popup", "_to_field"):
        for value in NONSENSE[:4]:
            assert boss.post(page, {**form, name: value}).status_code < 500, (name, value[:6])


def test_rows_without_end(boss: Client) -> None:
    data = {
        "code": "K9",
        **rows("proceduretypecode_set"),
        "proceduretypecode_set-TOTAL_FORMS": "9" * 30,
    }
    answer = boss.post(url(ProcedureType, "add"), data)
    assert "Please submit at most 200 forms." in answer.content.decode()
    assert not ProcedureType.objects.filter(code="K9").exists()


def test_list_of_rows(boss: Client) -> None:
    page = url(ProcedureType, "add")
    for value in NONSENSE:
        data: dict[str, Any] = rows("proceduretypecode_set", {"code": value, "position": value})
        assert boss.post(page, {"code": "K9", **data}).status_code in (200, 400), value[:6]


def test_password_and_view_on_site(boss: Client) -> None:
    for value in NONSENSE:
        for page in (
            reverse("admin:auth_user_password_change", args=[value]),
            reverse("admin:view_on_site", args=[value, value]),
            reverse("admin:app_list", args=["worklist"]) + "?" + "x=%00",
        ):
            assert boss.get(page).status_code < 500, page[:60]
            assert boss.post(page, {"password1": value}).status_code < 500, page[:60]
