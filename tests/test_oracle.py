from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import date, time
from typing import Any

import pytest
from django.db import models, transaction
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from pydicom.datadict import dictionary_VR

from dicomscp.server import WorklistScp
from tests import network, oracle
from tests.oracle import Expected, answer, fold, is_like, is_name_like, tag_of
from tests.strategies import (
    AE_TITLES,
    CODES,
    NAME_SHAPES,
    NAMES,
    PLACES,
    SHAPES,
    TIMES,
    Key,
    Place,
    Query,
    Row,
    Worklist,
    conversations,
    fits,
    one_of_each,
    one_step_each,
    stored_at,
)
from worklist.models import (
    Code,
    ImagingServiceRequest,
    Patient,
    RequestedProcedure,
    ScheduledProcedureStep,
    Station,
    StepProtocolCode,
    StepStation,
)

# How many queries are drawn, and where chance begins; ORACLE_SHRINK looks for the smallest one that
# goes wrong.
QUERIES = int(os.environ.get("ORACLE_QUERIES", "2400"))
SEED = int(os.environ.get("ORACLE_SEED", "0"))
SHRINKS = bool(os.environ.get("ORACLE_SHRINK"))
# Past its tenth example Hypothesis repeats much of the earlier ones: each part draws anew.
WORKLISTS_IN_A_PART = 10
QUERIES_TO_A_WORKLIST = 20
PARTS = -(-QUERIES // (WORKLISTS_IN_A_PART * QUERIES_TO_A_WORKLIST))

# --- the oracle itself ----------------------------------------------------------------------------

STEP = tag_of("ScheduledProcedureStepSequence")


def entry(step: Mapping[str, Any] | None = None, **values: Any) -> Row:
    """An entry that is seen by default."""
    return {
        "ScheduledProcedureStepSequence": (
            {
                "ScheduledProcedureStepStartDate": date(2024, 7, 5),
                "ScheduledProcedureStepStartTime": time(10, 0),
                "ScheduledProcedureStepStatus": "SCHEDULED",
                "Modality": "CT",
                "ScheduledProtocolCodeSequence": (),
                **(step or {}),
            },
        ),
        **values,
    }


def keys(**values: Any) -> dict[int, tuple[Any, ...]]:
    return {
        tag_of(keyword): value if isinstance(value, tuple) else (value,)
        for keyword, value in values.items()
    }


def step_keys(**values: Any) -> dict[int, tuple[Any, ...]]:
    return {STEP: (keys(**values),)}


def matches(stored: Row, request: Mapping[int, tuple[Any, ...]]) -> bool | str:
    """Whether the entry is found; "refused" when the request is."""
    found = answer([stored], request)
    return "refused" if found.is_refused else bool(found.matches)


def test_the_two_readings_of_the_table_spell_the_same_vrs() -> None:
    for place, attribute in PLACES.items():
        assert attribute.vr == dictionary_VR(place[-1]), attribute


@pytest.mark.parametrize(
    ("stored", "key", "expected"),
    [
        ("Doe", "Doe", True),
        ("Doe", "doe", False),
        ("Doe", "Do", False),
        ("Doe", "D*", True),
        ("Doe", "*", True),
        ("Doe", "D?e", True),
        ("Doe", "Doe?", False),
        ("Doe", "???", True),
        ("Doe", "*o*", True),
        ("100%", "100%", True),
        ("1000", "100%", False),
        ("A_B", "A_B", True),
        ("AxB", "A_B", False),
        ("", "**", True),
        ("[a]", "[a]", True),
    ],
)
def test_wildcards(stored: str, key: str, expected: bool) -> None:
    assert is_like(stored, key) is expected


@pytest.mark.parametrize(
    ("stored", "key", "expected"),
    [
        ("Müller^Anna", "müller^anna", True),
        ("Müller^Anna", "MÜLLER^ANNA^^^", True),
        ("Müller^Anna", "Muller^Anna", False),
        ("Müller^Anna", "Mu\u0308ller^Anna", True),
        ("Müller^Anna", "Müller", False),
        ("Müller^Anna", "Müller*", True),
        ("Müller^Anna", "m?ller^*", True),
        ("Müller^Anna", " Müller ^ Anna ", True),
        ("Smith", "Smith^^=", True),
        ("Straße^J", "STRASSE^J", True),
        ("Straße^J", "STRAẞE^J", True),
        ("Straße^J", "Stra?e^?", True),
        ("İpek^Ayşe", "?PEK^AYŞE", True),
        ("Καρράς^Γ", "ΚΑΡΡΆΣ^Γ", True),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田*", True),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada^Tarou", True),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "yamada*=山田*", True),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "=山田^太郎", True),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "山田*=Yamada*", False),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "==やまだ*", True),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada*太郎", False),
        ("Yamada^Tarou", "Yamada*=*", True),
        ("Yamada^Tarou", "Yamada*=?*", False),
        ("Yamada^Tarou==やまだ", "*=*", True),
        ("=山田^花子", "=山田*", True),
        ("=山田^花子", "*=山田*", True),
        ("D'Arc", "d'arc", True),
    ],
)
def test_person_names(stored: str, key: str, expected: bool) -> None:
    assert is_name_like(stored, key) is expected


