from __future__ import annotations

import datetime as dt

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.cast import actor
from worklist import roles
from worklist.audit import trail
from worklist.audit.models import AuditEvent
from worklist.models import User

pytestmark = pytest.mark.django_db


def signed_in(role: str) -> Client:
    user = User(username=role.lower())
    user.set_password("quiet-lake-19")
    trail.save(user, by=actor, lists={"groups": [Group.objects.get(name=role)]})
    client = Client()
    client.force_login(user)
    return client


def test_each_role_is_a_group_with_its_permissions() -> None:
    for name, codenames in roles.ROLES.items():
        held = set(Group.objects.get(name=name).permissions.values_list("codename", flat=True))
        assert held >= set(codenames) - {"*"}, name
    clerk = Group.objects.get(name="Clerk").permissions
    assert not clerk.filter(codename__in=("override_conflict", "manage_stations")).exists()
    assert not clerk.filter(codename__startswith="delete_").exists()


def test_what_a_site_gave_to_a_role_stays_and_what_the_role_lost_comes_back() -> None:
    clerk = Group.objects.get(name="Clerk")
    extra = Permission.objects.get(codename="override_conflict")
    trail.save(clerk, by=actor, lists={"permissions": [extra]})
    call_command("migrate", verbosity=0)
    held = set(clerk.permissions.values_list("codename", flat=True))
    assert held == {*roles.ROLES["Clerk"], "override_conflict"}
    events = AuditEvent.objects.count()
    call_command("migrate", verbosity=0)
    assert AuditEvent.objects.count() == events


@pytest.mark.parametrize("role", ["", *roles.ROLES])
@pytest.mark.parametrize("state", [{}, {"is_superuser": True}, {"is_active": False}])
def test_rights_are_those_that_django_reads_in_one_statement(
    role: str, state: dict[str, bool]
) -> None:
    user = User(username="anna", **state)
    own = list(Permission.objects.filter(codename__in=["merge_patients", "view_patient"]))
    groups = list(Group.objects.filter(name=role))
    trail.save(user, by=actor, lists={"groups": groups, "user_permissions": own})
    expected = ModelBackend().get_all_permissions(User.objects.get())
    read = User.objects.get()
    with CaptureQueriesContext(connection) as statements:
        assert read.get_all_permissions() == expected
        assert read.has_perm("worklist.merge_patients") == bool(expected)
        assert read.has_module_perms("worklist") == bool(expected)
    assert len(statements) == read.is_active
    assert read.get_all_permissions(obj=user) == set()


def test_every_page_asks_who_is_there_first() -> None:
    response = Client().get("/preferences/")
    assert (response.status_code, response["Location"]) == (302, "/sign-in/?next=/preferences/")
    assert Client().get("/nothing/of/this/name/").status_code == 404
    assert Client().get("/preferences/", headers={"HX-Request": "true"}).status_code == 401


def test_who_has_not_been_seen_for_half_an_hour_is_signed_out() -> None:
    client = signed_in("Clerk")
    assert client.get("/preferences/").status_code == 200
    session = client.session
    session["seen"] = int(dt.datetime.now().timestamp()) - 31 * 60
    session.save()
    assert client.get("/preferences/").status_code == 302


def test_a_page_that_refreshes_itself_is_no_sign_of_life() -> None:
    client = signed_in("Clerk")
    client.get("/preferences/")
    session = client.session
    seen = session["seen"] = session["seen"] - 60
    session.save()
    client.get("/preferences/", headers={"X-Background": "1"})
    assert client.session["seen"] == seen
    client.get("/preferences/")
    assert client.session["seen"] > seen


def test_ten_failures_lock_the_name_at_that_address_for_a_while() -> None:
    client = signed_in("Clerk")
    client.logout()
    wrong = {"username": "clerk", "password": "wrong"}
    statuses = [client.post("/sign-in/", wrong).status_code for _ in range(10)]
    assert statuses == [422] * 9 + [429]
    right = {"username": "clerk", "password": "quiet-lake-19"}
    assert client.post("/sign-in/", right).status_code == 429
    elsewhere = Client(REMOTE_ADDR="10.0.0.9")
    assert elsewhere.post("/sign-in/", right).status_code == 302


def test_form_of_another_site_is_not_offered_again() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create(username="ines"))
    data = {"theme": "midnight"}
    foreign = client.post("/preferences/", data, headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403
    assert b"midnight" not in foreign.content
    own = client.post("/preferences/", data, headers={"Origin": "http://testserver"})
    assert own.status_code == 403
    assert b'name="theme" value="midnight"' in own.content


def test_language_is_the_persons_then_the_browsers_then_the_sites() -> None:
    client = signed_in("Clerk")

    def language(accepted: str) -> str:
        response = client.get("/preferences/", headers={"Accept-Language": accepted})
        return response["Content-Language"]

    assert language("de-AT,de;q=0.9") == "de"
    assert language("fr") == "en"
    client.post("/language/", {"language": "de", "next": "/preferences/"})
    assert language("en") == "de"


def test_pages_load_nothing_from_elsewhere_and_run_nothing_inline() -> None:
    client = Client()
    user = User.objects.create(username="boss", is_staff=True, is_superuser=True)
    client.force_login(user)
    for path in ("/preferences/", "/admin/", "/healthz", "/nothing/"):
        policy = client.get(path)["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
