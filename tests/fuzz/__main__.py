"""Whatever bytes an Identifier has: a plan, or a Refusal, and nothing else.

A minute by default; `python -m tests.fuzz 600` takes ten. What it finds is kept in var/fuzz, to be
tried again: `python -m tests.fuzz 0 var/fuzz/crash-…`. Needs atheris, which Linux alone has.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["dicomscp", "worklist"]):
    from dicomscp import identifier, plan
    from dicomscp.status import Refusal
from pydicom.uid import ExplicitVRLittleEndian

from tests import network
from tests.strategies import Key, Query

FOLDER = Path(__file__).resolve().parent.parent.parent / "var" / "fuzz"
_STEP = 0x00400100


def try_one(data: bytes) -> None:
    """Read and plan; the first byte says in which transfer syntax."""
    if not data:
        return
    try:
        elements = identifier.read(
            data[1:], implicit_vr=bool(data[0] & 1), big_endian=bool(data[0] & 2)
        )
        made = plan.make(elements)
    except Refusal as refusal:
        assert len(refusal.error_comment) <= 64  # LO
        assert refusal.error_comment.isascii()
        return
    assert len(str(made.conditions)) >= 2, "each condition can be told"


def seeds() -> Iterator[bytes]:
    """Requests as scanners send them, in both transfer syntaxes."""
    step = (
        Key(0x00080060, "CS", ("CT", "MR")),
        Key(0x00400001, "AE", ("CT1",)),
        Key(0x00400002, "DA", ("20240701-20240705",)),
        Key(0x00400003, "TM", ("0800-1200",)),
        Key(0x00400008, "SQ", ((Key(0x00080100, "SH", ("CTTH",)),),)),
    )
    for charset, name in (
        ("ISO_IR 192", "Müller^A*=山田"),
        ("ISO_IR 100", "Mül?er*"),
        ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎"),
        ("GB18030", "山田*"),
    ):
        keys = (
            Key(0x00080005, "CS", tuple(charset.split("\\"))),
            Key(0x00080050, "SH", ()),
            Key(0x00100010, "PN", (name,)),
            Key(0x00100020, "LO", ("P_1%",)),
            Key(0x00100030, "DA", ("19800203",)),
            Key(0x0020000D, "UI", ("1.2.3", "1.2.4")),
            Key(_STEP, "SQ", (step,)),
        )
        for has_undefined_lengths in (True, False):
            asked = Query(keys, has_undefined_lengths=has_undefined_lengths)
            for syntax in network.TRANSFER_SYNTAXES:
                is_explicit = syntax == ExplicitVRLittleEndian
                encoded = network.encode(asked, is_explicit=is_explicit)
                yield bytes([not is_explicit]) + encoded


def main() -> None:
    seconds, *again = sys.argv[1:] or ["60"]
    corpus = FOLDER / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=5", "-verbosity=0"]
    options += [f"-artifact_prefix={FOLDER}/", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, *(again or [str(corpus)])], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
