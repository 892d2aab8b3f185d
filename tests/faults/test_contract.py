"""What `wire` takes for granted of pynetdicom's private parts: for whoever moves the pin.

Our classes do without the constructors of the library's, since those make threads and copies. So
they must have all that those would have made.
"""

from __future__ import annotations

import inspect
import socket
import threading
from typing import Any

import pynetdicom
import pytest
from pynetdicom import _config, acse, association, dimse, dul, evt, fsm, service_class, transport
from pynetdicom._globals import MODE_ACCEPTOR, MODE_REQUESTOR
from pynetdicom.timer import Timer

from dicomscp.wire.association import User, WorklistAssociation
from dicomscp.wire.messages import Dimse
from dicomscp.wire.negotiation import Acse
from dicomscp.wire.service import Worklist
from dicomscp.wire.transport import Connection
from dicomscp.wire.upper import Clock, UpperLayer
from tests.faults.conftest import Scp, Serve
from tests.waiting import until

# What only a thread has.
THREAD = set(vars(threading.Thread()))


def test_it_is_the_version_that_was_read() -> None:
    assert pynetdicom.__version__ == "3.0.4"


@pytest.fixture
def pair(serve: Serve) -> Any:
    """An association of ours and one of the library's, on the two ends of a connection."""
    scp: Scp = serve()
    ours, theirs = socket.socketpair()
    place: Any = scp.gate.enter(("127.0.0.1", 1))
    mine = WorklistAssociation(scp.server, ours, place)
    library = association.Association(scp.ae, MODE_ACCEPTOR)
    library.set_socket(transport.AssociationSocket(library, client_socket=theirs))
    yield mine, library
    place.leave()
    ours.close()
    theirs.close()


@pytest.mark.parametrize("part", ["", "dul", "dimse", "acse", "dul.socket", "dul.state_machine"])
def test_ours_have_what_the_librarys_have(pair: Any, part: str) -> None:
    mine, library = pair
    for name in filter(None, part.split(".")):
        mine, library = getattr(mine, name), getattr(library, name)
    missing = {
        name
        for name in set(vars(library)) - THREAD
        if not hasattr(mine, name)  # cancel_req is a property of ours
    }
    assert not missing


def test_users_have_what_the_librarys_have(pair: Any) -> None:
    mine, library = pair
    for mode in (MODE_ACCEPTOR, MODE_REQUESTOR):
        user = association.ServiceUser(library, mode)
        assert set(vars(User(mine, mode, []))) == set(vars(user))
    assert mine.acceptor.info.keys() == library.acceptor.info.keys()


# What is overridden, and what is called, by the names and the arguments that it has.
@pytest.mark.parametrize(
    ("theirs", "ours", "names"),
    [
        (
            association.Association,
            WorklistAssociation,
            "run_reactor bind _serve_request _abort_blocking kill is_alive join start",
        ),
        (
            dul.DULServiceProvider,
            UpperLayer,
            "send_pdu receive_pdu stop_dul is_alive _process_recv_primitive _decode_pdu _send",
        ),
        (dimse.DIMSEServiceProvider, Dimse, "receive_primitive send_msg maximum_pdu_size"),
        (
            acse.ACSE,
            Acse,
            "_negotiate_as_acceptor _check_sop_class_extended send_release send_abort",
        ),
        (transport.AssociationSocket, Connection, "send close _shutdown_socket"),
        (
            service_class.BasicWorklistManagementServiceClass,
            Worklist,
            "_c_find_scp _wrap_handler is_cancelled validate_status",
        ),
        (Timer, Clock, "remaining start stop restart expired"),
    ],
)
def test_methods_are_called_as_they_were(theirs: type, ours: type, names: str) -> None:
    for name in names.split():
        assert hasattr(theirs, name), name
        their, own = getattr(theirs, name), getattr(ours, name)
        if inspect.isfunction(their):
            wanted = list(inspect.signature(their).parameters)
            assert list(inspect.signature(own).parameters)[: len(wanted)] == wanted, name


def test_the_state_machine_is_that_of_the_standard() -> None:
    """PS3.8 Table 9-10, of the transitions that we make ourselves or count on."""
    for event, state, action, then in (
        ("Evt5", "Sta1", "AE-5", "Sta2"),
        ("Evt6", "Sta2", "AE-6", "Sta3 or Sta13"),
        ("Evt7", "Sta3", "AE-7", "Sta6"),
        ("Evt9", "Sta6", "DT-1", "Sta6"),
        ("Evt9", "Sta8", "AR-7", "Sta8"),
        ("Evt14", "Sta8", "AR-4", "Sta13"),
        ("Evt15", "Sta6", "AA-1", "Sta13"),
        ("Evt17", "Sta13", "AR-5", "Sta1"),
        ("Evt18", "Sta2", "AA-2", "Sta1"),
        ("Evt19", "Sta6", "AA-8", "Sta13"),
    ):
        assert fsm.TRANSITION_TABLE[event, state] == action
        next_state = fsm.ACTIONS[action][2]
        assert then == next_state or set(then.split(" or ")) == set(next_state), action


def test_nothing_of_patients_is_logged_by_the_library() -> None:
    assert _config.LOG_HANDLER_LEVEL == "none"
    assert not _config.LOG_REQUEST_IDENTIFIERS
    assert not _config.LOG_RESPONSE_IDENTIFIERS


def test_who_watches_pdus_gets_the_librarys_own(serve: Serve) -> None:
    """Events that only fire where they are bound; then everything goes the library's way."""
    scp = serve()
    seen: list[str] = []
    watched = (
        evt.EVT_CONN_OPEN,
        evt.EVT_CONN_CLOSE,
        evt.EVT_REQUESTED,
        evt.EVT_ESTABLISHED,
        evt.EVT_ACSE_RECV,
        evt.EVT_ACSE_SENT,
        evt.EVT_DIMSE_RECV,
        evt.EVT_DIMSE_SENT,
        evt.EVT_PDU_RECV,
        evt.EVT_PDU_SENT,
        evt.EVT_DATA_RECV,
        evt.EVT_DATA_SENT,
        evt.EVT_FSM_TRANSITION,
    )
    for event in watched:
        scp.server.bind(event, lambda _, name=event.name: seen.append(name))
    assert scp.is_well()
    until(lambda: set(seen) == {event.name for event in watched})
