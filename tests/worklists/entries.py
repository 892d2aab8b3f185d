"""Ten worklist entries, as a site keeps them in a folder of wlmscpfs: one file, one step.

Values stand by keyword; a tuple is several values, a list the items of a sequence. An entry's name
is its file's name. All of it is invented; the patients carry the names of astronomers.
"""

from __future__ import annotations

from typing import Any

Entry = dict[str, Any]

STEP = "ScheduledProcedureStepSequence"


def _code(value: str, meaning: str) -> Entry:
    return {"CodeValue": value, "CodingSchemeDesignator": "99ASTRO", "CodeMeaning": meaning}


def _entry(number: int, step: Entry, **given: Any) -> Entry:
    """An entry of a study of its own."""
    return {
        "StudyInstanceUID": f"1.2.826.0.1.3680043.10.1.31.{number}",
        "RequestedProcedureID": f"RP{number:03}",
        "RequestedProcedurePriority": "ROUTINE",
        **given,
        STEP: [{"ScheduledProcedureStepID": f"ST{number:03}", **step}],
    }


_CAROLINE: Entry = {
    "PatientName": "Herschel^Caroline^Lucretia",
    "PatientID": "AST001",
    "IssuerOfPatientID": "OBSERVATORY",
    "PatientBirthDate": "19500316",
    "PatientSex": "F",
    "PatientWeight": "52.5",
    "AccessionNumber": "ACC-1001",
    "AdmissionID": "ADM-77",
    "ReferringPhysicianName": "Okafor^Ben^^Dr",
    "RequestingPhysician": "Lind^Sara",
    "RequestedProcedureDescription": "Chest, staged",
    "RequestedProcedureCodeSequence": [_code("CT-CHEST", "CT of the chest")],
    "MedicalAlerts": ("pacemaker", "hard of hearing"),
    "Allergies": "iodine",
    "PregnancyStatus": 1,
}

