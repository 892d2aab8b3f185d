"""What is stored of a station's rules: who may call for it, and what it is shown.

The rows here are parts of a Station. What the rules do is decided where stations are answered.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from worklist import attributes
from worklist.models.fields import DicomText

# RFC 4291 2.5.5.2: so many bits stand before an address of IPv4 that is mapped to IPv6.
_MAPPED = 96
# What the database can bind in one statement, with room to spare.
MOST_MATCHES = 30_000


class Sees(models.TextChoices):
    """Which steps a station is shown, whatever it asks for."""

    ALL = "ALL", _("every exam")
    MODALITY = "MODALITY", _("all exams of its modality")
    OWN_AND_UNASSIGNED = "OWN_AND_UNASSIGNED", _("its own exams, and those that name no scanner")
    OWN = "OWN", _("its own exams")


def read_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks of "10.1.2.0/24, 10.1.2.31"; a lone address is a network of one.

    Raises ValidationError for what is none, and for an address that has bits of a host in it.
    """
    networks = []
    for part in filter(None, (part.strip() for part in text.replace(";", ",").split(","))):
        try:
            networks.append(_plain(ip_network(part)))
        except ValueError:
            raise ValidationError(
                gettext(
                    "“%(text)s” is neither an address nor a network: write 10.1.2.31 or "
                    "10.1.2.0/24, with a comma between several."
                ),
                params={"text": part},
            ) from None
    return tuple(networks)


def _plain(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """A network of IPv4 addresses as IPv6 maps them: as IPv4, which is how callers are told."""
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < _MAPPED:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED))


class Networks(models.CharField):
    """Addresses and networks, spelled alike; "" is anywhere."""

    def clean(self, value: str, model_instance: models.Model | None) -> str:
        networks = read_networks(value or "")
        spelled = ", ".join(
            str(each.network_address) if each.num_addresses == 1 else str(each) for each in networks
        )
        return super().clean(spelled, model_instance)


_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?", re.IGNORECASE)


class Host(models.CharField):
    """The name or address of a machine, and nothing else: no port, no scheme, no user."""

    def clean(self, value: str, model_instance: models.Model | None) -> str:
        host = (value or "").strip()
        if host and not _is_host(host):
            raise ValidationError(
                gettext("“%(text)s” is neither a name nor an address: write ct1 or 10.1.2.31."),
                params={"text": host},
            )
        return super().clean(host, model_instance)


def _is_host(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        # What consists of digits and is no address would be read as one all the same.
        return _HOST.fullmatch(text) is not None and not text.replace(".", "").isdigit()
    return True


class Fingerprints(models.CharField):
    """SHA-256 fingerprints with a space between, in hexadecimal, as they may be typed or pasted."""

    def clean(self, value: str, model_instance: models.Model | None) -> str:
        # What openssl writes before it.
        bare = re.sub(r"sha-?256 fingerprint\s*=", " ", value or "", flags=re.IGNORECASE)
        found = [_fingerprint(part) for part in re.split(r"[\s,;]+", bare) if part]
        return super().clean(" ".join(dict.fromkeys(found)), model_instance)


class Keywords(models.CharField):
    """Keywords of the table's attributes with a space between, outside of sequences of codes."""

    def clean(self, value: str, model_instance: models.Model | None) -> str:
        found = sorted(set((value or "").split()))
        step = attributes.find("ScheduledProcedureStepSequence")
        known = {each.keyword for each in (*attributes.TABLE, *step.items)}
        for keyword in found:
            if keyword not in known:
                raise ValidationError(
                    gettext("“%(text)s” is no attribute of a worklist."), params={"text": keyword}
                )
        return super().clean(" ".join(found), model_instance)


def _fingerprint(text: str) -> str:
    digits = text.replace(":", "").lower()
    if not re.fullmatch("[0-9a-f]{64}", digits):
        raise ValidationError(
            gettext(
                "“%(text)s” is not a SHA-256 fingerprint: 64 hexadecimal digits, as “openssl x509 "
                "-fingerprint -sha256” prints them."
            ),
            params={"text": text},
        )
    return digits


class StationTitle(models.Model):
    """A further AE title under which a station calls, or is named in what it asks."""

    station = models.ForeignKey("worklist.Station", models.CASCADE, related_name="titles")
    ae_title = DicomText("ScheduledStationAETitle", single=True, blank=False)

    class Meta:
        ordering = ("ae_title",)
        verbose_name_plural = _("further AE titles")
        constraints = (
            models.UniqueConstraint(
                fields=("ae_title",),
                name="worklist_stationtitle_once",
                violation_error_message=_("Another scanner has this AE title."),
            ),
            models.CheckConstraint(
                condition=~Q(ae_title=""), name="worklist_stationtitle_is_given"
            ),
        )

    def __str__(self) -> str:
        return self.ae_title


class ModalityAlias(models.Model):
    """A modality that counts as the one that a station asks for: CR asks, DX is held."""

    station = models.ForeignKey("worklist.Station", models.CASCADE, related_name="modality_aliases")
    asked = DicomText("Modality", blank=False)
    held = DicomText("Modality", blank=False)

    class Meta:
        ordering = ("asked", "held")
        verbose_name_plural = _("modalities that count as another")
        constraints = (
            models.UniqueConstraint(
                fields=("station", "asked", "held"), name="worklist_modalityalias_once"
            ),
            models.CheckConstraint(
                condition=~Q(asked="") & ~Q(held="") & ~Q(asked=F("held")),
                name="worklist_modalityalias_is_another",
                violation_error_message=_("These are two modalities."),
            ),
        )

    def __str__(self) -> str:
        return f"{self.asked}={self.held}"


class ShownStatus(models.Model):
    """A status whose steps a station is shown; without any, those that are usual."""

    station = models.ForeignKey("worklist.Station", models.CASCADE, related_name="shown_statuses")
    status = DicomText("ScheduledProcedureStepStatus", blank=False)

    class Meta:
        ordering = ("status",)
        verbose_name_plural = _("statuses shown")
        constraints = (
            models.UniqueConstraint(fields=("station", "status"), name="worklist_shownstatus_once"),
            models.CheckConstraint(condition=~Q(status=""), name="worklist_shownstatus_is_given"),
        )

    def __str__(self) -> str:
        return self.status
