"""Names, IDs and passwords run through the whole broker; not one is in a log, an address, an error.

Both servers are real ones, at LOG_LEVEL=DEBUG and with gunicorn's access log.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.pdu_primitives import UserIdentityNegotiation
from pynetdicom.sop_class import ModalityWorklistInformationFind

from benchmarks.web.browser import Answer, Browser
from tests import network
from tests.asking import query
from tests.faults.databases import CLERK, HERE, PASSWORD, ROOT, Postgres, Sqlite
from tests.faults.site import Site, open_site
from tests.pages import fields
from tests.strategies import Query
from tests.test_import_wl import data_set
from tests.waiting import until
from worklist import children

FAMILY, GIVEN, NUMBER, TEXT = "Zqsentinel", "Xvsentinel", "ZQ77SENT", "Wksentinel"
SECRET = "qjsentinel-91"
SENTINELS = (FAMILY, GIVEN, NUMBER, TEXT, SECRET)
_FOUND = re.compile("|".join(SENTINELS), re.IGNORECASE)


class Watched:
    """A browser whose every address is looked at, and each page that is an error's."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.leaks: list[str] = []

    def get(self, path: str) -> Answer:
        return self._seen(self.browser.get(path), path)

    def post(self, path: str, values: dict[str, Any], **more: str) -> Answer:
        token = self.browser.cookies.get("csrftoken", "")
        form = {"csrfmiddlewaretoken": token, **values, **more}
        return self._seen(self.browser.post(path, list(form.items())), path)

    def _seen(self, answer: Answer, path: str) -> Answer:
        told = [path]
        told += [answer.headers.get(name, "") for name in ("Location", "HX-Push-Url")]
        told += [answer.headers.get(name, "") for name in ("HX-Redirect", "Content-Disposition")]
        # What a page links to becomes an address.
        told += re.findall(r'(?:href|src|action|hx-(?:get|post|push-url))="([^"]*)"', answer.text)
        if answer.status >= 500 or answer.status in (400, 404):
            told.append(answer.text)
        elif SECRET in answer.text:
            told.append(SECRET)
        self.leaks += [f"{path}: {answer.status}: {each[:300]}" for each in told if leaks(each)]
        return answer


def leaks(text: str) -> bool:
    return bool(_FOUND.search(text))


@pytest.fixture(scope="module", params=[Postgres, Sqlite])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with open_site(request.param(), LOG_LEVEL="DEBUG") as site:
        yield site


def test_no_sentinel_is_in_any_log_address_or_error_page(site: Site) -> None:
    clerk, admin, stranger = (Watched(site.browser()) for _ in range(3))
    sign_in(stranger, "clerk", SECRET)
    for _ in range(12):
        sign_in(stranger, "nobody", SECRET)
    sign_in(clerk, CLERK, PASSWORD)
    sign_in(admin, "admin", PASSWORD)
    at_the_desk(clerk)
    with_wrong_forms(clerk)
    in_administration(admin)
    with_a_database_that_is_not_as_it_was(site, clerk)
    with_a_fault_of_ours(site, clerk, admin)
    files = with_files(site)
    scp = with_scanners(site)
    leaked = clerk.leaks + admin.leaks + stranger.leaks
    assert not leaked, leaked
    for name, text in {"web": site.log.read_text(), "runscp": scp, "import": files}.items():
        lines = [line for line in text.splitlines() if leaks(line)]
        assert lines == [], name
        assert text, name
    assert "AttributeError" in site.log.read_text(), "the traceback was to be seen"


def sign_in(watched: Watched, name: str, password: str) -> None:
    watched.get("/sign-in/")
    watched.post("/sign-in/", {"username": name, "password": password})


def new_patient(watched: Watched, **more: str) -> dict[str, Any]:
    page = watched.get("/exams/new/").text
    for button in ({"choose_patient": "new"}, {"choose_exam": "p1"}):
        page = watched.post("/exams/new/", {**fields(page), **button}).text
    said = {"family": FAMILY, "given": GIVEN, "patient_id": NUMBER, "born": "1980-02-03"}
    time = {"0-day": "2031-03-04", "0-time": "09:00", "act": "save"}
    return {**fields(page), **said, "sex": "M", "history": TEXT, **time, **more}


def at_the_desk(clerk: Watched) -> None:
    """Book, look for, look at, change, print, export."""
    form = new_patient(clerk)
    assert clerk.post("/exams/new/", form).status == 302
    assert clerk.post("/exams/new/", form).status == 302
    for typed in (FAMILY, NUMBER, f"{FAMILY}, {GIVEN}", "'", "%"):
        clerk.post("/exams/new/patients/", {"patient_query": typed})
        clerk.post("/patients/", {"q": typed})
        clerk.post("/today/", {"q": typed})
        clerk.post("/exams/new/", {"patient_query": typed, "act": "default"})
    for path in (
        "/today/?day=2031-03-04",
        "/patients/1/",
        "/patients/1/edit/",
        "/exams/1/",
        "/exams/1/edit/",
        "/exams/1/slip/",
        "/exams/1/move/",
        "/exams/1/cancel/",
        "/print/day/?day=2031-03-04",
        "/export/exams.csv?day=2031-03-04",
        "/exams/new/?patient=1",
        "/exams/new/?after=1",
        "/walk-in/",
    ):
        clerk.get(path)
    clerk.post("/exams/1/status/", {"status": "ARRIVED"})
    clerk.post("/walk-in/", {"family": FAMILY, "patient_query": FAMILY, "act": "save"})


