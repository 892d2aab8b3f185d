"""Pages as a browser without scripts sees them: what is in a form, and what it sends."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from html import unescape
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client

from tests.cast import actor
from worklist.audit import trail
from worklist.models import User


def sign_in(role: str = "Clerk") -> Client:
    user = User.objects.filter(username=role.lower()).first()
    if user is None:
        user = User(username=role.lower())
        user.set_unusable_password()
        trail.save(user, by=actor, lists={"groups": [Group.objects.get(name=role)]})
    client = Client()
    client.force_login(user)
    return client


def fields(html: str, form_id: str = "booking") -> dict[str, Any]:
    """What a browser would send of the form as it stands, buttons left out."""
    form = re.search(rf'<form[^>]*id="{form_id}".*?</form>', html, re.S)
    assert form
    found: dict[str, Any] = {}
    for tag in re.findall(r"<input[^>]*>", form[0]):
        held = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        is_tick = held.get("type") in ("checkbox", "radio")
        if "name" in held and (not is_tick or " checked" in tag):
            found[held["name"]] = unescape(held.get("value", "on" if is_tick else ""))
    for name, body in re.findall(r'<select name="([^"]*)".*?>(.*?)</select>', form[0], re.S):
        chosen = re.search(r'<option value="([^"]*)" selected', body)
        first = re.search(r'<option value="([^"]*)"', body)
        found[name] = match[1] if (match := chosen or first) else ""
    for name, text in re.findall(r'<textarea name="([^"]*)".*?>(.*?)</textarea>', form[0], re.S):
        found[name] = unescape(text.removeprefix("\n"))
    return found


class Desk:
    """A browser without scripts on the booking page."""

    def __init__(self, client: Client | None = None, query: str = "") -> None:
        self.client = client or sign_in()
        self.response = self.client.get(f"/exams/new/{query}")
        self.values = fields(self.text)

    @property
    def text(self) -> str:
        return self.response.content.decode()

    def press(self, name: str, value: str = "1", **typed: str) -> Desk:
        data = self.values | typed | {name: value}
        self.response = self.client.post("/exams/new/", data)
        if self.response.status_code != 302:
            self.values = fields(self.text)
        return self

    def save(self, **typed: Any) -> Any:
        data = self.values | typed | {"act": "save"}
        self.response = self.client.post("/exams/new/", data)
        return self.response


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Do these at the same moment, each on a connection of its own; answer what they answer."""
    start, answers = threading.Barrier(len(acts), timeout=20), []

    def run(act: Callable[[], Any]) -> None:
        try:
            start.wait()
            answers.append(act())
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers
