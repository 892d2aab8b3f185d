"""What a browser does, and no more: cookies, one connection that stays open, forms that are sent.

Standard library only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from urllib.parse import urlencode


@dataclass(frozen=True)
class Answer:
    """A response, and how many milliseconds it took until its last byte was here."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    milliseconds: float

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Form:
    """A form as it stands in a page: what would be sent if nobody touched it."""

    action: str = ""
    method: str = "get"
    fields: list[tuple[str, str]] = field(default_factory=list)
    # What may be chosen, by the field's name.
    options: dict[str, list[str]] = field(default_factory=dict)

    def filled(self, values: Mapping[str, str]) -> list[tuple[str, str]]:
        """The fields with these values in the place of theirs."""
        kept = [(name, value) for name, value in self.fields if name not in values]
        return [*kept, *values.items()]


class Browser:
    """One person at one screen."""

    def __init__(self, host: str, port: int) -> None:
        self.origin = f"http://{host}:{port}"
        self.connection = HTTPConnection(host, port, timeout=60)
        self.cookies: dict[str, str] = {}

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self._ask("GET", path, headers or {}, None)

    def post(self, path: str, fields: list[tuple[str, str]]) -> Answer:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.origin}
        return self._ask("POST", path, headers, urlencode(fields).encode())

    def sign_in(self, username: str, password: str) -> None:
        form = forms(self.get("/sign-in/").text)[0]
        values = {"username": username, "password": password}
        answer = self.post("/sign-in/", form.filled(values))
        if answer.status != 302:
            raise RuntimeError(f"signing in was answered with {answer.status}")

    def _ask(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        began = time.perf_counter()
        self.connection.request(method, path, body, {**headers, "Cookie": cookie})
        response = self.connection.getresponse()
        content = response.read()
        milliseconds = (time.perf_counter() - began) * 1000
        for line in response.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return Answer(response.status, dict(response.headers), content, milliseconds)


def forms(page: str) -> list[Form]:
    """The forms of a page, those that change something first."""
    reader = _Forms()
    reader.feed(page)
    return sorted(reader.found, key=lambda form: form.method != "post")


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []
        self.form: Form | None = None
        self.select = ""
        self.area: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.form = Form(values.get("action", ""), values.get("method", "get").lower())
            self.found.append(self.form)
        if self.form is None:
            return
        name = values.get("name", "")
        if tag == "select":
            self.select = name
            self.form.options[name] = []
        elif tag == "option" and self.select:
            self.form.options[self.select].append(values.get("value", ""))
            if "selected" in values:
                self.form.fields.append((self.select, values.get("value", "")))
        elif tag == "textarea":
            self.area = [name]
        elif tag == "input" and name:
            kind = values.get("type", "text")
            if kind == "radio":
                self.form.options.setdefault(name, []).append(values.get("value", "on"))
            if kind not in ("checkbox", "radio", "submit", "file") or "checked" in values:
                self.form.fields.append((name, values.get("value", "")))

    def handle_data(self, data: str) -> None:
        if self.area is not None:
            self.area.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.form = None
        elif tag == "select":
            self.select = ""
        elif tag == "textarea" and self.area is not None:
            if self.form is not None:
                self.form.fields.append((self.area[0], "".join(self.area[1:])))
            self.area = None
