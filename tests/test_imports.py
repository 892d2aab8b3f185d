"""The floors, read with `ast`: imports point down only; only named rooms speak DICOM or write."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("worklist", "dicomscp")

PURE = (
    "worklist/attributes.py",
    "worklist/values.py",
    "dicomscp/answers.py",
    "dicomscp/identifier.py",
    "dicomscp/damage.py",
    "dicomscp/matching.py",
    "dicomscp/plan.py",
    "dicomscp/scope.py",
    "dicomscp/response.py",
    "dicomscp/layout.py",
    "dicomscp/encoding.py",
    "dicomscp/status.py",
    "worklist/character_set.py",
    "dicomscp/conformance.py",
    "dicomscp/doubts.py",
    "dicomscp/tally.py",
    "dicomscp/explain/nearness.py",
    "dicomscp/explain/keys.py",
    "dicomscp/explain/suspects.py",
    "worklist/audit/codes.py",
    "worklist/audit/messages.py",
    "worklist/audit/parts.py",
)
SPEAKS_DICOM = (
    "dicomscp/associations.py",
    "dicomscp/handlers.py",
    "dicomscp/server.py",
    "dicomscp/scu.py",
    "dicomscp/trial.py",
    "dicomscp/wire/",
)


@dataclass(frozen=True)
class Rule:
    """Files under `places` import none of `forbidden`, unless it is one of `allowed`."""

    name: str
    places: tuple[str, ...]
    forbidden: tuple[str, ...]
    allowed: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = ()

    def broken(self, path: str, source: str) -> list[str]:
        if not is_under(path, self.places) or is_under(path, self.exceptions):
            return []
        return [
            f"{path}: {module}"
            for module in imported(source)
            if is_within(module, self.forbidden) and not is_within(module, self.allowed)
        ]


RULES = (
    Rule("worklist never imports a door", ("worklist/",), ("dicomscp",)),
    Rule(
        "audit never imports the rest of worklist",
        ("worklist/audit/",),
        ("worklist", "dicomscp"),
        allowed=("worklist.audit",),
    ),
    Rule(
        "pynetdicom is imported where DICOM is spoken only",
        ("worklist/", "dicomscp/"),
        ("pynetdicom",),
        exceptions=SPEAKS_DICOM,
    ),
    Rule(
        "wire knows neither Django nor the worklist",
        ("dicomscp/wire/",),
        ("django", "worklist", "dicomscp"),
        allowed=("dicomscp.wire",),
    ),
    Rule(
        "pure rooms know neither Django nor the models nor the wire",
        PURE,
        ("django", "pynetdicom", "worklist", "dicomscp"),
        allowed=(
            "worklist.attributes",
            "worklist.values",
            "dicomscp.identifier",
            "dicomscp.damage",
            "dicomscp.matching",
            "dicomscp.plan",
            "dicomscp.status",
            "dicomscp.scope",
            "dicomscp.response",
            "dicomscp.layout",
            "dicomscp.doubts",
            "dicomscp.explain.nearness",
            "dicomscp.explain.keys",
            "worklist.character_set",
            "worklist.audit.codes",
            "worklist.audit.parts",
        ),
    ),
    Rule("pynetdicom.apps is imported nowhere", ("",), ("pynetdicom.apps",)),
)

# Methods that write rows unsigned, and the only files that may call them.
WRITES = {
    "save",
    "create",
    "update",
    "delete",
    "bulk_create",
    "bulk_update",
    "get_or_create",
    "update_or_create",
}
MAY_WRITE = {
    "worklist/audit/trail.py": "the signature itself",
    "worklist/audit/seals.py": "the seal over the signatures",
    "worklist/once.py": "the one-time keys of forms: they say nothing of anyone",
    "worklist/delivery.py": "how far the trail was sent: it says nothing of anyone",
    "worklist/identifiers.py": "the counters behind our numbers: they say nothing of anyone",
    "dicomscp/journal.py": "what machines said, in bulk: no person writes or purges a row of it",
    "dicomscp/heartbeat.py": "a machine's sign of life, every ten seconds",
    "worklist/management/commands/synthesize.py": "made-up rows in bulk, for measurements",
}
# What has a method of such a name and is no row: the name that stands before the dot.
NOT_ROWS = frozenset({"trail", "options"})


def is_under(path: str, places: Iterable[str]) -> bool:
    """Say whether the path is one of the files, or in one of the folders; "" is everywhere."""
    return any(
        path.startswith(place) if place.endswith("/") or not place else path == place
        for place in places
    )


def is_within(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def imported(source: str) -> Iterator[str]:
    """What a file imports, wherever in it; of `from a import b`, `a.b`: b may be a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def unsigned_writes(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each call that may write a row past the trail."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        method, owner = node.func.attr, node.func.value
        if isinstance(owner, ast.Name) and owner.id == "inserts":
            yield node.lineno, ast.unparse(node)
        if method not in WRITES or (isinstance(owner, ast.Name) and owner.id in NOT_ROWS):
            continue
        if method == "update" and (node.args or not node.keywords):
            # A dictionary's or a progress bar's: a QuerySet's takes columns by name alone.
            continue
        if "commit=False" in map(ast.unparse, node.keywords):
            # A form that fills an object in and leaves the writing to others.
            continue
        yield node.lineno, ast.unparse(node.func)


def sources() -> Iterator[tuple[str, str]]:
    """Path and text of each file of ours, tests excepted."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_imports_point_down(rule: Rule) -> None:
    assert [line for path, source in sources() for line in rule.broken(path, source)] == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("worklist/scheduling/orders.py", "from dicomscp import status"),
        ("worklist/models/orders.py", "def later():\n    import dicomscp.status"),
        ("worklist/audit/trail.py", "from worklist import models"),
        ("worklist/audit/trail.py", "from worklist.models import Patient"),
        ("dicomscp/find.py", "from pynetdicom import evt"),
        ("worklist/health.py", "import pynetdicom.status"),
        ("dicomscp/wire/dul.py", "from django.db import connection"),
        ("dicomscp/wire/dul.py", "from dicomscp.status import SUCCESS"),
        ("dicomscp/plan.py", "from django.db.models import Q"),
        ("dicomscp/matching.py", "from worklist.models import Patient"),
        ("dicomscp/matching.py", "from worklist import models"),
        ("dicomscp/response.py", "from pynetdicom import evt"),
        ("dicomscp/server.py", "from pynetdicom.apps import qrscp"),
        ("dicomscp/scu.py", "import pynetdicom.apps.common"),
    ],
)
def test_a_planted_import_is_found(path: str, source: str) -> None:
    assert [line for rule in RULES for line in rule.broken(path, source)] != []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("dicomscp/find.py", "from worklist.models import ScheduledProcedureStep"),
        ("dicomscp/plan.py", "from worklist import attributes, values"),
        ("dicomscp/scu.py", "from pynetdicom import AE"),
        ("dicomscp/wire/dul.py", "from pynetdicom.dul import DULServiceProvider"),
        ("worklist/audit/trail.py", "from worklist.audit.models import AuditEvent"),
    ],
)
def test_what_is_allowed_passes(path: str, source: str) -> None:
    assert [line for rule in RULES for line in rule.broken(path, source)] == []


def test_the_named_pure_rooms_exist() -> None:
    assert [path for path in PURE if not (ROOT / path).is_file()] == []


def test_every_write_is_signed() -> None:
    unsigned = [
        f"{path}:{line} {call}"
        for path, source in sources()
        if "/migrations/" not in path and path not in MAY_WRITE
        for line, call in unsigned_writes(source)
    ]
    assert unsigned == []


@pytest.mark.parametrize(
    "source",
    [
        "patient.save()",
        "Patient.objects.create(name='x')",
        "Patient.objects.filter(pk=1).update(name='x')",
        "def f():\n    self.step.delete()",
        "Patient.objects.bulk_create(rows)",
        "inserts.insert(rows)",
    ],
)
def test_a_planted_write_is_found(source: str) -> None:
    assert list(unsigned_writes(source)) != []


@pytest.mark.parametrize(
    "source", ["trail.save(patient, by=actor)", "found.update({'a': 1})", "form.save(commit=False)"]
)
def test_what_writes_no_row_unsigned_passes(source: str) -> None:
    assert list(unsigned_writes(source)) == []
