from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

from dicomscp import conformance, server
from dicomscp.status import MEANINGS
from worklist.attributes import TABLE, Attribute, walk
from worklist.audit import codes
from worklist.audit.codes import Code

PLANTED = Attribute("PatientAge", "O", "3", "patient__age", "Patient")


@pytest.fixture
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "BASE_DIR", tmp_path)
    return tmp_path / "CONFORMANCE.md"


def test_the_statement_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("conformance", "--check")
    assert capsys.readouterr().out == "CONFORMANCE.md is up to date.\n"


def test_a_new_line_of_the_table_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance, "TABLE", (*TABLE, PLANTED))
    with pytest.raises(CommandError, match=r"^CONFORMANCE\.md lags behind"):
        call_command("conformance", "--check")


def test_a_new_status_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance, "MEANINGS", {**MEANINGS, 0xC002: ("Failed", "Planted.")})
    with pytest.raises(CommandError, match=r"^CONFORMANCE\.md lags behind"):
        call_command("conformance", "--check")


def test_check_writes_nothing(somewhere_else: Path) -> None:
    with pytest.raises(CommandError):
        call_command("conformance", "--check")
    assert not somewhere_else.exists()


def test_the_file_that_is_written_passes_the_check(somewhere_else: Path) -> None:
    call_command("conformance")
    call_command("conformance", "--check")
    assert somewhere_else.read_text("utf-8") == conformance.statement()


def test_every_attribute_of_the_table_is_declared() -> None:
    statement = conformance.statement()
    for attribute in walk():
        tag = f"({attribute.tag >> 16:04X},{attribute.tag & 0xFFFF:04X})"
        assert f"{attribute.name} | {tag}" in statement.replace(" (retired)", ""), attribute


def test_the_network_is_declared_as_it_is() -> None:
    statement = conformance.statement()
    for declared in (
        f"| Maximum PDU length received | {server.MAXIMUM_PDU_SIZE} bytes |",
        f"| ACSE timeout | {server.ACSE_TIMEOUT} s |",
        f"| DIMSE timeout | {server.DIMSE_TIMEOUT} s |",
        f"| Network timeout | {server.NETWORK_TIMEOUT} s ",
        f"| Implementation class UID | {PYNETDICOM_IMPLEMENTATION_UID} |",
        f"| Implementation version name | {PYNETDICOM_IMPLEMENTATION_VERSION} |",
        *(f" {syntax.name} {syntax} |" for syntax in server.TRANSFER_SYNTAXES),
    ):
        assert declared in statement


def test_every_event_of_the_audit_trail_is_declared() -> None:
    statement = conformance.statement()
    every = [code for code in vars(codes).values() if isinstance(code, Code)]
    # CID 400, and CID 401 and 403: the events and their kinds.
    for code in every:
        if "110100" <= code.value <= "110114":
            assert f"| {code.meaning} | {code.value} |" in statement
        if "110120" <= code.value <= "110139":
            assert f"{code.meaning} {code.value}" in statement
    assert "PS3.15 A.5" in statement
    assert "SYSLOG-TLS" in statement


def test_nothing_is_both_held_and_left_out() -> None:
    left_out = {keyword for keywords, _ in conformance.LEFT_OUT for keyword in keywords}
    assert not left_out & {attribute.keyword for attribute in walk()}
