"""One folder of worklist files, two servers: DCMTK's wlmscpfs reads it, we import it.

Both are asked the same by the same SCU; what they answer is the same, or the difference is known.
"""

from __future__ import annotations

import io
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest
from django.core.management import call_command
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import ModalityWorklistInformationFind, Verification

from dicomscp.server import WorklistScp
from dicomscp.wire import client
from tests import network
from tests.network import Reply, plain
from tests.strategies import Key, Query
from tests.tools import needs
from tests.worklists.entries import ENTRIES, STEP, Entry
from tests.worklists.queries import (
    ALL,
    DIFFERENCES,
    EXAMPLES,
    SHAPES,
    UNKNOWN_TO_WLMSCPFS,
    Example,
)
from worklist import attributes

pytestmark = pytest.mark.django_db(transaction=True)

AE_TITLE = "WORKLIST"  # wlmscpfs serves to this title the folder of this name
PENDING, WARNING, REFUSED = 0xFF00, 0xFF01, 0xA900
STEP_ID = "ScheduledProcedureStepID"
SPECIFIC_CHARACTER_SET = 0x00080005
Values = Mapping[int, tuple[Any, ...]]
Names = frozenset[str]


# --- the files ------------------------------------------------------------------------------------


def data_set(entry: Entry) -> Dataset:
    """The data set of an entry; its empty texts are attributes without a value."""
    ds = Dataset()
    for keyword, value in entry.items():
        if isinstance(value, list):
            value = [data_set(item) for item in value]
        setattr(ds, keyword, list(value) if isinstance(value, tuple) else value)
    return ds


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of AE folders, as wlmscpfs takes it."""
    folder = tmp_path_factory.mktemp("worklists")
    own = folder / AE_TITLE
    own.mkdir()
    (own / "lockfile").touch()
    for name, entry in ENTRIES.items():
        ds = data_set(entry)
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = UID(ModalityWorklistInformationFind)
        ds.file_meta.MediaStorageSOPInstanceUID = UID(f"{entry['StudyInstanceUID']}.1")
        ds.save_as(own / f"{name}.wl", enforce_file_format=True)
    return folder


# --- the two servers ------------------------------------------------------------------------------


@pytest.fixture
def ours(transactional_db: None, folder: Path) -> Iterator[int]:
    """The port on which we serve what we imported from the folder."""
    call_command("import_wl", str(folder), stdout=io.StringIO())
    scp = WorklistScp(ae_title=AE_TITLE, bind="127.0.0.1", port=0)
    scp.start()
    yield scp.port
    scp.stop()


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Iterator[int]:
    """The port on which wlmscpfs serves the folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    server = subprocess.Popen(
        ["wlmscpfs", "--single-process", "--keep-char-set", "-dfp", str(folder), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while not listens(port):
            assert server.poll() is None, "wlmscpfs has ended"
            assert time.monotonic() < deadline, "wlmscpfs does not listen"
        assert answers_echo(port)
        yield port
    finally:
        server.terminate()
        server.wait(timeout=10)


def listens(port: int) -> bool:
    # Not by an association: pynetdicom leaves the socket of a refused one open.
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def answers_echo(port: int) -> bool:
    ae = AE("CT1")
    ae.add_requested_context(Verification)
    assoc = ae.associate("127.0.0.1", port, ae_title=AE_TITLE, evt_handlers=client.HANDLERS)
    if not assoc.is_established:
        return False
    status = assoc.send_c_echo()
    assoc.release()
    return "Status" in status and status.Status == 0


# --- asking ---------------------------------------------------------------------------------------

# What is asked back beside the keys of an example.
RETURNED: tuple[str, ...] = tuple(
    dict.fromkeys(
        keyword
        for entry in ENTRIES.values()
        for keyword in entry
        if keyword not in (STEP, "SpecificCharacterSet")
    )
)
RETURNED_OF_STEP: tuple[str, ...] = tuple(
    dict.fromkeys(keyword for entry in ENTRIES.values() for keyword in entry[STEP][0])
)


def keys(given: Mapping[str, Any]) -> tuple[Key, ...]:
    found = [key(keyword, value) for keyword, value in given.items()]
    return tuple(sorted(found, key=lambda one: one.tag))


def key(keyword: str, value: Any) -> Key:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    vr = dictionary_VR(tag)
    if vr == "SQ":
        return Key(tag, vr, tuple(keys(item) for item in value or ()))
    return Key(tag, vr, (value,) if value else ())


def query(example: Example) -> Query:
    """The request: the example's keys, all else that an entry may have universal."""
    asked: dict[str, Any] = {**dict.fromkeys(RETURNED, ""), **example.top}
    if example.step is not None:
        asked[STEP] = [{**dict.fromkeys(RETURNED_OF_STEP, ""), **example.step}]
    return Query(keys({"SpecificCharacterSet": "ISO_IR 100", **asked}))


def ask(port: int, asked: Query) -> Reply:
    with network.association(port, ExplicitVRLittleEndian) as assoc:
        return network.ask(assoc, asked)


def by_name(reply: Reply) -> Mapping[str, Values]:
    """The answers by the names of the entries that they come from."""
    assert reply.final.Status == 0, reply.final
    found = {name_of(identifier): plain(identifier) for _, identifier in reply.pendings}
    assert len(found) == len(reply.pendings), "an entry was answered twice"
    return found


def name_of(identifier: Dataset) -> str:
    (step,) = identifier.ScheduledProcedureStepSequence
    return NAME_OF[identifier.StudyInstanceUID, step.ScheduledProcedureStepID]


def names(reply: Reply) -> Names | None:
    """The names of the entries that answer; None when the query was refused as malformed."""
    if reply.final.Status == REFUSED:
        assert not reply.pendings
        return None
    return frozenset(by_name(reply))


NAME_OF = {
    (entry["StudyInstanceUID"], entry[STEP][0][STEP_ID]): name for name, entry in ENTRIES.items()
}


def flat(found: Values, place: tuple[int, ...] = ()) -> dict[tuple[int, ...], Any]:
    """Every attribute that has a value, by the tags and item numbers that lead to it."""
    values: dict[tuple[int, ...], Any] = {}
    for tag, several in found.items():
        for number, one in enumerate(several):
            if isinstance(one, Mapping):
                values.update(flat(one, (*place, tag, number)))
            elif any(several) and tag != SPECIFIC_CHARACTER_SET:
                values[*place, tag] = several
    return values


# --- what the servers answer ----------------------------------------------------------------------


def test_we_answer_each_example_with_its_entries(ours: int) -> None:
    asked = {
        **EXAMPLES,
        **{label: one.asked for label, one in DIFFERENCES.items() if one.ours is not None},
    }
    with network.association(ours, ImplicitVRLittleEndian) as assoc:
        replies = {label: network.ask(assoc, query(one)) for label, one in asked.items()}
    assert {label: names(reply) for label, reply in replies.items()} == {
        label: one.answers for label, one in asked.items()
    }
    for reply in replies.values():
        assert {status for status, _ in reply.pendings} <= {PENDING}


def test_we_answer_with_every_value_of_the_file(ours: int) -> None:
    asked = [one for one in EXAMPLES.values() if one.answers == ALL]
    assert len(asked) >= 3  # universal, an empty sequence, an empty item
    for one in asked:
        for name, answer in by_name(ask(ours, query(one))).items():
            held = flat(plain(data_set(ENTRIES[name])))
            answered = flat(answer)
            assert {place: answered.get(place) for place in held} == held, name


@needs("dcmtk")
@pytest.mark.parametrize("syntax", network.TRANSFER_SYNTAXES, ids=["implicit", "explicit"])
def test_wlmscpfs_and_we_answer_alike(ours: int, theirs: int, syntax: UID) -> None:
    replies = {}
    with network.association(ours, syntax) as us, network.association(theirs, syntax) as them:
        for label, one in EXAMPLES.items():
            replies[label] = network.ask(us, query(one)), network.ask(them, query(one))
    compared = 0
    for label, (own, other) in replies.items():
        found, expected = by_name(own), by_name(other)
        assert set(found) == set(expected) == EXAMPLES[label].answers, label
        assert {status for status, _ in own.pendings + other.pendings} <= {PENDING}, label
        for name in found:
            mine, wlmscpfs = flat(found[name]), flat(expected[name])
            both = mine.keys() & wlmscpfs.keys()
            assert {at: mine[at] for at in both} == {at: wlmscpfs[at] for at in both}, (label, name)
            compared += len(both)
    assert compared > 1000


@needs("dcmtk")
def test_each_difference_is_known(ours: int, theirs: int) -> None:
    found = {}
    syntax = ExplicitVRLittleEndian
    with network.association(ours, syntax) as us, network.association(theirs, syntax) as them:
        for label, one in DIFFERENCES.items():
            assert one.ours != one.theirs, f"{label}: no difference"
            asked = query(one.asked)
            found[label] = names(network.ask(us, asked)), names(network.ask(them, asked))
    assert found == {label: (one.ours, one.theirs) for label, one in DIFFERENCES.items()}


@needs("dcmtk")
def test_what_has_no_value_is_returned_in_known_shapes(ours: int, theirs: int) -> None:
    asked = query(EXAMPLES["everything universal"])
    own, other = by_name(ask(ours, asked)), by_name(ask(theirs, asked))
    for shape in SHAPES:
        assert at(own[shape.entry], shape.path) == shape.ours, shape.rule
        assert at(other[shape.entry], shape.path) == shape.theirs, shape.rule


def at(answer: Values, path: Sequence[str]) -> tuple[Any, ...] | None:
    """What stands at this path of keywords, through the first item of each sequence."""
    *sequences, keyword = [tag_for_keyword(one) for one in path]
    for sequence in sequences:
        assert sequence is not None
        answer = answer[sequence][0]
    assert keyword is not None
    return answer.get(keyword)


@needs("dcmtk")
def test_only_what_wlmscpfs_does_not_know_makes_it_warn(ours: int, theirs: int) -> None:
    def statuses(port: int, asked: Mapping[str, Any]) -> set[int]:
        reply = ask(port, Query(keys(asked)))
        assert reply.final.Status == 0
        return {status for status, _ in reply.pendings}

    known = {one.keyword: "" for one in attributes.TABLE if one.keyword not in UNKNOWN_TO_WLMSCPFS}
    assert statuses(ours, known) == statuses(theirs, known) == {PENDING}
    for keyword in UNKNOWN_TO_WLMSCPFS:
        asked = {"PatientID": "AST001", keyword: ""}
        assert statuses(ours, asked) == {PENDING}
        assert statuses(theirs, asked) == {WARNING}, keyword
    # And what neither of the two knows.
    asked = {"PatientID": "AST001", "BodyPartExamined": ""}
    assert statuses(ours, asked) == statuses(theirs, asked) == {WARNING}


@needs("dcmtk")
@pytest.mark.parametrize(
    "label",
    [
        "everything universal",
        "wildcard name, several",
        "date and time range combined",
        "station and day",
        "requesting physician",
        "empty sequence",
    ],
)
def test_findscu_is_answered_alike(ours: int, theirs: int, tmp_path: Path, label: str) -> None:
    found = {}
    for server, port in (("ours", ours), ("theirs", theirs)):
        (tmp_path / server).mkdir()
        found[server] = findscu(port, EXAMPLES[label], tmp_path / server)
    assert found["ours"] == found["theirs"] == EXAMPLES[label].answers


def findscu(port: int, example: Example, folder: Path) -> Names:
    """The names of the entries that DCMTK's SCU was answered, and wrote into the folder."""
    asked = {"PatientName": "", "StudyInstanceUID": "", **example.top}
    for keyword, value in {STEP_ID: "", **example.step}.items() if example.step is not None else ():
        asked[f"{STEP}[0].{keyword}"] = value
    options = [f"{keyword}={value}" if value else keyword for keyword, value in asked.items()]
    program = ["findscu", "-W", "-X", "-od", str(folder), "-aet", "CT1", "-aec", AE_TITLE]
    given = [argument for option in options for argument in ("-k", option)]
    done = subprocess.run(
        [*program, *given, "127.0.0.1", str(port)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return frozenset(name_of(pydicom.dcmread(path)) for path in folder.glob("rsp*.dcm"))
