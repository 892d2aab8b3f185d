"""THE TABLE: every attribute of the Modality Worklist that is stored, matched on and returned.

One line an attribute, in the order of PS3.4 Table K.6-1. Matching, answering, importing, exporting,
the system checks and the conformance statement read this table; nothing repeats it. Tag, VR, VM and
printed name come from pydicom's dictionary. Pure: no database, no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from pydicom.datadict import dictionary_description, dictionary_VM, dictionary_VR, tag_for_keyword

KeyType = Literal["R", "O"]
ReturnType = Literal["1", "1C", "2", "2C", "3"]


@dataclass(frozen=True, eq=False)
class Attribute:
    """One attribute at its place in the Identifier.

    `column` is the ORM path from ScheduledProcedureStep. A sequence whose items are rows of their
    own names their relation there and its attributes are relative to it; any other sequence has ""
    and holds one item at most, made of the columns of its attributes.
    """

    keyword: str
    matching: KeyType
    returned: ReturnType
    column: str
    module: str
    parent: Attribute | None = None
    items: list[Attribute] = field(default_factory=list, repr=False)

    @cached_property
    def tag(self) -> int:
        tag = tag_for_keyword(self.keyword)
        if tag is None:
            raise LookupError(f"{self.keyword} is not in pydicom's dictionary")
        return tag

    @cached_property
    def vr(self) -> str:
        return dictionary_VR(self.tag)

    @cached_property
    def vm(self) -> str:
        return dictionary_VM(self.tag)

    @cached_property
    def name(self) -> str:
        return dictionary_description(self.tag)

    @property
    def path(self) -> tuple[str, ...]:
        """The keywords from the top of the Identifier down to this attribute."""
        return (*(self.parent.path if self.parent else ()), self.keyword)

    @property
    def is_sequence(self) -> bool:
        return self.vr == "SQ"

    @property
    def is_multi_valued(self) -> bool:
        """Whether the attribute may have several values; a sequence is never multi-valued."""
        return not self.is_sequence and self.vm != "1"

    @cached_property
    def item_by_tag(self) -> dict[int, Attribute]:
        """The attributes of a sequence's item, by tag."""
        return {attribute.tag: attribute for attribute in self.items}

    def __str__(self) -> str:
        return ".".join(self.path)


# PS3.4 Table 8-2a, the code sequence macro of K.6-1: a code has one of three kinds of value.
_CODE = (
    ("1C", "CodeValue", "value"),
    ("1C", "CodingSchemeDesignator", "scheme"),
    ("3", "CodingSchemeVersion", "scheme_version"),
    ("3", "CodeMeaning", "meaning"),
    ("1C", "LongCodeValue", "long_value"),
    ("1C", "URNCodeValue", "urn_value"),
)