@pytest.mark.parametrize("key", ["", "^", "^^^", "=", "==", " ^ ^=", "= ="])
def test_a_name_of_delimiters_alone_folds_to_nothing(key: str) -> None:
    assert fold(key) == []
    assert matches(entry(PatientName=""), keys(PatientName=key)) is True


@pytest.mark.parametrize(
    ("stored", "key", "expected"),
    [
        (date(2024, 7, 5), "20240705", True),
        (date(2024, 7, 5), " 2024.07.05 ", True),
        (date(2024, 7, 5), "20240706", False),
        (date(2024, 7, 5), "20240705-", True),
        (date(2024, 7, 5), "-20240705", True),
        (date(2024, 7, 5), " 20240704 - 2024.07.05 ", True),
        (date(2024, 7, 5), "20240706-20240707", False),
        (date(2024, 7, 5), "20240707-20240706", "refused"),
        (date(2024, 7, 5), "20241301", "refused"),
        (date(2024, 7, 5), "20240230", "refused"),
        (date(2024, 7, 5), "-", "refused"),
        (date(2024, 7, 5), "2024", "refused"),
        (date(2024, 7, 5), "2024070*", "refused"),
        (date(2024, 7, 5), "²0240705", "refused"),
        (date(2024, 7, 5), "**", "refused"),
        (date(2024, 7, 5), "20240701-20240703-20240705", "refused"),
        (date(2024, 7, 5), ("20240705", "20240706"), "refused"),
        (None, "*", True),
        (None, (), True),
        (None, "  ", True),
        (None, "20240705-", False),
    ],
)
def test_dates(stored: date | None, key: Any, expected: bool | str) -> None:
    assert matches(entry(PatientBirthDate=stored), keys(PatientBirthDate=key)) == expected


@pytest.mark.parametrize(
    ("stored", "key", "expected"),
    [
        (time(22, 30), "2230", True),
        (time(22, 30), "223000", True),
        (time(22, 30), "223000.000", True),
        (time(22, 30), "22:30", True),
        (time(22, 30), "22:30:00.0", True),
        (time(22, 30), "22", False),
        (time(22), "22", True),
        (time(10, 0, 59, 999999), "-1000", True),
        (time(10, 1), "-1000", False),
        (time(10, 59, 59, 999999), "-10", True),
        (time(10, 0, 0, 1), "-100000", True),
        (time(10, 0, 1), "-100000", False),
        (time(10, 0, 0, 500000), "-100000.5", True),
        (time(10, 0, 0, 599999), "-100000.5", True),
        (time(10, 0, 0, 600000), "-100000.5", False),
        (time(10, 0, 0, 500001), "100000.5", False),
        (time(10), "1000 - 18:00", True),
        (time(9, 59, 59, 999999), "1000-1800", False),
        (time(10), "1030-10", False),
        (time(10), "1800-1000", "refused"),
        (time(10), "-", "refused"),
        (time(10), "1", "refused"),
        (time(10), "100", "refused"),
        (time(10), "2460", "refused"),
        (time(10), "10:0000", "refused"),
        (time(10), "1000.5", "refused"),
        (time(10), "100000.", "refused"),
        (time(10), "100000.1234567", "refused"),
        (time(10), "noon", "refused"),
        (None, "-2359", False),
    ],
)
def test_times(stored: time | None, key: str, expected: bool | str) -> None:
    assert matches(entry(PatientBirthTime=stored), keys(PatientBirthTime=key)) == expected


