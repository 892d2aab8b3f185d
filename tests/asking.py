"""A query as a modality sends it, by keywords, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest import mock

from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import ModalityWorklistInformationFind

from dicomscp.wire import client
from tests import network
from tests.network import Reply
from tests.oracle import tag_of
from tests.strategies import Key, Query

STEP = "ScheduledProcedureStepSequence"
DATE = "ScheduledProcedureStepStartDate"
TIME = "ScheduledProcedureStepStartTime"
STEP_ID = "ScheduledProcedureStepID"
PENDING, WARNING = 0xFF00, 0xFF01


def keys(values: Mapping[str, Any]) -> tuple[Key, ...]:
    """The keys of these values by keyword: a text, a list of values, or an item of a sequence."""
    return tuple(sorted((key(*each) for each in values.items()), key=lambda each: each.tag))


def key(keyword: str, value: Any) -> Key:
    tag = tag_of(keyword)
    vr = network.dictionary_VR(tag)
    if vr == "SQ":
        items = [value] if isinstance(value, Mapping) else value
        return Key(tag, vr, tuple(keys(item) for item in items))
    return Key(tag, vr, tuple(value if isinstance(value, list) else [value] if value else []))


def query(in_step: Mapping[str, Any] | None = None, /, **values: Any) -> Query:
    """A request in Unicode, or in another SpecificCharacterSet, with keys in the step's item."""
    inside = {STEP_ID: "", **(in_step or {})}
    return Query(keys({"SpecificCharacterSet": "ISO_IR 192", STEP: inside, **values}))


def ids(reply: Reply) -> list[str]:
    """The step IDs of the answers to a query that was answered."""
    assert reply.final.Status == 0, reply.final
    return [
        str(identifier.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID)
        for _, identifier in reply.pendings
    ]


def found(assoc: Association, in_step: Mapping[str, Any] | None = None, /, **values: Any) -> str:
    """The step IDs, in the order of the answers, with spaces between."""
    return " ".join(ids(network.ask(assoc, query(in_step, **values))))


def ask_bytes(assoc: Association, encoded: bytes) -> Reply:
    """Send these bytes as the Identifier of a request."""
    with mock.patch("pynetdicom.association.encode", lambda *_: encoded):
        responses = list(assoc.send_c_find(Dataset(), ModalityWorklistInformationFind))
    pendings = [(status.Status, answer) for status, answer in responses if answer is not None]
    return Reply(tuple(pendings), responses[-1][0])


def implicit_only(port: int) -> Association:
    ae = AE("CT1")
    ae.add_requested_context(ModalityWorklistInformationFind, ImplicitVRLittleEndian)
    return ae.associate(
        "127.0.0.1", port, ae_title="WORKLIST", max_pdu=4096, evt_handlers=client.HANDLERS
    )
