"""The conformance statement, in the order of PS3.2; keys and statuses are read from their tables.

Pure: no database, no network. What decides an answer lives elsewhere; here it is only told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pydicom.datadict import (
    dictionary_description,
    dictionary_is_retired,
    dictionary_VR,
    tag_for_keyword,
)

from dicomscp import identifier, matching
from dicomscp.status import (
    CANNOT_DECODE,
    IDENTIFIER_DOES_NOT_MATCH,
    MEANINGS,
    NOT_AUTHORISED,
    OUT_OF_RESOURCES,
    UNABLE_TO_PROCESS,
)
from worklist.attributes import TABLE, Attribute, walk
from worklist.audit import codes
from worklist.audit.codes import Code

# The kinds of matching of PS3.4 C.2.2.2 that a VR allows here, beside universal matching.
KINDS = {
    "DA": "single value, range",
    "DS": "single value, as a number",
    "SQ": "sequence",
    "TM": "single value, range",
    "UI": "single value, list of UID",
    "US": "single value, as a number",
}
KINDS_OF_TEXT = "single value, wildcard"
SEVERAL = {
    "Modality": "list of values (OR)",
    "ScheduledStationAETitle": "list of values (OR)",
}

# Attributes that Table K.6-1 names, or that modalities ask for, and that are not held.
LEFT_OUT: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("ReferencedDefinedProtocolSequence", "ReferencedPerformedProtocolSequence"),
        "No protocol objects are stored.",
    ),
    (
        ("ProtocolContextSequence",),
        "No Protocol Context templates are supported; codes come without modifiers.",
    ),
    (
        (
            "ScheduledPerformingPhysicianIdentificationSequence",
            "RequestingPhysicianIdentificationSequence",
            "ReferringPhysicianIdentificationSequence",
        ),
        "Physicians are held by name.",
    ),
    (
        ("IntendedRecipientsOfResultsIdentificationSequence",),
        "Recipients are held by name, in Names of Intended Recipients of Results.",
    ),
    (
        ("ScheduledSpecimenSequence", "BarcodeValue"),
        "Specimens are not scheduled.",
    ),
    (
        (
            "IssuerOfAccessionNumberSequence",
            "IssuerOfAdmissionIDSequence",
            "IssuerOfPatientIDQualifiersSequence",
        ),
        "Numbers are those of one site; Issuer of Patient ID is held as text.",
    ),
    (
        ("OrderPlacerIdentifierSequence", "OrderFillerIdentifierSequence"),
        "Order numbers are held without the systems that gave them.",
    ),
    (
        ("OtherPatientIDsSequence",),
        "Other Patient IDs (retired) is held instead: it is what consoles ask for.",
    ),
    (("PatientAge",), "It follows from Patient's Birth Date and would soon be wrong."),
    (
        ("PatientPrimaryLanguageCodeSequence",),
        "Languages are not coded.",
    ),
    (
        ("PertinentDocumentsSequence", "HL7StructuredDocumentReferenceSequence"),
        "No documents are referenced.",
    ),
    (
        (
            "AnatomicalOrientationType",
            "PatientSpeciesDescription",
            "PatientBreedDescription",
        ),
        "Patients are people; veterinary attributes are not held.",
    ),
    (
        ("ContextIdentifier", "MappingResource", "ContextGroupVersion"),
        "Codes are handed on as given; their context groups are not.",
    ),
)

OVERVIEW = """\
# DICOM Conformance Statement

<!-- Written by `manage.py conformance` from the table of attributes and statuses. Do not edit. -->

## 1 Overview

The worklist broker keeps the exams that a site has planned and gives them to modalities. It is a
Service Class Provider (SCP) of the Basic Modality Worklist. It stores no images and receives none.

| SOP Class | SOP Class UID | As SCU | As SCP |
| --- | --- | --- | --- |
| Modality Worklist Information Model – FIND | 1.2.840.10008.5.1.4.31 | Yes, for tests | Yes |
| Verification | 1.2.840.10008.1.1 | Yes, for tests | Yes |