@pytest.mark.parametrize(
    ("dates", "times", "found"),
    [
        # The four moments: 5 July 9:59, 5 July 10:00, 6 July 03:00, 7 July 18:00:30.
        ("20240705-20240707", "1000-1800", [1, 2, 3]),
        ("20240705-20240707", "1000-180000", [1, 2]),
        ("20240705-20240707", "1800-1000", [2]),
        ("20240705-20240707", "1000-", [1, 2, 3]),
        ("20240705-20240706", "-0300", [0, 1, 2]),
        ("20240705-", "1000-1100", [1, 2, 3]),
        ("20240705-", "1800-1000", [2, 3]),
        ("-20240705", "2000-0959", [0]),
        ("-20240705", "0000-", [0, 1]),
        ("20240705-20240705", "1000-1000", [1]),
        ("20240705-20240705", "1800-1000", "refused"),
        ("20240706-20240705", "1000-1800", "refused"),
        ("20240705-20240707", "1000-2500", "refused"),
        ("20240705-2024070", "1000-1100", "refused"),
        ("-", "1000-1100", "refused"),
        # One range alone is independent of the other.
        ("20240705", "0900-1000", [0, 1]),
        ("20240705-20240707", "1000", [1]),
        ("20240705-20240707", "*", [0, 1, 2, 3]),
        ("*", "1000-1800", [1, 3]),
        ("20240705-20240707", "", [0, 1, 2, 3]),
        ("20240705", "1800-1000", "refused"),
    ],
)
def test_start_date_and_time_are_one_interval(dates: str, times: str, found: Any) -> None:
    moments = [
        (date(2024, 7, 5), time(9, 59)),
        (date(2024, 7, 5), time(10, 0)),
        (date(2024, 7, 6), time(3, 0)),
        (date(2024, 7, 7), time(18, 0, 30)),
    ]
    entries = [
        entry({"ScheduledProcedureStepStartDate": day, "ScheduledProcedureStepStartTime": moment})
        for day, moment in moments
    ]
    request = step_keys(
        ScheduledProcedureStepStartDate=dates, ScheduledProcedureStepStartTime=times
    )
    result = answer(entries, request)
    positions = [position for position, _ in result.matches]
    assert ("refused" if result.is_refused else positions) == found


@pytest.mark.parametrize(
    ("keyword", "stored", "key", "expected"),
    [
        ("PatientID", "PAT-1", "PAT*", True),
        ("PatientID", "PAT-1", " PAT-1 ", True),
        ("PatientID", "PAT-1", ("PAT-1", "PAT-2"), "refused"),
        ("PatientID", "PAT-1", ("PAT-1", ""), "refused"),
        ("PatientComments", "a", "a\\b", False),
        ("PatientComments", " a", " a ", True),
        ("PatientComments", " a", "a", False),
        ("PatientComments", "a\tb", "a\t?", True),
        ("PatientID", "PAT-1", "PAT\0-1", "refused"),
        ("PatientID", "PAT-1", "?" * 65, "refused"),
        ("Allergies", ("Nuts", "Latex"), "Latex", True),
        ("Allergies", ("Nuts", "Latex"), "L*", True),
        ("Allergies", "", "*", True),
        ("Allergies", "", "**", False),
        ("PatientWeight", "70", "70.0", True),
        ("PatientWeight", "7.0E1", " 70 ", True),
        ("PatientWeight", "70", "70.5", False),
        ("PatientWeight", "70", "70-80", "refused"),
        ("PatientWeight", "70", "7_0", "refused"),
        ("PatientWeight", "70", "nan", "refused"),
        ("PatientWeight", "70", "7*", "refused"),
        ("PatientWeight", "70", "*", True),
        ("PatientWeight", "", "0", False),
        ("PregnancyStatus", 4, (4,), True),
        ("PregnancyStatus", 4, (1,), False),
        ("PregnancyStatus", 4, (), True),
        ("PregnancyStatus", None, (0,), False),
        ("PregnancyStatus", 4, (4, 4), "refused"),
        ("StudyInstanceUID", "1.2.3", ("1.2", "1.2.3"), True),
        ("StudyInstanceUID", "1.2.3", "1.2.3\0", True),
        ("StudyInstanceUID", "1.2.3", "1.2", False),
        ("StudyInstanceUID", "1.2.3", "1.2.*", "refused"),
        ("StudyInstanceUID", "1.2.3", ("1.2.3", "x"), "refused"),
        ("StudyInstanceUID", "1.2.3", "1" * 65, "refused"),
        ("StudyInstanceUID", "1.2.3", "*", True),
        ("PatientBirthDate", None, "\0\0", True),
    ],
)
def test_other_keys(keyword: str, stored: Any, key: Any, expected: bool | str) -> None:
    assert matches(entry(**{keyword: stored}), keys(**{keyword: key})) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("CT", True),
        ("ct", False),
        ("C*", True),
        (("MR", "CT"), True),
        (("MR", " C? "), True),
        (("MR", ""), False),
        (("MR", "*"), True),
        (("MR", "PT"), False),
        (("", " "), "refused"),
    ],
)
def test_several_modalities_are_alternatives(key: Any, expected: bool | str) -> None:
    assert matches(entry(), step_keys(Modality=key)) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ((), True),
        (({},), True),
        (({}, {}), "refused"),
        ((keys(CodeValue="A"),), True),
        ((keys(CodeValue="B"),), True),
        ((keys(CodeValue="C"),), False),
        ((keys(CodeValue="A", CodingSchemeDesignator="1"),), True),
        ((keys(CodeValue="A", CodingSchemeDesignator="2"),), False),
        ((keys(CodeValue="*", CodingSchemeDesignator=""),), True),
    ],
)
def test_one_item_satisfies_all_keys_of_a_sequence(key: Any, expected: bool | str) -> None:
    items = (
        {"CodeValue": "A", "CodingSchemeDesignator": "1"},
        {"CodeValue": "B", "CodingSchemeDesignator": "2"},
    )
    stored = entry({"ScheduledProtocolCodeSequence": items}, RequestedProcedureCodeSequence=items)
    assert matches(stored, step_keys(ScheduledProtocolCodeSequence=key)) == expected
    assert matches(stored, keys(RequestedProcedureCodeSequence=key)) == expected


