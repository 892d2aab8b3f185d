"""The pictures of docs/: `python -m tests.screenshots`, or `make screenshots`.

The demo's data in a throw-away database, a server, an installed Chromium; each page in light and
dark. A page that the urlconf does not name is left out, with a note. Names in kanji need their
fonts (Debian: fonts-noto-cjk), or come out as boxes.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests import tools
from tests.browser.looks import SCHEMES
from worklist import children, demo

DOCS = demo.ROOT / "docs"
WIDTH, HEIGHT = 1280, 800


@dataclass(frozen=True)
class Picture:
    """A page by the name of its address, who looks at it, and the name of its file."""

    file: str
    address: str
    account: str
    # Which exam the page is about: its line in the demo's day.
    step: int = 0
    query: str = ""
    whole_page: bool = False


PICTURES = (
    Picture("board", "today", "clerk"),
    Picture("form", "exam-new", "clerk", query="?patient={patient}", whole_page=True),
    Picture("exam", "exam", "clerk", step=3, whole_page=True),
    Picture("setup", "setup-procedures", "admin"),
)


def main() -> None:
    chromium = tools.chromium()
    if chromium is None:
        raise SystemExit(f"There is no browser: {tools.CURES['browser']}")
    with tempfile.TemporaryDirectory(prefix="worklist-screenshots-") as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "worklist.settings",
            "DATABASE_URL": f"sqlite:///{folder}/demo.sqlite3",
            "ALLOWED_HOSTS": "127.0.0.1",
            "HTTPS": "0",
            "DEBUG": "0",
            "LOG_LEVEL": "WARNING",
            "SITE_NAME": "St. Anna Hospital",
        }
        os.environ.pop("DATABASE_URL_FILE", None)
        demo.prepare(os.environ)
        import django

        django.setup()
        # Before Playwright's loop runs, in which Django's ORM refuses to work.
        addresses = dict(found_addresses())
        with server() as origin, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox"] if os.geteuid() == 0 else []
            )
            for scheme in SCHEMES:
                for picture, path in addresses.items():
                    take(browser, origin, picture, path, scheme)
            browser.close()


@contextmanager
def server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        bind = f"127.0.0.1:{probe.getsockname()[1]}"
    running = children.start(demo.gunicorn(bind), cwd=demo.ROOT, environment=os.environ)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + demo.READY_WITHIN
    try:
        while True:
            try:
                opener.open(f"http://{bind}/healthz", timeout=2).close()
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise SystemExit(f"The server does not answer: {error}") from error
                time.sleep(0.1)
        yield f"http://{bind}"
    finally:
        children.stop([running], within=demo.STOPPED_WITHIN)


def found_addresses() -> Iterator[tuple[Picture, str]]:
    """The pages that are there, each with its path."""
    from django.urls import NoReverseMatch, reverse

    from worklist import clock
    from worklist.models import Patient, ScheduledProcedureStep

    patient = Patient.objects.get(patient_id="D1001")
    for picture in PICTURES:
        rows = {}
        if picture.step:
            number = f"D{clock.today():%y%m%d}{picture.step:02}"
            step = ScheduledProcedureStep.objects.get(
                requested_procedure__request__accession_number=number
            )
            rows = {"pk": step.pk}
        try:
            path = reverse(picture.address, kwargs=rows)
        except NoReverseMatch:
            print(f"{picture.file}: no address is named {picture.address!r}", file=sys.stderr)
        else:
            yield picture, path + picture.query.format(patient=patient.pk)


def take(browser: Browser, origin: str, picture: Picture, path: str, scheme: str) -> None:
    """Sign in as the picture's person and write the page as one sees it."""
    context = browser.new_context(
        base_url=origin,
        viewport={"width": WIDTH, "height": HEIGHT},
        color_scheme="dark" if scheme == "dark" else "light",
        locale="en-GB",
    )
    page: Page = context.new_page()
    page.goto("/sign-in/")
    page.fill("#id_username", picture.account)
    page.fill("#id_password", f"{picture.account}-demo")
    page.click("button.primary")
    page.wait_for_url(lambda url: "/sign-in/" not in url)
    page.goto(path, wait_until="load")
    file: Path = DOCS / f"{picture.file}-{scheme}.png"
    page.screenshot(path=file, full_page=picture.whole_page)
    print(file.relative_to(demo.ROOT))
    context.close()


if __name__ == "__main__":
    main()