The Modality Worklist SOP Class is a Standard Extended SOP Class: the retired attributes that are
marked in section 3.3 are supported as optional keys.

## 2 Introduction

The statement follows PS3.2; rules of the standard are cited by part and section. SCP is the
broker, SCU the modality that asks it. R and O are the matching key types, 1, 1C, 2, 2C and 3 the
return key types of PS3.4 Table K.6-1. "Step" is a Scheduled Procedure Step.

## 3 Networking

### 3.1 Implementation model

One Application Entity (AE) answers C-ECHO and C-FIND. It reads the site's worklist for each
query: what is committed is what the next query sees. The commands `manage.py echo` and
`manage.py find` ask other AEs, or this one, on an operator's demand.

### 3.2 AE specification

#### 3.2.1 Association policies

| Policy | Value |
| --- | --- |
| Application context | 1.2.840.10008.3.1.1.1 |
| Implementation class UID | 1.2.826.0.1.3680043.9.3811.3.0.4 |
| Implementation version name | PYNETDICOM_304 |
| Calling AE titles, as SCP | those of stations that are set up; see below |
| Called AE title, as SCP | every one; with `DICOM_CHECK_CALLED_AE_TITLE=1`, our own alone |
| Maximum PDU length received | 16382 bytes |
| Associations at the same time, as SCP | 100; `DICOM_MAX_ASSOCIATIONS` sets another number |
| Connections at the same time, as SCP | 500, and 32 from one address; more are closed |
| Maximum PDU length that a peer asks for | none, or 128 bytes at the least; else rejected |
| PDU from a peer | 4096 bytes over the maximum length, 65536 of a request; else A-ABORT |
| Command set and Identifier from a peer | 4096 and 262144 bytes; else A-ABORT |
| A PDU, from its first byte to its last | 10 s, then A-ABORT |
| 32 kB of an answer to be taken by a peer | 15 s, then the connection is reset |
| A-RELEASE-RQ in the middle of an answer | A-ABORT |
| Asynchronous operations window | not supported: one operation at a time |
| ACSE timeout | 10 s |
| DIMSE timeout | 30 s |
| Network timeout | 300 s without a message, then the association is aborted |
| Role selection | not supported |
| User identity negotiation | not supported: ignored |
| SOP Class Common Extended Negotiation | not supported |

**Who may call.** An association whose calling AE title is that of no station that is set up, of one
that may not ask, or of one that calls from other addresses than are set for it, is rejected: result
1 (permanent), source 1, reason 3 (calling AE title not recognised). With another called AE title
than ours, where that is checked, the reason is 7. Rejected with reason 3 is also, in set-up mode
too, a station that shows none of the TLS certificates that are bound to it, or one that is bound to
another station alone. Exceptions:

- an association that asks for Verification alone is accepted from every caller;
- as long as no station is set up at all, and with `DICOM_ACCESS=any`, every caller is accepted;
- in set-up mode, which ends by itself after 24 hours, so are callers that are not set up, and those
  of other addresses;
- when the database is unavailable, the association is accepted, and its queries are refused with
  0xA700.

A caller that is let in and is not set up is shown the steps of all stations (section 3.4.1).

Each query is decided anew: one of a caller that may not ask any more is refused with 0x0124.

The broker starts associations only for the operator's commands, one SOP Class each. It releases
them after the last response.

#### 3.2.2 Presentation contexts, accepted and proposed

| Abstract syntax | Transfer syntax | As SCP and SCU |
| --- | --- | --- |
| Modality Worklist Information Model – FIND | Implicit VR Little Endian 1.2.840.10008.1.2 | both |
| | Explicit VR Little Endian 1.2.840.10008.1.2.1 | both |
| Verification | Implicit VR Little Endian 1.2.840.10008.1.2 | both |
| | Explicit VR Little Endian 1.2.840.10008.1.2.1 | both |

#### 3.2.3 SOP Class Extended Negotiation

An SCU that offers extended negotiation for the worklist (PS3.4 K.5) is answered with `01 01 00 00`,
cut to the number of bytes that it offered, a byte that it offers as 00 staying 00; one that offers
none is answered none.