def test_an_entry_without_codes_satisfies_universal_keys_alone() -> None:
    request = step_keys(ScheduledProtocolCodeSequence=(keys(CodeValue=(), CodeMeaning="*"),))
    assert matches(entry(), request) is True
    request = step_keys(ScheduledProtocolCodeSequence=(keys(CodeValue=(), CodeMeaning="**"),))
    assert matches(entry(), request) is False


@pytest.mark.parametrize(
    ("status", "key", "expected"),
    [
        ("SCHEDULED", (), True),
        ("STARTED", (), True),
        ("COMPLETED", (), False),
        ("COMPLETED", "*", False),
        ("COMPLETED", "COMPLETED", True),
        ("COMPLETED", "**", True),
        ("SCHEDULED", "COMPLETED", False),
    ],
)
def test_a_key_on_the_status_overrides_the_default_view(
    status: str, key: Any, expected: bool
) -> None:
    stored = entry({"ScheduledProcedureStepStatus": status})
    assert matches(stored, step_keys(ScheduledProcedureStepStatus=key)) is expected
    assert matches(stored, keys(PatientName="")) is (status in ("SCHEDULED", "STARTED"))


@pytest.mark.parametrize(
    ("request_", "status", "identifier"),
    [
        (keys(PatientID=()), 0xFF00, {"PatientID": ("1",)}),
        (keys(PatientState=()), 0xFF00, {"PatientState": ()}),
        (keys(PatientID="1", QueryRetrieveLevel=()), 0xFF01, {"PatientID": ("1",)}),
        (keys(PatientID="1", Modality="XX"), 0xFF01, {"PatientID": ("1",)}),
        ({0x00091001: ("x",)}, 0xFF01, {}),
        ({0x00090000: (4,), 0xFFFCFFFC: ("\0\0",), 0x00100020: ()}, 0xFF00, {"PatientID": ("1",)}),
        (keys(SpecificCharacterSet="ISO_IR 192", TimezoneOffsetFromUTC="+0100"), 0xFF00, {}),
        (keys(InstitutionCodeSequence=()), 0xFF00, {"InstitutionCodeSequence": ()}),
        (
            keys(RequestedProcedureCodeSequence=(keys(MappingResource=()),)),
            0xFF01,
            {"RequestedProcedureCodeSequence": ()},
        ),
    ],
)
def test_what_is_not_supported_is_left_out(
    request_: Mapping[int, tuple[Any, ...]], status: int, identifier: Mapping[str, Any]
) -> None:
    code = {"CodeValue": "CTTH"}
    stored = entry(PatientID="1", RequestedProcedureCodeSequence=(code,))
    found = answer([stored], request_)
    expected = {tag_of(keyword): Expected(values) for keyword, values in identifier.items()}
    assert (found.pending, found.matches) == (status, ((0, expected),))


