from __future__ import annotations

import logging
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, transaction

from tests.cast import patient
from worklist.logs import DiscreetFormatter
from worklist.models import Patient

SAID = """duplicate key value violates unique constraint "once"
DETAIL:  Key (patient_id, issuer)=(SECRET, ) already exists.
CONTEXT:  somewhere"""


def formatter() -> DiscreetFormatter:
    return DiscreetFormatter("%(levelname)s %(message)s")


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.ERROR, "x.py", 1, message, (), None)


def test_values_that_the_database_refuses_are_not_logged() -> None:
    assert formatter().format(record(SAID)).splitlines() == [
        'ERROR duplicate key value violates unique constraint "once"',
        "CONTEXT:  somewhere",
    ]
    lines = "refused\nDETAIL:  Failing row contains (7, SECRET, two\n\nlines)."
    assert formatter().format(record(lines)) == "ERROR refused"
    assert formatter().format(record("booked\nas it was")) == "ERROR booked\nas it was"


@pytest.mark.django_db
def test_traceback_of_the_database_says_nothing_of_the_patient() -> None:
    patient("SECRET")
    out = StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        with transaction.atomic():
            Patient.objects.create(name="X^Y", patient_id="SECRET")
    except IntegrityError:
        logger.exception("refused")
    text = out.getvalue()
    assert "IntegrityError" in text
    assert "=(SECRET" not in text
    assert "already exists" not in text


def test_every_handler_writes_so() -> None:
    logging_: dict[str, Any] = settings.LOGGING
    used = {handler["formatter"] for handler in logging_["handlers"].values()}
    classes = {logging_["formatters"][name]["()"] for name in used}
    assert classes == {"worklist.logs.DiscreetFormatter"}