ENTRIES: dict[str, Entry] = {
    "caroline-plain": _entry(
        1,
        {
            "ScheduledStationAETitle": "CT1",
            "ScheduledProcedureStepStartDate": "20310310",
            "ScheduledProcedureStepStartTime": "083000",
            "Modality": "CT",
            "ScheduledPerformingPhysicianName": "Reyes^Ana",
            "ScheduledProcedureStepDescription": "Chest without contrast",
            "ScheduledStationName": "TOWER-1",
            "ScheduledProcedureStepLocation": "Tower, ground",
            "ScheduledProtocolCodeSequence": [
                _code("P-THIN", "Thin slices"),
                _code("P-LOWDOSE", "Low dose"),
            ],
        },
        **_CAROLINE,
    ),
    # The second step of the same procedure.
    "caroline-contrast": _entry(
        1,
        {
            "ScheduledProcedureStepID": "ST001B",
            "ScheduledStationAETitle": "CT1",
            "ScheduledProcedureStepStartDate": "20310310",
            "ScheduledProcedureStepStartTime": "084500",
            "Modality": "CT",
            "ScheduledPerformingPhysicianName": "Reyes^Ana",
            "ScheduledProcedureStepDescription": "Chest with contrast",
            "PreMedication": "antihistamine",
            "RequestedContrastAgent": "iohexol",
        },
        **_CAROLINE,
    ),
    "william": _entry(
        2,
        {
            "ScheduledStationAETitle": "MR1",
            "ScheduledProcedureStepStartDate": "20310310",
            "ScheduledProcedureStepStartTime": "101500",
            "Modality": "MR",
            "ScheduledPerformingPhysicianName": "Reyes^Ana",
            "ScheduledProcedureStepDescription": "Left knee",
        },
        PatientName="Herschel^William",
        PatientID="AST002",
        PatientBirthDate="19381115",
        PatientSex="M",
        AccessionNumber="ACC-1002",
        ReferringPhysicianName="Okafor^Ben^^Dr",
        RequestingPhysician="Moreau^Luc",
        RequestedProcedureDescription="Knee",
        PatientTransportArrangements="wheelchair",
    ),
    "kepler": _entry(
        3,
        {
            "ScheduledStationAETitle": "US1",
            "ScheduledProcedureStepStartDate": "20310311",
            "ScheduledProcedureStepStartTime": "140000",
            "Modality": "US",
            "ScheduledPerformingPhysicianName": "Haddad^Nour",
            "ScheduledProcedureStepDescription": "Thyroid",
        },
        PatientName="Kepler^Johannes",
        PatientID="AST003",
        PatientBirthDate="19711227",
        PatientSex="M",
        AccessionNumber="ACC-1003",
        ReferringPhysicianName="Quist^Per",
        RequestingPhysician="Lind^Sara",
        RequestedProcedureDescription="Neck",
        RequestedProcedureComments="Lump on the left, growing for a month; compare with last year.",
    ),
    "leavitt": _entry(
        4,
        {
            "ScheduledStationAETitle": "MG1",
            "ScheduledProcedureStepStartDate": "20310312",
            "ScheduledProcedureStepStartTime": "073000",
            "Modality": "MG",
            "ScheduledPerformingPhysicianName": "Haddad^Nour",
            "ScheduledProcedureStepDescription": "Both breasts",
        },
        PatientName="Leavitt^Henrietta^Swan",
        PatientID="AST004",
        PatientBirthDate="19680704",
        PatientSex="F",
        AccessionNumber="ACC-2001",
        ReferringPhysicianName="Quist^Per",
        RequestingPhysician="Moreau^Luc",
        RequestedProcedureDescription="Screening, both breasts, two views each",
        RequestedProcedureComments="Implants on both sides.",
    ),
    # One step that may be done on either of two scanners.
    "rubin": _entry(
        5,
        {
            "ScheduledStationAETitle": ("CT1", "CT2"),
            "ScheduledProcedureStepStartDate": "20310312",
            "ScheduledProcedureStepStartTime": "183000",
            "Modality": "CT",
            "ScheduledPerformingPhysicianName": "Haddad^Nour",
            "ScheduledProcedureStepDescription": "Abdomen",
        },
        PatientName="Rubin^Vera",
        PatientID="AST005",
        PatientBirthDate="19280723",
        PatientSex="F",
        AccessionNumber="ACC-2002",
        ReferringPhysicianName="Okafor^Ben^^Dr",
        RequestingPhysician="Lind^Sara",
        RequestedProcedureDescription="Abdomen and pelvis",
        RequestedProcedurePriority="HIGH",
        CurrentPatientLocation="Ward 4",
    ),
    # Nobody is known to refer, request or perform; no accession number, no sex.
    "nobody-known": _entry(
        6,
        {
            "ScheduledStationAETitle": "CR1",
            "ScheduledProcedureStepStartDate": "20310313",
            "ScheduledProcedureStepStartTime": "000000",
            "Modality": "CR",
            "ScheduledPerformingPhysicianName": "",
            "ScheduledProcedureStepDescription": "Skull",
        },
        PatientName="Hypatia",
        PatientID="AST006",
        PatientBirthDate="",
        PatientSex="",
        AccessionNumber="",
        ReferringPhysicianName="",
        RequestingPhysician="",
        RequestedProcedureDescription="Skull, two views",
        RequestedProcedurePriority="STAT",
        PatientState="unconscious",
    ),
    "angstrom": _entry(
        7,
        {
            "ScheduledStationAETitle": "XA1",
            "ScheduledProcedureStepStartDate": "20310313",
            "ScheduledProcedureStepStartTime": "091500",
            "Modality": "XA",
            "ScheduledPerformingPhysicianName": "Reyes^Ana",
            "ScheduledProcedureStepDescription": "Coronary arteries",
        },
        SpecificCharacterSet="ISO_IR 100",
        PatientName="Ångström^Anders",
        PatientID="AST007",
        PatientBirthDate="19540813",
        PatientSex="M",
        AccessionNumber="ACC-2003",
        ReferringPhysicianName="Müller^Jörg",
        RequestingPhysician="Moreau^Luc",
        RequestedProcedureDescription="Heart",
        SpecialNeeds="interpreter: Swedish",
    ),
    "payne": _entry(
        8,
        {
            "ScheduledStationAETitle": "MR1",
            "ScheduledProcedureStepStartDate": "20310314",
            "ScheduledProcedureStepStartTime": "120000",
            "Modality": "MR",
            "ScheduledPerformingPhysicianName": "Reyes^Ana",
            "ScheduledProcedureStepDescription": "Head",
        },
        PatientName="Payne^Cecilia",
        PatientID="AST008",
        PatientBirthDate="20000510",
        PatientSex="F",
        AccessionNumber="ACC-2004",
        AdmissionID="ADM-81",
        ReferringPhysicianName="Quist^Per",
        RequestingPhysician="Lind^Sara",
        RequestedProcedureDescription="Head, follow-up",
        RequestedProcedureCodeSequence=[_code("MR-HEAD", "MR of the head")],
        ResponsiblePerson="Payne^Emma",
        ResponsiblePersonRole="PARENT",
    ),
    # Written in small letters where it was entered.
    "herschel-small": _entry(
        9,
        {
            "ScheduledStationAETitle": "US1",
            "ScheduledProcedureStepStartDate": "20310314",
            "ScheduledProcedureStepStartTime": "161500",
            "Modality": "US",
            "ScheduledPerformingPhysicianName": "Haddad^Nour",
            "ScheduledProcedureStepDescription": "Liver",
        },
        PatientName="herschel^john",
        PatientID="AST009",
        PatientBirthDate="19920307",
        PatientSex="M",
        AccessionNumber="ACC-2005",
        ReferringPhysicianName="Okafor^Ben^^Dr",
        RequestingPhysician="Moreau^Luc",
        RequestedProcedureDescription="Upper abdomen",
    ),
}
