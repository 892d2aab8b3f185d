"""The DIMSE statuses of a Modality Worklist C-FIND by name (PS3.4 Table K.4-1), and how to refuse.

Pure: no database, no network.
"""

from __future__ import annotations

from dataclasses import dataclass

SUCCESS = 0x0000
NOT_AUTHORISED = 0x0124
PENDING = 0xFF00
PENDING_WARNING = 0xFF01
CANCEL = 0xFE00
OUT_OF_RESOURCES = 0xA700
IDENTIFIER_DOES_NOT_MATCH = 0xA900
UNABLE_TO_PROCESS = 0xC000
CANNOT_DECODE = 0xC001

# The statuses that we send, in the order of the table, with what they mean here.
MEANINGS: dict[int, tuple[str, str]] = {
    SUCCESS: ("Success", "Matching is complete; also when nothing matched."),
    NOT_AUTHORISED: (
        "Refused: not authorised",
        "The association was accepted, and its caller is none that may ask, or is so no longer "
        "(PS3.7 Annex C).",
    ),
    OUT_OF_RESOURCES: (
        "Refused: out of resources",
        "The worklist cannot be read now, or more steps match than the limit allows. "
        "Error Comment says which.",
    ),
    IDENTIFIER_DOES_NOT_MATCH: (
        "Error: data set does not match SOP class",
        "A key is malformed, or the Identifier exceeds a bound. Offending Element and Error "
        "Comment name it.",
    ),
    UNABLE_TO_PROCESS: (
        "Failed: unable to process",
        "A failure of the server; Error Comment holds the number under which it was logged.",
    ),
    CANNOT_DECODE: (
        "Failed: unable to process",
        "The Identifier is damaged: its bytes cannot be decoded to the last one.",
    ),
    CANCEL: ("Cancel", "Matching was ended by a C-CANCEL request."),
    PENDING: ("Pending", "A match; every key that was asked for is supported."),
    PENDING_WARNING: (
        "Pending",
        "A match; one or more optional keys were not supported for existence and are left out.",
    ),
}

# Error Comment (0000,0902) is an LO.
_COMMENT_LENGTH = 64


@dataclass(eq=False)  # Python sets the traceback on an exception: it cannot be frozen
class Refusal(Exception):
    """A request that is answered with a failure status.

    `comment` is ASCII and says nothing of a patient; past 64 characters it is cut. `offending` are
    tags, outermost first.
    """

    status: int
    comment: str
    offending: tuple[int, ...] = ()

    @property
    def error_comment(self) -> str:
        """The comment as it may stand in Error Comment (0000,0902)."""
        return self.comment.encode("ascii", "replace").decode()[:_COMMENT_LENGTH]

    def __str__(self) -> str:
        return f"0x{self.status:04X} {self.comment}"