def with_wrong_forms(clerk: Watched) -> None:
    """What is malformed, what is not there, what may not be, and a form without its token."""
    form = new_patient(clerk, born=TEXT, family=FAMILY * 9, given="\x01" + GIVEN, sex="")
    assert clerk.post("/exams/new/", form).status == 422
    clerk.post("/exams/new/", {**form, "family": f"{FAMILY}\0"})
    for path in ("/exams/new/", "/patients/1/edit/", "/exams/999/edit/", "/patients/999/", "/no/"):
        clerk.post(path, form)
    clerk.post("/exams/new/", form, csrfmiddlewaretoken="not one")
    clerk.post("/sign-in/", {"password": SECRET}, csrfmiddlewaretoken="not one")
    clerk.post("/password/", {"old_password": SECRET, "new_password1": SECRET})
    clerk.post("/password/", {"old_password": SECRET}, csrfmiddlewaretoken="not one")
    clerk.post("/exams/new/", {str(number): TEXT for number in range(1200)})


def in_administration(admin: Watched) -> None:
    for path in ("patient", "scheduledprocedurestep", "imagingservicerequest"):
        admin.get(f"/admin/worklist/{path}/")
        admin.get(f"/admin/worklist/{path}/1/change/")
    admin.get("/admin/worklist/user/add/")
    new = {"username": "new", "password1": SECRET, "password2": "another-one-22"}
    admin.post("/admin/worklist/user/add/", new)
    admin.post("/admin/worklist/user/1/password/", {"password1": SECRET, "password2": "other-9"})
    admin.post("/admin/worklist/user/add/", {"password1": SECRET}, csrfmiddlewaretoken="no")
    for path in ("/audit/", "/status/", "/setup/scanners/", "/readiness/", "/queries/"):
        admin.get(path)
    admin.post("/audit/", {"identifier": NUMBER, "who": "clerk"})


def with_a_fault_of_ours(site: Site, clerk: Watched, admin: Watched) -> None:
    """A page that fails on what it reads of a patient: 500, and a traceback in the log."""
    with site.database.connect() as connection:
        about = "FROM audit_auditevent WHERE model = 'worklist.scheduledprocedurestep'"
        told = connection.execute(f"SELECT * {about}")
        names = [column[0] for column in told.description if column[0] != "id"]
        other = {"action": "'change'", "before": f"""'"{FAMILY}"'""", "after": f"""'["{TEXT}"]'"""}
        wrong = [other.get(name, name) for name in names]
        connection.execute(
            f"INSERT INTO audit_auditevent ({', '.join(names)}) SELECT {', '.join(wrong)} {about}"
        )
    assert 500 in [clerk.get(path).status for path in ("/exams/1/", "/patients/1/")]
    admin.get("/audit/")
    with suppress(HTTPException):  # it breaks off
        admin.get("/audit/events.csv")


def with_a_database_that_is_not_as_it_was(site: Site, clerk: Watched) -> None:
    form = new_patient(clerk, patient_id=f"{NUMBER}Y", born="1960-01-01")
    with site.database.connect() as connection:
        connection.execute("ALTER TABLE worklist_patient RENAME comments TO earlier")
        for path in ("/patients/1/", "/exams/1/", "/today/?day=2031-03-04"):
            clerk.get(path)
        # The form that is kept on the page says what was typed, and nothing else does.
        clerk.browser.post("/exams/new/", list(form.items()))
        connection.execute("ALTER TABLE worklist_patient RENAME earlier TO comments")


def with_files(site: Site) -> str:
    """What an import says of good and bad files on standard error."""
    folder = Path(site.database.folder) / "sentinels"
    folder.mkdir()
    good = data_set(PatientName=f"{FAMILY}^{GIVEN}", PatientID=f"{NUMBER}F")
    (folder / "good.json").write_text(str(good.to_json()))
    bad = str(good.to_json()).replace(f"{NUMBER}F", NUMBER * 20)
    (folder / "bad.json").write_text(bad)
    (folder / "worse.json").write_text(f'{{"00100010": {{"vr": "PN", "Value": [{FAMILY}')
    done = site.manage("import_wl", str(folder))
    assert done.returncode == 1
    return f"import_wl ended\n{done.stderr}\n{done.stdout}"


def with_scanners(site: Site) -> str:
    """What runscp says of queries that are answered, refused, and broken off."""
    log = Path(site.database.folder) / "runscp.log"
    command = [sys.executable, "manage.py", "runscp", "--bind", HERE, "--port", "0"]
    with log.open("wb") as out:
        scp = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**site.environment, "PYTHONUNBUFFERED": "1"},
            stdout=out,
            stderr=out,
            preexec_fn=children.die_with_parent,
        )
    try:
        port = int(until(lambda: re.search(r":(\d+)\b", log.read_text()), what="a port")[1])
        for keys in (
            {"PatientName": f"{FAMILY}*"},
            {"PatientName": f"{FAMILY}\n2026-11-23 forged {TEXT}", "PatientID": NUMBER},
            {"PatientBirthDate": TEXT},
            {"StudyInstanceUID": SECRET, "Modality": TEXT},
            {"PatientReligiousPreference": TEXT, "AccessionNumber": NUMBER},
        ):
            ask(port, query(**keys))
    finally:
        children.stop([scp], within=10)
    return log.read_text()


def ask(port: int, asked: Query) -> None:
    ae = AE("CT1")
    ae.add_requested_context(ModalityWorklistInformationFind, ImplicitVRLittleEndian)
    who = UserIdentityNegotiation()
    who.user_identity_type, who.primary_field = 2, b"clerk"
    who.secondary_field = SECRET.encode()
    association = ae.associate(HERE, port, ae_title="WORKLIST", ext_neg=[who])
    assert association.is_established
    network.ask(association, asked)
    association.release()
