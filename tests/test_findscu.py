"""The promises of test_acceptance.py once more, with DCMTK's findscu as a foreign witness."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from tests import tools
from tests.cast import DAY, YAMADA, code, step
from tests.findscu import DATE, IN_STEP, STEP, STEP_ID, TIME, UNICODE, Findscu
from worklist.models import ScheduledProcedureStep

pytestmark = [pytest.mark.django_db(transaction=True), tools.needs("dcmtk")]


def moments(*texts: str) -> None:
    for text in texts:
        start = dt.datetime.strptime(f"2024 07 {text.ljust(8, '0')}", "%Y %m %d_%H%M%S")
        step(
            ScheduledProcedureStepID=text,
            ScheduledProcedureStepStartDate=start.date(),
            ScheduledProcedureStepStartTime=start.time(),
        )


def test_t02_universal_keys_find_every_open_step(findscu: Findscu) -> None:
    for status in ("SCHEDULED", "STARTED", "COMPLETED"):
        step(ScheduledProcedureStepID=status, ScheduledProcedureStepStatus=status)
    found = findscu.ask("PatientName", "PatientID", STEP_ID)
    assert found.ids == "SCHEDULED STARTED"
    assert (found.pendings, found.final) == (["ff00", "ff00"], "0000")


def test_t03_no_match_is_one_response_without_identifier(findscu: Findscu) -> None:
    step()
    found = findscu.ask("PatientID=nobody")
    assert (found.pendings, found.final, found.answers) == ([], "0000", [])


def test_t04_ae_title_modality_and_patient_id_are_exact(findscu: Findscu) -> None:
    step(PatientID="Pat-1", ScheduledProcedureStepID="a")
    step(PatientID="7", ScheduledProcedureStepID="c", stations=["MR1"], Modality="MR")
    findscu.table(f"{IN_STEP}ScheduledStationAETitle", {"CT1": "a", "ct1": "", "?R*": "c"})
    findscu.table(f"{IN_STEP}Modality", {"MR": "c", "Mr": "", "C?": "a"})
    findscu.table("PatientID", {"Pat-1": "a", "pat-1": "", "Pat-*": "a", "Pat-": ""})


def test_t05_t06_names(findscu: Findscu) -> None:
    names = {"full": "Doe^Jane", "yamada": YAMADA, "percent": "100%^P", "thousand": "1000^P"}
    for step_id, name in names.items():
        step(PatientName=name, ScheduledProcedureStepID=step_id)
    table = {"DOE*": "full", "do?^jane": "full", "Doe^Jane^^^": "full", "DOE": ""}
    findscu.table("PatientName", {**table, "山田*": "yamada", "100%*": "percent", "' OR 1=1": ""})


def test_t07_a_lone_star_finds_steps_without_a_physician(findscu: Findscu) -> None:
    step(ScheduledProcedureStepID="with", ScheduledPerformingPhysicianName="Abe^Kim")
    step(ScheduledProcedureStepID="none")
    path = f"{IN_STEP}ScheduledPerformingPhysicianName"
    findscu.table(path, {"*": "with none", "A*": "with"})


def test_t08_t11_dates_and_times(findscu: Findscu) -> None:
    moments("5_0959", "6_100059", "7_2230")
    findscu.table(
        DATE, {"20240706": "6_100059", "20240706-": "6_100059 7_2230", "-20240705": "5_0959"}
    )
    findscu.table(TIME, {"-1000": "5_0959 6_100059", "2230": "7_2230", "223000": "7_2230"})


def test_t09_t10_date_and_time_combine_when_both_are_ranges(findscu: Findscu) -> None:
    moments("5_0959", "5_1000", "6_0300", "7_1800", "7_1801")
    three_days = f"{DATE}=20240705-20240707"
    findscu.table(TIME, {"1000-1800": "5_1000 6_0300 7_1800", "1000": "5_1000"}, three_days)
    findscu.table(TIME, {"1000-1800": "5_1000"}, f"{DATE}=20240705")


def test_t12_a_list_of_uids_finds_each(findscu: Findscu) -> None:
    for uid in ("1.2.3", "1.2.4", "1.2.5"):
        step(StudyInstanceUID=uid, ScheduledProcedureStepID=uid)
    findscu.table("StudyInstanceUID", {"1.2.3\\1.2.5\\1.2.9": "1.2.3 1.2.5"})


@pytest.mark.parametrize("empty", [STEP, f"{STEP}[0]"])
def test_t13_an_empty_sequence_or_item_asks_for_the_whole_of_it(
    findscu: Findscu, empty: str
) -> None:
    step(ScheduledProcedureStepID="S1", codes=[code()])
    (answer,) = findscu.ask(empty).answers
    (item,) = answer.ScheduledProcedureStepSequence
    assert (item.ScheduledProcedureStepID, item.ScheduledStationAETitle) == ("S1", "CT1")
    assert item.ScheduledProtocolCodeSequence[0].CodeValue == "CTTH"


def test_t13_two_items_are_refused(findscu: Findscu) -> None:
    step()
    found = findscu.ask(f"{STEP}[0].Modality=CT", f"{STEP}[1].Modality=MR")
    assert (found.final, found.answers) == ("a900", [])


def test_t15_t16_several_values(findscu: Findscu) -> None:
    step(stations=["CT2", "CT1"], ScheduledProcedureStepID="S1")
    step(stations=["MR1"], Modality="MR", ScheduledProcedureStepID="S2")
    step(stations=["US1"], Modality="US", ScheduledProcedureStepID="S3")
    path = f"{IN_STEP}ScheduledStationAETitle"
    for title in ("CT1", "CT2"):
        (answer,) = findscu.ask(f"{path}={title}").answers
        item = answer.ScheduledProcedureStepSequence[0]
        assert list(item.ScheduledStationAETitle) == ["CT2", "CT1"]
    findscu.table(f"{IN_STEP}Modality", {"CT\\MR": "S1 S2"})


def test_t17_to_t20_what_an_answer_holds(findscu: Findscu) -> None:
    step(PatientID="Pat-1", ScheduledProcedureStepID="S1")
    found = findscu.ask("PatientID", "PatientReligiousPreference=x", STEP_ID)
    (answer,) = found.answers
    assert {element.keyword for element in answer} == {
        "PatientID",
        "ScheduledProcedureStepSequence",
    }
    assert (found.pendings, found.final) == (["ff01"], "0000")
    found = findscu.ask(UNICODE, "TimezoneOffsetFromUTC=+0900", "PatientComments", STEP_ID)
    (answer,) = found.answers
    assert found.pendings == ["ff00"]
    assert answer["PatientComments"].is_empty


@pytest.mark.parametrize(
    ("terms", "codec"), [("ISO_IR 100", "latin-1"), ("GBK", "gbk"), ("GB18030", "gb18030")]
)
def test_t21_t22_names_come_in_the_set_of_the_request(
    findscu: Findscu, terms: str, codec: str
) -> None:
    name = "Müller^Anna" if codec == "latin-1" else "Cheng^A=乗^俓"
    pattern = "M?ller^*" if codec == "latin-1" else "乗^俓"
    step(PatientName=name)
    step(PatientName="Doe")
    key = b"PatientName=" + pattern.encode(codec)
    (answer,) = findscu.ask(f"SpecificCharacterSet={terms}", key).answers
    assert answer.SpecificCharacterSet == terms
    value = cast(Any, answer.get_item("PatientName")).value
    assert value.decode(codec).rstrip(" ") == name


def test_t21_what_does_not_fit_comes_in_unicode(findscu: Findscu) -> None:
    step(PatientName=YAMADA)
    for given in ([], ["SpecificCharacterSet=ISO_IR 100"]):
        (answer,) = findscu.ask(*given, "PatientName").answers
        assert answer.SpecificCharacterSet == "ISO_IR 192"
        assert answer.PatientName == YAMADA
    (answer,) = findscu.ask("SpecificCharacterSet=\\ISO 2022 IR 87", "PatientName").answers
    assert list(answer.SpecificCharacterSet) == ["", "ISO 2022 IR 87"]
    assert answer.PatientName == YAMADA


def test_t23_a_malformed_key_is_refused_by_its_name(findscu: Findscu) -> None:
    step()
    found = findscu.ask(f"{DATE}=20241301")
    assert (found.final, found.answers) == ("a900", [])
    details = found.output[found.output.index("Status Detail") :]
    assert "(0000,0901) AT (0040,0002)" in details


def test_t25_a_cancel_ends_the_answers(findscu: Findscu) -> None:
    # Answers of 20 MB are more than the buffers between the two hold.
    first = step(PatientComments="x" * 10240)
    ScheduledProcedureStep.objects.bulk_create(
        ScheduledProcedureStep(
            requested_procedure=first.requested_procedure,
            step_id=f"n{number}",
            start_date=DAY,
            start_time=dt.time(9),
            modality="CT",
        )
        for number in range(1999)
    )
    found = findscu.ask("PatientComments", options=("-xi", "--cancel", "1"))
    assert found.final == "fe00"
    assert 1 <= len(found.pendings) < 2000


def test_t30_small_pdus_and_many_at_once(findscu: Findscu) -> None:
    comments = "x" * 10240
    for number in range(8):
        step(PatientID=f"Q{number}", PatientComments=comments)

    def one(number: int) -> tuple[str, int]:
        folder = findscu.folder / f"together{number}"
        folder.mkdir()
        keys = (f"PatientID=Q{number}", "PatientComments")
        found = findscu.ask_into(folder, *keys, options=("-xi", "-pdu", "4096"))
        (answer,) = found.answers
        return answer.PatientID, len(answer.PatientComments)

    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(one, range(8))] == [(f"Q{n}", 10240) for n in range(8)]
