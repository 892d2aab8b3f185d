"""What the site has and does: codes, stations (scanners) and the catalogue of procedures."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from worklist.models.fields import DicomText
from worklist.models.stations import (
    MOST_MATCHES,
    Fingerprints,
    Host,
    Keywords,
    Networks,
    Sees,
    StationTitle,
)
from worklist.models.versions import Versioned


class Code(models.Model):
    """A coded concept (PS3.3 8.8): one of the three kinds of value, its scheme and meaning."""

    value = DicomText("CodeValue")
    long_value = DicomText("LongCodeValue")
    urn_value = DicomText("URNCodeValue")
    scheme = DicomText("CodingSchemeDesignator")
    scheme_version = DicomText("CodingSchemeVersion")
    meaning = DicomText("CodeMeaning")

    class Meta:
        ordering = ("scheme", "value", "long_value", "urn_value", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("value", "long_value", "urn_value", "scheme", "scheme_version", "meaning"),
                name="worklist_code_once",
                violation_error_message=_("This code is there already."),
            ),
            models.CheckConstraint(
                condition=(
                    (~Q(value="") & Q(long_value="", urn_value=""))
                    | (~Q(long_value="") & Q(value="", urn_value=""))
                    | (~Q(urn_value="") & Q(value="", long_value=""))
                ),
                name="worklist_code_one_value",
                violation_error_message=_(
                    "A code has exactly one of Code Value, Long Code Value and URN Code Value."
                ),
            ),
        )

    def __str__(self) -> str:
        value = self.value or self.long_value or self.urn_value
        return f"{value} {self.scheme} {self.meaning}".strip()


class OpeningHours(Versioned):
    """When scanners work: a week of opening times that several scanners may share."""

    parts = ("times",)

    name = models.CharField(_("name"), max_length=64, unique=True)

    class Meta:
        ordering = ("name",)
        verbose_name = verbose_name_plural = _("opening hours")

    def __str__(self) -> str:
        return self.name


# As the audit trail spells them.
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class OpeningTime(models.Model):
    """An open stretch of one weekday (0 is Monday), wall-clock times; a break lies between two."""

    hours = models.ForeignKey(OpeningHours, models.CASCADE, related_name="times")
    weekday = models.PositiveSmallIntegerField()
    opens = models.TimeField()
    closes = models.TimeField()

    class Meta:
        ordering = ("weekday", "opens")
        constraints = (
            models.CheckConstraint(
                condition=Q(weekday__lte=6), name="worklist_openingtime_weekday"
            ),
            models.CheckConstraint(
                condition=Q(closes__gt=F("opens")),
                name="worklist_openingtime_closes_later",
                violation_error_message=_("It closes before it opens."),
            ),
        )

    def __str__(self) -> str:
        return f"{_DAYS[self.weekday]} {self.opens:%H:%M}-{self.closes:%H:%M}"


def character_sets() -> list[tuple[str, str]]:
    """PS3.3 C.12.1.1.2: what a scanner may be set to; "" leaves it to each request."""
    return [
        ("", gettext("As the scanner asks")),
        ("ISO_IR 192", gettext("Unicode (ISO_IR 192)")),
        ("ISO_IR 6", gettext("Plain letters only (ISO_IR 6)")),
        ("ISO_IR 100", gettext("Western European (ISO_IR 100)")),
        ("ISO_IR 101", gettext("Central European (ISO_IR 101)")),
        ("ISO_IR 109", gettext("South European (ISO_IR 109)")),
        ("ISO_IR 110", gettext("North European (ISO_IR 110)")),
        ("ISO_IR 126", gettext("Greek (ISO_IR 126)")),
        ("ISO_IR 127", gettext("Arabic (ISO_IR 127)")),
        ("ISO_IR 138", gettext("Hebrew (ISO_IR 138)")),
        ("ISO_IR 144", gettext("Cyrillic (ISO_IR 144)")),
        ("ISO_IR 148", gettext("Turkish (ISO_IR 148)")),
        ("ISO_IR 166", gettext("Thai (ISO_IR 166)")),
        ("ISO_IR 13", gettext("Japanese half-width (ISO_IR 13)")),
        ("\\ISO 2022 IR 87", gettext("Japanese (ISO 2022 IR 87)")),
        ("\\ISO 2022 IR 149", gettext("Korean (ISO 2022 IR 149)")),
        ("\\ISO 2022 IR 58", gettext("Simplified Chinese (ISO 2022 IR 58)")),
        ("GB18030", gettext("Chinese (GB18030)")),
        ("GBK", gettext("Chinese (GBK)")),
    ]


_LAST_PORT = 65535
# A year: a window of hours that is longer is none.
_MOST_HOURS = 366 * 24


class Station(Versioned):
    """A scanner (or its console) that asks for its worklist under an AE title."""

    parts = ("titles", "modality_aliases", "shown_statuses")

    ae_title = DicomText("ScheduledStationAETitle", single=True, blank=False, unique=True)
    name = DicomText("ScheduledStationName", single=True)
    modality = DicomText("Modality")
    location = DicomText("ScheduledProcedureStepLocation")
    is_active = models.BooleanField(
        _("in use"), default=True, help_text=_("whether exams can be booked on it")
    )
    character_set = models.CharField(
        _("character set"), max_length=32, blank=True, default="", choices=character_sets
    )
    opening_hours = models.ForeignKey(
        OpeningHours,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="stations",
        verbose_name=_("opening hours"),
        help_text=_("none: always open"),
    )
    # Who may call for it.
    is_allowed = models.BooleanField(
        _("may ask"), default=True, help_text=_("whether its calls are accepted")
    )
    networks = Networks(
        _("addresses"),
        max_length=512,
        blank=True,
        default="",
        help_text=_("addresses and networks that it calls from; none: from anywhere"),
    )
    certificates = Fingerprints(
        _("certificates"),
        max_length=512,
        blank=True,
        default="",
        help_text=_(
            "SHA-256 fingerprints of its TLS certificates; with any, it is answered only when it "
            "shows one of them"
        ),
    )
    # Where it answers, so that its connection can be tested.
    test_host = Host(_("address for tests"), max_length=253, blank=True, default="")
    test_port = models.PositiveIntegerField(
        _("port for tests"),
        null=True,
        blank=True,
        validators=(MinValueValidator(1), MaxValueValidator(_LAST_PORT)),
    )
    # What it is shown. As it is by default, nothing is hidden that its keys do not leave out.
    sees = models.CharField(_("shown"), max_length=32, choices=Sees.choices, default=Sees.ALL)
    calling_title_counts = models.BooleanField(
        _("asks for itself"),
        default=False,
        help_text=_("a query that names no AE title is one for this scanner's own exams"),
    )
    hours_before = models.PositiveSmallIntegerField(
        _("hours back"), null=True, blank=True, validators=(MaxValueValidator(_MOST_HOURS),)
    )
    hours_after = models.PositiveSmallIntegerField(
        _("hours ahead"), null=True, blank=True, validators=(MaxValueValidator(_MOST_HOURS),)
    )
    keys_override_window = models.BooleanField(
        _("patients are found outside the hours, too"),
        default=True,
        help_text=_("when it asks for a patient, an accession number or a procedure"),
    )
    match_limit = models.PositiveIntegerField(
        _("most exams in one answer"),
        null=True,
        blank=True,
        validators=(MinValueValidator(1), MaxValueValidator(MOST_MATCHES)),
    )
    alphabetic_only = models.BooleanField(
        _("names in Latin letters only"),
        default=False,
        help_text=_("for old consoles: of a name, the alphabetic group alone is sent"),
    )

    ignored_keys = Keywords(
        _("keys that are ignored"),
        max_length=1024,
        blank=True,
        default="",
        help_text=_("attributes that it asks for wrongly: what it asks for there is no condition"),
    )

    class Meta:
        ordering = ("ae_title",)
        constraints = (
            models.CheckConstraint(condition=~Q(ae_title=""), name="worklist_station_ae_title"),
            models.CheckConstraint(
                condition=Q(sees__in=Sees.values), name="worklist_station_sees_known"
            ),
            models.CheckConstraint(
                # Of no modality, it would be shown nothing.
                condition=~Q(sees=Sees.MODALITY) | ~Q(modality=""),
                name="worklist_station_sees_modality",
                violation_error_message=_("Say which modality the scanner is of."),
            ),
            models.CheckConstraint(
                condition=Q(match_limit=None)
                | Q(match_limit__gte=1, match_limit__lte=MOST_MATCHES),
                name="worklist_station_match_limit",
            ),
            models.CheckConstraint(
                condition=Q(test_host="", test_port=None)
                | (
                    ~Q(test_host="")
                    & Q(test_port__isnull=False, test_port__gte=1, test_port__lte=_LAST_PORT)
                ),
                name="worklist_station_test_address",
                violation_error_message=_("Give both, the address and the port for tests."),
            ),
            models.CheckConstraint(
                condition=(Q(hours_before=None) | Q(hours_before__lte=_MOST_HOURS))
                & (Q(hours_after=None) | Q(hours_after__lte=_MOST_HOURS)),
                name="worklist_station_hours",
            ),
        )
        permissions = (
            ("manage_stations", gettext_noop("Can set up scanners, opening hours and closed days")),
            ("view_querylog", gettext_noop("Can see what scanners asked and were sent")),
        )

    def __str__(self) -> str:
        return f"{self.ae_title} {self.name}".strip()

    def clean(self) -> None:
        super().clean()
        # The two columns are of two tables: what calls under both is the one that it is named.
        others = StationTitle.objects.filter(ae_title=self.ae_title.strip())
        other = others.exclude(station=self.pk).select_related("station").first()
        if other is not None:
            raise ValidationError({"ae_title": other.station.has_title})

    def unique_error_message(
        self, model_class: type[models.Model], unique_check: Sequence[str]
    ) -> ValidationError:
        other = Station.objects.filter(ae_title=self.ae_title).first()
        if tuple(unique_check) == ("ae_title",) and other is not None:
            return ValidationError(other.has_title, code="unique")
        return super().unique_error_message(model_class, unique_check)

    @property
    def has_title(self) -> str:
        """What people are told who give its AE title to another scanner."""
        told = gettext("%(scanner)s already has this AE title.")
        return told % {"scanner": self.friendly_name}

    @property
    def friendly_name(self) -> str:
        """What people call it."""
        return self.name or self.ae_title


class ClosedDay(Versioned):
    """A day on which one scanner, or all of them, do not work."""

    day = models.DateField(_("day"))
    reason = models.CharField(_("reason"), max_length=64, blank=True, default="")
    station = models.ForeignKey(
        Station,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="closed_days",
        verbose_name=_("scanner"),
        help_text=_("none: all scanners"),
    )

    class Meta:
        ordering = ("day", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("day", "station"),
                name="worklist_closedday_once",
                violation_error_message=_("This day is closed already."),
            ),
            # To a database, unknown is never equal to unknown.
            models.UniqueConstraint(
                fields=("day",),
                condition=Q(station=None),
                name="worklist_closedday_once_for_all",
                violation_error_message=_("This day is closed already."),
            ),
        )

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d} {self.reason}".strip()


class ProcedureType(Versioned):
    """One line of the catalogue: what a clerk chooses and what it fills in."""

    code = models.SlugField(max_length=16, unique=True, help_text=_("short name for booking"))
    description = DicomText("RequestedProcedureDescription", blank=False)
    modality = DicomText("Modality", blank=False)
    minutes = models.PositiveSmallIntegerField(
        default=30, validators=(MinValueValidator(1), MaxValueValidator(24 * 60))
    )
    requested_procedure_code = models.ForeignKey(
        Code, models.PROTECT, null=True, blank=True, related_name="+"
    )
    protocol_codes = models.ManyToManyField(
        Code, through="ProcedureTypeCode", related_name="+", blank=True
    )
    default_station = models.ForeignKey(
        Station, models.SET_NULL, null=True, blank=True, related_name="+"
    )
    allowed_stations = models.ManyToManyField(
        Station, blank=True, related_name="+", help_text=_("none: every station of the modality")
    )
    preparation = DicomText("RequestedProcedureComments", verbose_name=_("preparation text"))
    is_active = models.BooleanField(
        _("in use"), default=True, help_text=_("whether it can be booked")
    )
    uses_contrast = models.BooleanField(_("uses a contrast agent"), default=False)
    asks_pregnancy = models.BooleanField(_("asks for pregnancy"), default=False)

    class Meta:
        ordering = ("description", "id")
        permissions = (("manage_catalogue", gettext_noop("Can set up procedures and order sets")),)
        constraints = (
            models.CheckConstraint(
                condition=Q(minutes__gte=1, minutes__lte=24 * 60),
                name="worklist_proceduretype_minutes",
            ),
        )

    def __str__(self) -> str:
        return f"{self.description} ({self.code})"


class ProcedureTypeCode(models.Model):
    """A protocol code of a procedure type, in the order in which scanners receive them."""

    procedure_type = models.ForeignKey(ProcedureType, models.CASCADE)
    code = models.ForeignKey(Code, models.PROTECT)
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(
                fields=("procedure_type", "code"), name="worklist_proceduretypecode_once"
            ),
        )

    def __str__(self) -> str:
        return str(self.code)


class OrderSet(Versioned):
    """One choice that books several procedures, each as a step of its own."""

    code = models.SlugField(_("code"), max_length=16, unique=True)
    name = models.CharField(_("name"), max_length=64)
    is_active = models.BooleanField(_("in use"), default=True)
    procedure_types = models.ManyToManyField(
        ProcedureType, through="OrderSetItem", related_name="order_sets"
    )

    class Meta:
        ordering = ("name", "id")

    def __str__(self) -> str:
        return f"{self.name} ({self.code})"


class OrderSetItem(models.Model):
    """A procedure of an order set, in the order in which it is booked."""

    order_set = models.ForeignKey(OrderSet, models.CASCADE)
    procedure_type = models.ForeignKey(ProcedureType, models.PROTECT)
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(
                fields=("order_set", "procedure_type"), name="worklist_ordersetitem_once"
            ),
        )

    def __str__(self) -> str:
        return str(self.procedure_type)
