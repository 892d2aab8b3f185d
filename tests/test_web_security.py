"""What keeps strangers out of the web, past rights and roles: hosts, cookies, headers, uploads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from tests import tools
from tests.cast import actor
from tests.pages import sign_in
from worklist.audit import trail
from worklist.models import User

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "quiet-lake-19"
PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "worklist.settings",
    "SECRET_KEY": "9Jx-for-this-test-alone-and-long-enough-for-every-check-of-django-7Qw",
    "DEBUG": "0",
    "HTTPS": "1",
    "ALLOWED_HOSTS": "worklist.example.org",
    "CSRF_TRUSTED_ORIGINS": "https://worklist.example.org",
}


def in_production(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATABASE_URL": tools.database_url(), **PRODUCTION}
    # The browser of other tests in this process takes it.
    environment.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_settings_of_production_pass_djangos_own_checks() -> None:
    done = in_production("manage.py", "check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr


def test_cookies_and_headers_over_https() -> None:
    """By the settings of production: a page is asked for as its proxy would."""
    asked = (
        "import django; django.setup()\n"
        "from django.conf import settings; from django.test import Client\n"
        "settings.STORAGES['staticfiles']['BACKEND'] ="
        " 'django.contrib.staticfiles.storage.StaticFilesStorage'\n"
        "host = {'HTTP_HOST': 'worklist.example.org'}\n"
        "page = Client().get('/sign-in/', HTTP_X_FORWARDED_PROTO='https', **host)\n"
        "print(page.status_code, *page.headers.items(), *page.cookies.values(), sep='\\n')\n"
        "print(Client().get('/sign-in/', **host)['Location'])\n"
        "print(Client().get('/sign-in/', HTTP_HOST='evil.example').status_code)\n"
        "print(Client().get('/sign-in/', HTTP_X_FORWARDED_HOST='evil.example', **host)['Location'])"
    )
    told = in_production("-c", asked)
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert lines[0] == "200"
    assert lines[-3:] == [
        "https://worklist.example.org/sign-in/",
        "400",
        "https://worklist.example.org/sign-in/",
    ]
    for header in (
        "('Strict-Transport-Security', 'max-age=31536000; includeSubDomains; preload')",
        "('X-Frame-Options', 'DENY')",
        "('X-Content-Type-Options', 'nosniff')",
        "('Referrer-Policy', 'same-origin')",
        "('Cross-Origin-Opener-Policy', 'same-origin')",
    ):
        assert header in lines
    assert "frame-ancestors 'none'" in told.stdout
    assert "unsafe" not in told.stdout
    (cookie,) = [line for line in lines if line.startswith("Set-Cookie")]
    assert cookie.startswith("Set-Cookie: __Host-csrftoken=")
    assert "; Path=/" in cookie
    assert "; Secure" in cookie
    assert "SameSite=Lax" in cookie
    assert "Domain" not in cookie


def test_a_session_that_was_there_before_does_not_become_a_signed_in_one() -> None:
    user = User(username="ines")
    user.set_password(PASSWORD)
    trail.save(user, by=actor)
    client = Client()
    client.post("/language/", {"language": "de", "next": "/sign-in/"})
    planted = client.session.session_key
    assert planted, "whoever was here before knows this key"
    answer = client.post("/sign-in/", {"username": "ines", "password": PASSWORD})
    assert answer.status_code == 302
    known = client.session.session_key
    assert known != planted
    client.post("/sign-out/")
    thief = Client()
    for key in (planted, known):
        thief.cookies["sessionid"] = str(key)
        assert thief.get("/today/").status_code == 302


@pytest.mark.parametrize(
    ("password", "is_taken"),
    [
        ("short-lake9", False),
        ("password1234", False),
        ("technologist", False),
        ("six words of no meaning at all", True),
        ("ウサギとカメとキツネとタヌキ", True),
        ("x7" * 50, True),
    ],
)
def test_a_password_is_long_and_not_everybodys(password: str, is_taken: bool) -> None:
    """No rule of composition, no upper bound in sight: NIST SP 800-63B."""
    user = User(username="technologist")
    user.set_password(PASSWORD)
    trail.save(user, by=actor)
    client = Client()
    client.force_login(user)
    form = {"old_password": PASSWORD, "new_password1": password, "new_password2": password}
    assert (client.post("/password/", form).status_code == 302) == is_taken


def test_a_body_past_the_bound_is_not_read(settings: Any) -> None:
    settings.UPLOAD_MAX_BYTES = 2000
    client = sign_in("Administrator")
    large = SimpleUploadedFile("exams.csv", b"x" * 3000)
    answer = client.post("/setup/procedures/import/", {"file": large})
    assert answer.status_code == 400
    small = SimpleUploadedFile("exams.csv", b"x" * 1000)
    assert client.post("/setup/procedures/import/", {"file": small}).status_code != 400


@pytest.mark.parametrize("path", ["/exams/new/", "/sign-in/"])
def test_a_form_of_too_much_is_refused(path: str) -> None:
    client = sign_in()
    assert client.post(path, {"history": "x" * 3_000_000}, follow=True).status_code in (200, 400)
    many = {f"f{number}": "1" for number in range(2000)}
    assert client.post("/exams/new/", many).status_code == 400
    body, kind = "history=" + "x" * 3_000_000, "application/x-www-form-urlencoded"
    assert client.post("/exams/new/", body, content_type=kind).status_code == 400