| Byte | Field | Answer | What it means |
| --- | --- | --- | --- |
| 1 | Reserved (relational queries) | 01 | Always 1 in the worklist's model, which has one level. |
| 2 | Reserved (date-time matching) | 01 | Ranges of start date and time are one interval. |
| 3 | Fuzzy semantic matching of person names | 00 | Not supported. |
| 4 | Timezone query adjustment | 00 | Not supported. |

#### 3.2.4 Verification

A C-ECHO request is answered with 0x0000 (Success).
"""

TABLE_NOTE = """\
### 3.3 Modality Worklist: attributes

Each attribute that is returned can be matched on, by the kinds of its VR. Universal matching (a
zero-length key) is always possible and is not repeated in the table. `>` stands before the
attributes of a sequence's item.
"""

LEFT_OUT_NOTE = """\
#### 3.3.1 Attributes that are not held

A request for one of these, or for any other attribute that is not in the table above, is answered
without it and with 0xFF01.
"""

MATCHING = f"""\
### 3.4 Modality Worklist: matching

All keys are combined with AND. In detail (PS3.4 C.2.2.2 and K.2.2):

1. **Universal.** A zero-length key, a key of blanks, and a lone `*` on any VR match everything. A
   zero-length sequence, or a sequence with one zero-length item, asks for the sequence as a whole.
2. **Wildcards.** `*` (any run of characters) and `?` (one character) are supported on AE, CS, LO,
   LT, PN, SH, ST, UC and UR, so also on Scheduled Station AE Title, Modality and Patient ID,
   where Table K.6-1 asks for single value matching only.
3. **Case and blanks.** Matching is case-sensitive, except for PN. Blanks round a value do not
   count; those before an LT, ST, UC or UR do.
4. **Person names** (all attributes of VR PN). Case-insensitive, character by character (`ß` is
   `ẞ`), and accent-sensitive; `ss` and `ß` find each other (the first three in a component group
   of the key). Blanks round components and trailing `^` do not count. A key without `=` matches
   any one component group (alphabetic, ideographic, phonetic); a key with `=` is compared group
   by group, a group of the key that is empty or `*` being universal. A name without wildcard is
   compared as a whole: `DOE` does not match `DOE^JANE`. Wildcards work as on other VRs. Fuzzy
   semantic matching is not supported.
5. **Empty stored values.** A step whose value is unknown fails every key on that attribute that
   is not universal.
6. **Dates and times, single.** DA is read as `YYYYMMDD` and as `YYYY.MM.DD`, TM also with colons.
   They are compared by meaning: missing parts of a time are zero, so `2230` equals `223000`.
7. **Ranges.** Both ends are included. The upper end of a range of times covers the whole hour,
   minute or second that it names: `-10` ends after 10:59:59.999999.
8. **Start date and start time** of the step form one continuous interval when both keys are
   ranges. An open end of the dates is unbounded; a missing end of the times is the start or the
   end of the day. In every other combination the two keys are matched independently.
9. **Several values** in a key (`\\`) mean OR in Modality and in Scheduled Station AE Title, and a
   list of UID in attributes of VR UI. In any other attribute they are refused with 0xA900, and
   so is a key of separators alone.
10. **Stored attributes with several values** match when one of the values does; all values are
    returned.
11. **Numbers.** DS and US are compared as numbers: `70` equals `70.0`. A US that comes in a VR of
    text is read as text; in any other VR than US or UN it is refused with 0xA900.
12. **Sequences.** An item of the stored sequence must meet all keys of the key's item together.
13. **Malformed keys** never widen an answer. A value that its VR does not allow (a wildcard in a
    date, a date that does not exist), a range that runs backwards, and more than one item in a
    sequence key are refused with 0xA900; Offending Element and Error Comment name the attribute.