# Columns: matching key type, return key type, keyword (indented in its sequence), ORM path.
# A keyword that ends in "*" is a code sequence: the macro's lines stand below it.
_TABLE = """
Scheduled Procedure Step
  R 1  ScheduledProcedureStepSequence
  R 1  > ScheduledStationAETitle                     stations__ae_title
  R 1  > ScheduledProcedureStepStartDate             start_date
  R 1  > ScheduledProcedureStepStartTime             start_time
  R 1  > Modality                                    modality
  R 2  > ScheduledPerformingPhysicianName            performing_physician
  O 1C > ScheduledProcedureStepDescription           description
  O 2  > ScheduledStationName                        station_names
  O 2  > ScheduledProcedureStepLocation              location
  O 1C > ScheduledProtocolCodeSequence*              protocol_codes
  O 2C > PreMedication                               pre_medication
  O 1  > ScheduledProcedureStepID                    step_id
  O 2C > RequestedContrastAgent                      contrast_agent
  O 3  > ScheduledProcedureStepStatus                status
  O 3  > ScheduledProcedureStepEndDate               end_date
  O 3  > ScheduledProcedureStepEndTime               end_time
  O 3  > CommentsOnTheScheduledProcedureStep         comments
Requested Procedure
  O 1  RequestedProcedureID                          requested_procedure__procedure_id
  O 1C RequestedProcedureDescription                 requested_procedure__description
  O 1C RequestedProcedureCodeSequence*               requested_procedure__code
  O 1  StudyInstanceUID                              requested_procedure__study_instance_uid
  O 3  StudyDate                                     requested_procedure__study_date
  O 3  StudyTime                                     requested_procedure__study_time
  O 2  ReferencedStudySequence
  O 1  > ReferencedSOPClassUID                       requested_procedure__referenced_study_class_uid
  O 1  > ReferencedSOPInstanceUID                    requested_procedure__referenced_study_uid
  O 2  RequestedProcedurePriority                    requested_procedure__priority
  O 2  PatientTransportArrangements                  requested_procedure__transport
  O 3  ReasonForTheRequestedProcedure                requested_procedure__reason
  O 3  ReasonForRequestedProcedureCodeSequence*      requested_procedure__reason_code
  O 3  RequestedProcedureLocation                    requested_procedure__location
  O 3  ConfidentialityCode                           requested_procedure__confidentiality
  O 3  ReportingPriority                             requested_procedure__reporting_priority
  O 3  NamesOfIntendedRecipientsOfResults            requested_procedure__result_recipients
  O 3  RequestedProcedureComments                    requested_procedure__comments
Imaging Service Request
  O 2  AccessionNumber                               requested_procedure__request__accession_number
  O 2  RequestingPhysician                           requested_procedure__request__requesting_physician
  O 2  ReferringPhysicianName                        requested_procedure__request__referring_physician
  O 3  ReferringPhysicianAddress                     requested_procedure__request__referring_physician_address
  O 3  PlacerOrderNumberImagingServiceRequest        requested_procedure__request__placer_order_number
  O 3  FillerOrderNumberImagingServiceRequest        requested_procedure__request__filler_order_number
  O 3  ImagingServiceRequestComments                 requested_procedure__request__comments
  O 3  ReasonForTheImagingServiceRequest             requested_procedure__request__reason
  O 3  RequestingService                             requested_procedure__request__requesting_service
  O 3  IssueDateOfImagingServiceRequest              requested_procedure__request__issue_date
  O 3  IssueTimeOfImagingServiceRequest              requested_procedure__request__issue_time
  O 3  OrderEnteredBy                                requested_procedure__request__entered_by
  O 3  OrderEntererLocation                          requested_procedure__request__enterer_location
  O 3  OrderCallbackPhoneNumber                      requested_procedure__request__callback_phone
Visit
  O 2  AdmissionID                                   requested_procedure__request__admission_id
  O 2  CurrentPatientLocation                        requested_procedure__request__patient_location
  O 2  ReferencedPatientSequence
  O 1  > ReferencedSOPClassUID                       requested_procedure__request__referenced_patient_class_uid
  O 1  > ReferencedSOPInstanceUID                    requested_procedure__request__referenced_patient_uid
  O 3  VisitStatusID                                 requested_procedure__request__visit_status
  O 3  PatientInstitutionResidence                   requested_procedure__request__patient_residence
  O 3  InstitutionName                               requested_procedure__request__institution
  O 3  InstitutionAddress                            requested_procedure__request__institution_address
  O 3  InstitutionCodeSequence*                      requested_procedure__request__institution_code
  O 3  InstitutionalDepartmentName                   requested_procedure__request__department
  O 3  AdmittingDate                                 requested_procedure__request__admitting_date
  O 3  AdmittingTime                                 requested_procedure__request__admitting_time
  O 3  AdmittingDiagnosesDescription                 requested_procedure__request__admitting_diagnoses
Patient
  R 1  PatientName                                   requested_procedure__request__patient__name
  R 1  PatientID                                     requested_procedure__request__patient__patient_id
  O 3  IssuerOfPatientID                             requested_procedure__request__patient__issuer
  O 3  OtherPatientIDs                               requested_procedure__request__patient__other_ids
  O 3  OtherPatientNames                             requested_procedure__request__patient__other_names
  O 2  PatientBirthDate                              requested_procedure__request__patient__birth_date
  O 3  PatientBirthTime                              requested_procedure__request__patient__birth_time
  O 2  PatientSex                                    requested_procedure__request__patient__sex
  O 2  PatientWeight                                 requested_procedure__request__patient__weight
  O 3  PatientSize                                   requested_procedure__request__patient__size
  O 2  ConfidentialityConstraintOnPatientDataDescription  requested_procedure__request__patient__confidentiality
  O 2  PatientState                                  requested_procedure__request__patient__state
  O 2  PregnancyStatus                               requested_procedure__request__patient__pregnancy_status
  O 2  MedicalAlerts                                 requested_procedure__request__patient__medical_alerts
  O 2  Allergies                                     requested_procedure__request__patient__allergies
  O 2  SpecialNeeds                                  requested_procedure__request__patient__special_needs
  O 3  AdditionalPatientHistory                      requested_procedure__request__patient__history
  O 3  SmokingStatus                                 requested_procedure__request__patient__smoking_status
  O 3  LastMenstrualDate                             requested_procedure__request__patient__last_menstrual_date
  O 3  PatientMotherBirthName                        requested_procedure__request__patient__mother_birth_name
  O 3  ResponsiblePerson                             requested_procedure__request__patient__responsible_person
  O 3  ResponsiblePersonRole                         requested_procedure__request__patient__responsible_person_role
  O 3  EthnicGroup                                   requested_procedure__request__patient__ethnic_group
  O 3  Occupation                                    requested_procedure__request__patient__occupation
  O 3  PatientAddress                                requested_procedure__request__patient__address
  O 3  PatientTelephoneNumbers                       requested_procedure__request__patient__telephone_numbers
  O 3  PatientComments                               requested_procedure__request__patient__comments
"""  # noqa: E501  one line an attribute is worth a long line


def _read_table() -> tuple[Attribute, ...]:
    top: list[Attribute] = []
    module = ""
    for line in _TABLE.strip().splitlines():
        if not line.startswith(" "):
            module = line
            continue
        matching, returned, *rest = line.split()
        parent = top[-1] if rest[0] == ">" else None
        keyword, *column = rest[1:] if parent else rest
        attribute = Attribute(
            keyword.removesuffix("*"),
            matching,  # type: ignore[arg-type]  # the checks hold the letters
            returned,  # type: ignore[arg-type]
            column[0] if column else "",
            module,
            parent,
        )
        if keyword.endswith("*"):
            attribute.items.extend(
                Attribute(code_keyword, "O", code_returned, code_column, module, attribute)  # type: ignore[arg-type]
                for code_returned, code_keyword, code_column in _CODE
            )
        (parent.items if parent else top).append(attribute)
    return tuple(top)


TABLE: tuple[Attribute, ...] = _read_table()
"""The attributes at the top level of the Identifier; those of a sequence are its `items`."""

BY_TAG: dict[int, Attribute] = {attribute.tag: attribute for attribute in TABLE}


def walk(attributes: tuple[Attribute, ...] | list[Attribute] = TABLE) -> Iterator[Attribute]:
    """Every attribute of the table, sequences before their items, in the table's order."""
    for attribute in attributes:
        yield attribute
        yield from walk(attribute.items)


_BY_PATH: dict[tuple[str, ...], Attribute] = {attribute.path: attribute for attribute in walk()}


def find(*path: str) -> Attribute:
    """The attribute at this path of keywords. Raises KeyError when the table has none."""
    return _BY_PATH[path]
