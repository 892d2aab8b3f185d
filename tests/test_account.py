from __future__ import annotations

import time
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from tests import cast
from tests.test_roles import signed_in
from worklist.audit import trail
from worklist.models import User

pytestmark = pytest.mark.django_db
PASSWORD = "quiet-lake-19"


def person(username: str) -> User:
    account = User(username=username, first_name=username.title())
    account.set_password(PASSWORD)
    clerk = Group.objects.get(name="Clerk")
    trail.save(account, by=cast.actor, lists={"groups": [clerk]})
    return account


def sign_in(client: Client, username: str, *, inline: bool = False, **more: Any) -> Any:
    headers = {"X-Inline": "1"} if inline else {}
    data = {"username": username, "password": PASSWORD, **more}
    return client.post("/sign-in/", data, headers=headers)


def a_session_that_ended(username: str) -> Client:
    """A browser in which this person had signed in."""
    client = Client()
    sign_in(client, username)
    del client.cookies["sessionid"]
    return client


def test_kept_form_is_sent_by_who_has_typed_it_alone() -> None:
    person("ann"), person("bob")
    client = a_session_that_ended("ann")
    kept = client.post("/preferences/", {"theme": "dark"})
    assert b"What you have typed is kept" in kept.content
    form: dict[str, Any] = {"kept_path": "/preferences/", "kept-theme": "dark"}
    refused = sign_in(client, "bob", **form)
    assert refused.status_code == 422
    assert b"Sign in as Ann to send it" in refused.content
    assert b'name="kept-theme" value="dark"' in refused.content
    assert "sessionid" not in client.cookies
    offered = sign_in(client, "ann", **form)
    assert b"Send it now" in offered.content


def test_page_of_one_person_goes_on_with_nobody_else() -> None:
    person("ann"), person("bob")
    client = a_session_that_ended("ann")
    answer = sign_in(client, "bob", inline=True)
    assert answer.status_code == 422
    assert "Ann" in answer.json()["errors"][0]
    assert sign_in(client, "ann", inline=True).status_code == 200


def test_board_left_open_after_an_inline_sign_in_is_signed_out_in_time() -> None:
    person("ann")
    client = Client()
    sign_in(client, "ann", inline=True)
    assert time.time() - client.session["seen"] < 5
    session = client.session
    session["seen"] -= 31 * 60
    session.save()
    background = {"X-Background": "1", "HX-Request": "true"}
    assert client.get("/today/", headers=background).status_code == 401


def test_session_without_a_sign_of_life_starts_its_clock_with_whatever_comes() -> None:
    client = signed_in("Clerk")
    client.get("/today/", headers={"X-Background": "1"})
    assert "seen" in client.session


@pytest.mark.parametrize("path", ["/patients/", "/exams/new/", "/preferences/", "/today/"])
def test_pages_of_a_signed_in_person_are_kept_nowhere(path: str) -> None:
    assert "no-store" in signed_in("Clerk").get(path)["Cache-Control"]


def test_null_characters_are_refused() -> None:
    client = signed_in("Clerk")
    assert client.get("/patients/", {"q": "ab\0c"}).status_code == 400
    assert client.post("/exams/new/patients/", {"patient_query": "ab\0c"}).status_code == 400


@pytest.mark.parametrize("path", ["/", "/healthz", "/sign-in/"])
def test_unknown_host_is_a_bad_request(path: str) -> None:
    answer = Client().get(path, headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert b"cannot be read" in answer.content


def test_notices_end_with_the_session() -> None:
    client = signed_in("Clerk")
    shown = cast.step(PatientName="Rossi^Paolo")
    client.post(f"/exams/{shown.pk}/status/", {"status": "ARRIVED", "version": "1"})
    assert "messages" not in client.cookies
    client.post("/sign-out/")
    assert b"ROSSI" not in client.get("/sign-in/").content


def test_switching_the_user_comes_back_to_the_same_filters() -> None:
    answer = signed_in("Clerk").post("/switch-user/", {"next": "/today/?day=2026-11-23&station=3"})
    assert answer["Location"] == "/sign-in/?next=%2Ftoday%2F%3Fday%3D2026-11-23%26station%3D3"


def test_guessing_ones_old_password_is_locked_as_guessing_at_the_door() -> None:
    client = signed_in("Clerk")
    wrong = {"old_password": "wrong", "new_password1": "x", "new_password2": "x"}
    answers = [client.post("/password/", wrong).status_code for _ in range(11)]
    assert answers[0] == 200
    assert answers[-1] == 429


def test_colours_are_chosen_from_the_menu_of_every_page() -> None:
    client = signed_in("Clerk")
    answer = client.post("/theme/", {"theme": "dark", "next": "/today/?modality=CT"})
    assert answer["Location"] == "/today/?modality=CT"
    assert b'data-theme="dark"' in client.get("/today/").content
    client.post("/theme/", {"theme": "pink"})
    assert User.objects.get().theme == "dark"


def test_preferences_are_kept() -> None:
    client = signed_in("Clerk")
    client.post("/preferences/", {"theme": "dark", "language": "de"})
    stored = User.objects.get()
    assert (stored.theme, stored.language) == ("dark", "de")