14. **Bounds.** Refused with 0xA900 is an Identifier of more than {identifier.MAX_BYTES // 1024}
    KiB, {identifier.MAX_ELEMENTS} elements and items, or {identifier.MAX_DEPTH} levels, and one
    in which an element stands twice. One whose bytes cannot be decoded to the last is refused
    with 0xC001. Refused with 0xA900 is also a key of more characters than its VR allows (a `*`
    at either end not counted), of more than {matching.MAX_VALUES} values, or with a control
    character that its VR does not allow; NUL at a value's end is padding.
15. **What is left alone.** Group length elements and trailing padding are dropped. Specific
    Character Set and Timezone Offset From UTC are not keys.

#### 3.4.1 What is not asked for, and still counts

Without a value in Scheduled Procedure Step Status (`*` is none), steps in the status SCHEDULED,
ARRIVED, READY and STARTED are matched, all others are not. A value there takes the place of this
rule. Unless a site sets rules for a station, there is no hidden filter on the date or on the
calling AE title: each caller is shown the steps of all stations.

The rules that a site may set for a station hold for the calling AE titles that are the station's:

- **Shown:** the steps of all stations (the default); those of the station's modality; its own, and
  those that name no station; its own.
- **Calling AE title:** counts as the station when the query has no value in Scheduled Station AE
  Title.
- **Further AE titles:** a value in Scheduled Station AE Title that is one of them counts as the
  station's first one.
- **Modalities:** a value in Modality counts as further ones, such as CR as CR and DX.
- **Statuses:** others than those above, when the query has no value in the status.
- **Hours:** steps that start no more than so many hours ago, or ahead; by choice not when the query
  has a value in Patient's Name, Patient ID, Accession Number or Requested Procedure ID.
- **Ignored keys:** what the query asks for in them is no condition, and they are returned as ever;
  never a key of one patient, order or study. Start date and start time are ignored together.
- **Limit:** another number of matches than the one below.
- **Character set:** section 6. **Alphabetic group:** of each person name that has one, it alone.

When more steps match than the limit (5000; `DICOM_MATCH_LIMIT` sets another), the query is
refused with 0xA700 and no match is returned: a list that is cut in silence would hide a patient.

### 3.5 Modality Worklist: responses

A response carries exactly the attributes that were asked for and are held, with their stored
values; one without a value is zero-length. Asked for as a whole, a sequence holds every attribute
of the table; those of type 1C, 2C and 3 without a value are left out. One response tells of one
step. Responses are ordered by start date and start time. All matches are read before the first
response is sent. A C-CANCEL request ends the responses with 0xFE00.

Study Instance UID is made when the procedure is planned, unless the order brings one, and does
not change.
"""

STATUS_NOTE = """\
#### 3.5.1 Statuses

0xFF01 says one thing: the request holds an optional key that is not supported for existence – an
attribute, private or unknown ones included, that is not in the table of section 3.3. It is known
before the first match is read, and all matches of a query carry the same Pending status.

Such a key is ignored unless it has a value that it cannot have: then it is what is left of another
key that was damaged, and the query is refused with 0xA900. That is so when its tag is out of order,
of no attribute of DICOM's dictionary, private but in no block, or
when its value or VR is not the attribute's.
"""

CLOSING = """\
## 4 Network interfaces and configuration

TCP/IP, IPv4 or IPv6 as the address says. Address, port and AE title are set by the environment:

| Setting | Default |
| --- | --- |
| `DICOM_BIND` | 0.0.0.0 |
| `DICOM_PORT` | 11112 |
| `DICOM_TLS_PORT` | 0: none; 2762 is the registered port |
| `DICOM_TLS_CERT`, `DICOM_TLS_KEY`, `DICOM_TLS_CA` | none |
| `DICOM_TLS_CLIENT` | required |
| `AE_TITLE` | WORKLIST |
| `DICOM_ACCESS` | known |
| `DICOM_CHECK_CALLED_AE_TITLE` | 0 |
| `DICOM_MAX_ASSOCIATIONS` | 100 |
| `DICOM_MATCH_LIMIT` | 5000 |

## 5 Media interchange

Not supported.

## 6 Character sets

**Requests.** All sets of PS3.3 C.12.1.1.2 are read: the default repertoire, the single-byte sets
with and without code extensions, the multi-byte sets of Japanese, Korean and Chinese, and ISO_IR
192, GB18030 and GBK. Bytes beyond ASCII in a request without Specific Character Set are read as
UTF-8; behind ASCII with ISO 2022 IR 58 or ISO 2022 IR 149 and without an escape sequence, in that
set. A key that cannot be read in its set, or in a set that is not supported, is refused with
0xA900.

**Responses.** The set that the station is set to, else the request's, is used when it can hold
every character of the response, otherwise ISO_IR 192; Specific Character Set is present whenever
one is used. A response of ASCII characters to a request without Specific Character Set carries none
unless the station is set to one. No character is replaced by another.

**Timezone Offset From UTC** in a request is ignored. Dates and times are those of the site's
clocks, and are returned as they are stored.

## 7 Security

The **BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile** (PS3.15 B.12) is supported on
a port of its own, `DICOM_TLS_PORT`; TLS is never negotiated on the port without.

| Subject | Value |
| --- | --- |
| Versions | TLS 1.3, preferred, and TLS 1.2 |
| Suites of TLS 1.3 | TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256, TLS_AES_128_GCM_SHA256 |
| Suites of TLS 1.2 | ECDHE with RSA or ECDSA, and AES-GCM or ChaCha20-Poly1305 |
| Keys | RSA of 2048 bits or more, elliptic curves; no SHA-1 |
| Compression, renegotiation, resumption | none |
| Certificates of peers | required, optional or not asked for (`DICOM_TLS_CLIENT`) |
| Validation | path to an authority of `DICOM_TLS_CA`, and validity; revocation is not checked |
| Binding to an AE title | by SHA-256 fingerprint, where a site sets it (section 3.2.1) |
| Handshake | within 5 s, else the connection is closed |
| Integrity check fails | the connection is closed (A-P-ABORT, reason not specified) |

As SCU, for the operator's commands, the same versions and suites are offered.

The **Audit Trail Message Format Profile** (PS3.15 A.5) is supported, for these events:
"""

# The events of PS3.15 A.5.3 that are recorded, the kinds of them, and what they stand for.
AUDIT_EVENTS: tuple[tuple[Code, tuple[Code, ...], str], ...] = (
    (
        codes.APPLICATION_ACTIVITY,
        (codes.APPLICATION_START, codes.APPLICATION_STOP),
        "A server starts or stops.",
    ),
    (codes.AUDIT_LOG_USED, (), "The audit trail is read, exported or sent."),
    (codes.ORDER_RECORD, (), "An order is made, changed, deleted or seen."),
    (codes.PATIENT_RECORD, (), "A patient is made, changed, merged, deleted or seen."),
    (codes.PROCEDURE_RECORD, (), "A procedure or step is made, changed, deleted or printed."),
    (
        codes.QUERY,
        (),
        "A modality asks for its worklist (C-FIND); somebody sees, prints or exports a list.",
    ),
    (
        codes.SECURITY_ALERT,
        (
            codes.NODE_AUTHENTICATION,
            codes.RESTRICTED_FUNCTION,
            codes.NETWORK_CONFIGURATION,
            codes.SOFTWARE_CONFIGURATION,
            codes.SECURITY_ROLES_CHANGED,
            codes.USER_SECURITY_CHANGED,
        ),
        "A caller is refused; a right lacks; stations, catalogue, roles or accounts are changed; "
        "an account is locked.",
    ),
    (codes.USER_AUTHENTICATION, (codes.LOGIN, codes.LOGOUT), "Somebody signs in or out, or fails."),
)

AFTER_AUDIT = """\
`export_audit` writes the messages as XML (A.5.1) into a file. `send_audit` sends them by the
**Audit Trail Message Transmission Profile, SYSLOG-TLS** (A.6; RFC 5424 in frames of RFC 5425, MSGID
`DICOM+RFC3881`, port `AUDIT_SYSLOG_PORT`, 6514 by default), at least once each and in their order.
SYSLOG-UDP (A.7) is not supported.

On the port without TLS, associations are neither encrypted nor authenticated by the broker, and an
AE title is no secret (section 3.2.1): the port belongs on a network of the modalities alone, or
behind a tunnel. A journal in the database keeps each association and each
C-FIND request with the numbers of the steps that were sent, for 30 days (`JOURNAL_DAYS`). The log
tells of each association and query the AE titles, the address, counts and the status, and nothing
of a patient.

## 8 Declarations of PS3.4 K.6.1.3.2

| # | Subject | Declaration |
| --- | --- | --- |
| 1 | Matching keys | Section 3.3: all R keys, and all O keys of the table; kinds by VR. |
| 2 | Return keys of type 3 | Section 3.3. |
| 3 | Person names | Section 3.4, 4: case-insensitive, accent-sensitive, wildcards; every PN. |
| 4 | Fuzzy semantic matching | Not supported. |
| 5 | Specific Character Set, Timezone Offset From UTC | Section 6. |
| 6 | Protocol Context templates | None. |
| 7 | Extra keys | The attributes marked as retired in section 3.3. |
| 8 | Precision, combined ranges, lists, invalid keys, limit | Sections 3.4 and 3.4.1. |
| 9 | Filters that no key asks for | Section 3.4.1: by status; others as a station is set up. |
| 10 | Statuses | Section 3.5.1. |
| 11 | Network | Sections 3.2 and 4. |
"""

# Elements of the command that go with a failure status (PS3.7 Annex C).
RELATED = {
    NOT_AUTHORISED: "(0000,0902)",
    OUT_OF_RESOURCES: "(0000,0902)",
    IDENTIFIER_DOES_NOT_MATCH: "(0000,0901), (0000,0902)",
    UNABLE_TO_PROCESS: "(0000,0902)",
    CANNOT_DECODE: "(0000,0901), (0000,0902)",
}


def statement() -> str:
    """The conformance statement as Markdown."""
    parts = (
        OVERVIEW,
        TABLE_NOTE,
        *_modules(),
        LEFT_OUT_NOTE,
        _rows(("Attribute", "Tag", "VR", "Why"), _left_out()),
        MATCHING,
        STATUS_NOTE,
        _rows(("Status", "Name", "What it means", "Related elements"), _statuses()),
        CLOSING,
        _rows(("Event", "Code", "Kinds", "When"), _audit_events()),
        AFTER_AUDIT,
    )
    return "\n".join(parts)


def _audit_events() -> Iterator[tuple[str, ...]]:
    for event, kinds, when in AUDIT_EVENTS:
        several = ", ".join(f"{kind.meaning} {kind.value}" for kind in kinds)
        yield event.meaning, event.value, several, when


def _modules() -> Iterator[str]:
    headings = ("Attribute", "Tag", "VR", "VM", "Matching key", "Matching", "Return key")
    for module in dict.fromkeys(attribute.module for attribute in TABLE):
        lines = (_attribute(one) for one in walk(TABLE) if one.module == module)
        yield f"**{module}**\n"
        yield _rows(headings, lines)


def _attribute(attribute: Attribute) -> tuple[str, ...]:
    depth = ">" * (len(attribute.path) - 1)
    retired = " (retired)" if dictionary_is_retired(attribute.tag) else ""
    kinds = [KINDS.get(attribute.vr, KINDS_OF_TEXT)]
    if attribute.keyword in SEVERAL:
        kinds.append(SEVERAL[attribute.keyword])
    return (
        f"{depth} {attribute.name}{retired}".strip(),
        _tag(attribute.tag),
        attribute.vr,
        attribute.vm,
        attribute.matching,
        ", ".join(kinds),
        attribute.returned,
    )


def _left_out() -> Iterator[tuple[str, ...]]:
    for keywords, reason in LEFT_OUT:
        for keyword in keywords:
            tag = tag_for_keyword(keyword)
            if tag is None:
                raise LookupError(f"{keyword} is not in pydicom's dictionary")
            yield dictionary_description(tag), _tag(tag), dictionary_VR(tag), reason


def _statuses() -> Iterator[tuple[str, ...]]:
    for code, (name, meaning) in MEANINGS.items():
        yield f"0x{code:04X}", name, meaning, RELATED.get(code, "none")


def _tag(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _rows(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, with an empty line behind it."""
    lines = (headings, ("---",) * len(headings), *rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