def test_a_key_that_makes_no_sense_is_refused_even_with_nothing_stored() -> None:
    found = answer([], step_keys(ScheduledProcedureStepStartDate="2024", Modality="CT"))
    assert found.offending == {tag_of("ScheduledProcedureStepStartDate")}
    assert not answer([], keys(QueryRetrieveLevel=("A", "B"))).is_refused


def test_answers_are_in_order_of_start_date_start_time_and_id() -> None:
    days = [date(2024, 7, day) for day in (6, 5, 5, 5)]
    times = [time(9), time(10), time(9), time(10)]
    entries = [
        entry({"ScheduledProcedureStepStartDate": day, "ScheduledProcedureStepStartTime": moment})
        for day, moment in zip(days, times, strict=True)
    ]
    found = answer(entries, keys(PatientID=()))
    assert [position for position, _ in found.matches] == [2, 1, 3, 0]


def test_a_whole_sequence_owes_types_1_and_2_alone() -> None:
    ((_, identifier),) = answer([entry({"Modality": "MR"})], {STEP: ()}).matches
    (item,) = identifier[STEP].values
    assert item[tag_of("Modality")] == Expected(("MR",))
    assert item[tag_of("ScheduledStationName")] == Expected(())
    assert item[tag_of("PreMedication")] == Expected((), is_optional=True)
    complete = {tag: expected.values for tag, expected in item.items()}
    assert not [*oracle.differences(identifier, {STEP: (complete,)})]
    del complete[tag_of("PreMedication")]
    assert not [*oracle.differences(identifier, {STEP: (complete,)})]
    del complete[tag_of("ScheduledStationName")]
    assert len([*oracle.differences(identifier, {STEP: (complete,)})]) == 1


def test_stored_moments_are_spelled_as_on_the_wire() -> None:
    stored = entry(
        PatientBirthDate=date(987, 6, 5),
        PatientBirthTime=time(1, 2, 3, 40),
        StudyTime=time(4, 5),
    )
    ((_, identifier),) = answer(
        [stored], keys(PatientBirthDate=(), PatientBirthTime=(), StudyTime=())
    ).matches
    assert [expected.values for expected in identifier.values()] == [
        ("09870605",),
        ("010203.000040",),
        ("040500",),
    ]


# --- the SCP against it ---------------------------------------------------------------------------


@pytest.fixture
def scp(transactional_db: None) -> Iterator[WorklistScp]:
    scp = WorklistScp(ae_title="WORKLIST", bind="127.0.0.1", port=0)
    scp.start()
    yield scp
    scp.stop()


def columns(model: type[models.Model], row: Row) -> dict[str, Any]:
    """A row's values by the column that says it holds this keyword."""
    names = {
        field.keyword: field.name for field in model._meta.get_fields() if hasattr(field, "keyword")
    }
    values = {**row, **(row.get("references") or {})}
    return {
        names[keyword]: "\\".join(value) if isinstance(value, tuple) else value
        for keyword, value in values.items()
        if keyword in names
    }


def store(worklist: Worklist) -> None:
    """Fill the database with this worklist and nothing else."""
    with transaction.atomic():
        for model in (
            *(StepStation, StepProtocolCode, ScheduledProcedureStep, RequestedProcedure),
            *(ImagingServiceRequest, Patient, Station, Code),
        ):
            model.objects.all().delete()
        stations = [Station.objects.create(ae_title=title) for title in AE_TITLES]
        codes = [Code.objects.create(**columns(Code, row)) for row in CODES]

        def one(positions: list[int]) -> Code | None:
            return codes[positions[0]] if positions else None

        patients = [Patient.objects.create(**columns(Patient, row)) for row in worklist.patients]
        requests = [
            ImagingServiceRequest.objects.create(
                patient=patients[row["patient"]],
                institution_code=one(row["institution_code"]),
                **columns(ImagingServiceRequest, row),
            )
            for row in worklist.requests
        ]
        procedures = [
            RequestedProcedure.objects.create(
                request=requests[row["request"]],
                code=one(row["code"]),
                reason_code=one(row["reason_code"]),
                **columns(RequestedProcedure, row),
            )
            for row in worklist.procedures
        ]
        for row in worklist.steps:
            step = ScheduledProcedureStep.objects.create(
                requested_procedure=procedures[row["procedure"]],
                **columns(ScheduledProcedureStep, row),
            )
            for position, n in enumerate(row["stations"]):
                StepStation.objects.create(step=step, station=stations[n], position=position)
            for position, n in enumerate(row["protocol_codes"]):
                StepProtocolCode.objects.create(step=step, code=codes[n], position=position)


def complaints(entries: list[Row], query: Query, reply: network.Reply) -> Iterator[str]:
    """Say where a reply is not the oracle's."""
    expected = answer(entries, query.request())
    final = reply.final
    if expected.is_refused:
        if final.Status != 0xA900 or reply.pendings:
            yield f"0xA900 is due, got {final.Status:#06x} after {len(reply.pendings)} matches"
            return
        offending = final.get("OffendingElement")
        tags = {int(tag) for tag in (offending if isinstance(offending, list) else [offending])}
        if not tags <= expected.offending:
            named = ", ".join(f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in expected.offending)
            yield f"the offending element is {offending}, should be {named}"
        if not 0 < len(final.get("ErrorComment", "")) <= 64:
            yield f"the error comment is {final.get('ErrorComment')!r}"
        return
    if {*final.keys()} != {0x00000900} or final.Status != 0x0000:
        yield f"Success is due, got {final}"
    if len(reply.pendings) != len(expected.matches):
        positions = [position for position, _ in expected.matches]
        yield f"{len(reply.pendings)} matches, should be {len(positions)}: {positions}"
    for (position, identifier), (status, dataset) in zip(
        expected.matches, reply.pendings, strict=False
    ):
        if status != expected.pending:
            yield f"Pending is {status:#06x}, should be {expected.pending:#06x}"
        actual = network.plain(dataset)
        character_set = actual.pop(tag_of("SpecificCharacterSet"), None)
        for text in oracle.differences(identifier, actual):
            yield f"entry {position}: {text}"
        found = [*all_texts(actual)]
        if character_set is None and not "".join(found).isascii():
            yield f"entry {position}: no Specific Character Set for {found}"
        if character_set == () or character_set not in (
            *(None, ("ISO_IR 192",), query.character_set),
        ):
            yield f"entry {position}: Specific Character Set {character_set}"
        # Of what was asked in, nothing forces another one.
        is_asked = character_set in (None, query.character_set)
        if (
            query.character_set
            and not is_asked
            and all(fits(text, query.character_set) for text in found)
        ):
            yield f"entry {position}: {character_set} to a query in {query.character_set}"


def all_texts(identifier: Mapping[int, tuple[Any, ...]]) -> Iterator[str]:
    for values in identifier.values():
        for value in values:
            if isinstance(value, str):
                yield value
            else:
                yield from all_texts(value)


def check(worklist: Worklist, query: Query, reply: network.Reply) -> None:
    found = [*complaints(worklist.entries(), query, reply)]
    if found:
        asked = "\n  ".join(f"{k}: {v}" for k, v in network.describe(query.keys).items())
        # What is stored under the keys that were asked for, step by step.
        places = [place for place, values in leaves(query.request()) if place in PLACES and values]
        stored = "\n  ".join(
            f"{n}: {[stored_at(entry, place) for place in places]}"
            for n, entry in enumerate(worklist.entries())
        )
        raise AssertionError("\n  ".join(found) + f"\nasked:\n  {asked}\nstored there:\n  {stored}")


def leaves(
    request: Mapping[int, tuple[Any, ...]], above: Place = ()
) -> Iterator[tuple[Place, tuple[Any, ...]]]:
    for tag, values in request.items():
        if values and isinstance(values[0], Mapping):
            yield from leaves(values[0], (*above, tag))
        else:
            yield (*above, tag), values


@pytest.mark.parametrize("part", range(SEED, SEED + PARTS))
def test_the_scp_answers_as_the_oracle_does(part: int, scp: WorklistScp) -> None:
    syntax = network.TRANSFER_SYNTAXES[part % 2]

    @seed(part)
    @settings(
        max_examples=WORKLISTS_IN_A_PART,
        database=None,
        deadline=None,
        verbosity=Verbosity.quiet,  # the assertion says what matters
        phases=(Phase.generate, Phase.shrink) if SHRINKS else (Phase.generate,),
        suppress_health_check=tuple(HealthCheck),
    )
    @given(conversations(QUERIES_TO_A_WORKLIST))
    def converse(conversation: tuple[Worklist, list[Query]]) -> None:
        worklist, queries = conversation
        store(worklist)
        for query in queries:
            check(worklist, query, network.ask(assoc, query))

    with network.association(scp.port, syntax) as assoc:
        converse()


def test_every_attribute_is_matched_and_returned_as_the_oracle_does(scp: WorklistScp) -> None:
    worklist = one_of_each()
    store(worklist)
    entries = worklist.entries()
    with network.association(scp.port, network.TRANSFER_SYNTAXES[0]) as assoc:
        for place, attribute in PLACES.items():
            for values in simple_keys(attribute, [stored_at(entry, place) for entry in entries]):
                query = nested({place: values})
                check(worklist, query, network.ask(assoc, query))


def test_names_match_as_the_oracle_says(scp: WorklistScp) -> None:
    worklist = one_step_each([{"PatientName": name} for name in NAMES])
    store(worklist)
    place = (tag_of("PatientName"),)
    names = {shape(name, n) for name in NAMES for shape in (*SHAPES, *NAME_SHAPES) for n in (2, 11)}
    with network.association(scp.port, network.TRANSFER_SYNTAXES[1]) as assoc:
        for name in sorted(names):
            query = nested({place: (name,)})
            check(worklist, query, network.ask(assoc, query))


DATE_KEYS = (
    *("20240706", "20240705-20240706", "20240706-20240706", "20240706-", "-20240706", "*"),
    *("20240708-20240705", "2024.07.05 - 2024.07.06", "-", ""),
)
TIME_KEYS = (
    *("1000", "10", "1000-1800", "1800-1000", "1000-", "-1000", "-10", "-100000", "100000.5-"),
    *("2230-2230", "00:00 - 00:00", "-000000.000001", "-", "*"),
)


def test_start_dates_and_times_match_as_the_oracle_says(scp: WorklistScp) -> None:
    date_tag, time_tag = map(
        tag_of, ("ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime")
    )
    worklist = one_step_each(
        [
            {
                "ScheduledProcedureStepStartDate": date(2024, 7, day),
                "ScheduledProcedureStepStartTime": moment,
            }
            for moment in TIMES
            for day in (7, 6, 5)
        ]
    )
    store(worklist)
    with network.association(scp.port, network.TRANSFER_SYNTAXES[0]) as assoc:
        for dates in DATE_KEYS:
            for times in TIME_KEYS:
                query = nested({(STEP, date_tag): (dates,), (STEP, time_tag): (times,)})
                check(worklist, query, network.ask(assoc, query))


def simple_keys(attribute: oracle.Attribute, stored: list[tuple[Any, ...]]) -> Iterator[Any]:
    """Keys of every kind that an attribute allows, made of the values that entries have."""
    yield ()
    if attribute.vr == "SQ":
        yield ((),)
        return
    values = list(dict.fromkeys(value for found in stored for value in found))
    assert values, f"no entry has a value of {attribute.keyword}"
    if attribute.vr == "US":
        yield from ((value,) for value in values)
        return
    yield ("*",)
    if attribute.keyword in ("Modality", "ScheduledStationAETitle"):
        yield ("nothing", " * ")
    for text in map(oracle.spell, values):
        yield (text,)
        if attribute.vr in ("DA", "TM"):
            yield from ((f"{text}-",), (f"-{text}",), (f"{text}-{text}",), (f"{text}x",))
        elif attribute.vr == "UI":
            yield (text, "1.2.3.4.5")
        elif attribute.vr == "DS":
            yield (f"{text}e0",)
        else:
            yield from ((f"{text[:1]}*",), (f"?{text[1:]}",), (text.swapcase(),), ("**",))


def nested(values: Mapping[Place, tuple[Any, ...]]) -> Query:
    """A query in Unicode with these keys at their places, all in the same sequences."""
    *above, _ = next(iter(values))
    level = tuple(Key(place[-1], PLACES[place].vr, found) for place, found in values.items())
    for tag in reversed(above):
        level = (Key(tag, "SQ", (level,)),)
    return Query((Key(tag_of("SpecificCharacterSet"), "CS", ("ISO_IR 192",)), *level))
