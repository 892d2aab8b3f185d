"""Who may call: the verdict on an association request, and on each query of one that stays open.

As DICOM_ACCESS says: `any` lets every caller in. `known` (the default) lets in the AE titles of the
stations that are set up and may ask, from their addresses; as long as no station is set up at all,
nobody can be told from anybody, and every caller is let in. So is, in set-up mode, one that is not
set up or calls from elsewhere. A station to which certificates are bound calls with one of them, by
TLS, and they are nobody else's. Verification alone is anybody's.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from dicomscp import stations
from dicomscp.models import SetUpMode
from dicomscp.stations import Known
from worklist.audit import trail
from worklist.audit.trail import Actor
from worklist.models import Station
from worklist.models.stations import read_networks


class Reason(enum.StrEnum):
    """Why a caller is let in, or is not."""

    KNOWN = "known"
    VERIFICATION = "verification"
    ANY = "any"
    NO_STATION = "no-station"
    SET_UP_MODE = "set-up-mode"
    # The database could not be asked: its queries are told so, and decided when it is back.
    UNDECIDED = "undecided"
    STRANGER = "stranger"
    ADDRESS = "address"
    SWITCHED_OFF = "switched-off"
    CERTIFICATE = "certificate"
    CALLED = "called"
    # Decided by the library, when too many associations are open.
    FULL = "full"
    # Decided before there was an association: the names are those of wire.tls.Fault.
    SILENT = "silent"
    NOT_TLS = "not-tls"
    NOTHING_IN_COMMON = "nothing-common"
    NO_CERTIFICATE = "no-certificate"
    EXPIRED = "cert-expired"
    NOT_YET_VALID = "cert-not-yet"
    UNTRUSTED = "cert-untrusted"
    DISTRUSTS_US = "distrusts-us"
    TLS_WHERE_NONE_IS = "tls-on-plain"
    TLS_FAILED = "tls-failed"

    @property
    def words(self) -> str:
        return {
            Reason.KNOWN: _("it is set up"),
            Reason.VERIFICATION: _("it asked for Verification (C-ECHO) alone"),
            Reason.ANY: _("every caller is let in (DICOM_ACCESS)"),
            Reason.NO_STATION: _("no scanner was set up yet"),
            Reason.SET_UP_MODE: _("set-up mode was on"),
            Reason.UNDECIDED: _("the database was unavailable"),
            Reason.STRANGER: _("its AE title is not set up"),
            Reason.ADDRESS: _("it called from an address that is not the scanner's"),
            Reason.SWITCHED_OFF: _("the scanner is set up, and may not ask"),
            Reason.CERTIFICATE: _("it did not show a certificate that is this scanner's"),
            Reason.CALLED: _("it called us by another AE title than ours"),
            Reason.FULL: _("too many associations were open"),
            Reason.SILENT: _("it did not finish the TLS handshake in time"),
            Reason.NOT_TLS: _("it spoke without TLS on the port that wants TLS"),
            Reason.NOTHING_IN_COMMON: _("it offered no TLS version or cipher that is allowed here"),
            Reason.NO_CERTIFICATE: _("it showed no certificate, and one is required (TLS)"),
            Reason.EXPIRED: _("its certificate has expired (TLS)"),
            Reason.NOT_YET_VALID: _(
                "its certificate is not valid yet (TLS): are the clocks right?"
            ),
            Reason.UNTRUSTED: _("its certificate is from an authority that is not trusted (TLS)"),
            Reason.DISTRUSTS_US: _("it does not trust the certificate of this server (TLS)"),
            Reason.TLS_WHERE_NONE_IS: _("it spoke TLS on the port that is without"),
            Reason.TLS_FAILED: _("the TLS handshake failed"),
        }[self]


# PS3.8 9.3.4, of each reason to refuse: result, source and diagnostic of an A-ASSOCIATE-RJ.
_CALLING_NOT_RECOGNISED = (1, 1, 3)
_CALLED_NOT_RECOGNISED = (1, 1, 7)
_LIMIT_EXCEEDED = (2, 3, 2)
_REJECTIONS = {
    Reason.STRANGER: _CALLING_NOT_RECOGNISED,
    Reason.ADDRESS: _CALLING_NOT_RECOGNISED,
    Reason.CERTIFICATE: _CALLING_NOT_RECOGNISED,
    Reason.SWITCHED_OFF: _CALLING_NOT_RECOGNISED,
    Reason.CALLED: _CALLED_NOT_RECOGNISED,
    Reason.FULL: _LIMIT_EXCEEDED,
}


# Why a connection ended before there was an association.
OF_TLS = frozenset(
    {
        Reason.SILENT,
        Reason.NOT_TLS,
        Reason.NOTHING_IN_COMMON,
        Reason.NO_CERTIFICATE,
        Reason.EXPIRED,
        Reason.NOT_YET_VALID,
        Reason.UNTRUSTED,
        Reason.DISTRUSTS_US,
        Reason.TLS_WHERE_NONE_IS,
        Reason.TLS_FAILED,
    }
)


# Which station calls under an AE title.
Look = Callable[[str], Known | None]


@dataclass(frozen=True)
class Call:
    """An association request: who asks, from where, and by which AE title for which of ours."""

    calling: str
    address: str
    called: str = ""
    our_title: str = ""
    # Verification is all that it asks for.
    is_echo: bool = False
    # The fingerprint of the certificate that it showed (TLS); "": it showed none.
    certificate: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether a call is answered, and why; `station` is the one that calls, if it was looked up."""

    reason: Reason
    station: Known | None = None

    @property
    def is_accepted(self) -> bool:
        return self.reason not in _REJECTIONS and self.reason not in OF_TLS

    @property
    def rejection(self) -> tuple[int, int, int] | None:
        """Result, source and diagnostic to reject it with."""
        return _REJECTIONS.get(self.reason)


def at_once(call: Call) -> Verdict | None:
    """The verdict on an association that needs no look into the database; None: it does."""
    if settings.DICOM_CHECK_CALLED_AE_TITLE and call.called != call.our_title:
        return Verdict(Reason.CALLED)
    if call.is_echo:
        return Verdict(Reason.VERIFICATION)
    return Verdict(Reason.ANY) if lets_anybody_in() else None


def on_request(call: Call, look: Look = stations.known) -> Verdict:
    """Whether an association is accepted; `look` says which station it is that calls."""
    return at_once(call) or _of_caller(call, look(call.calling))


def on_query(call: Call, look: Look = stations.known) -> Verdict:
    """Whether a query is answered, and by the rules of which station: it may have changed since."""
    station = look(call.calling)
    if lets_anybody_in():
        return Verdict(Reason.ANY, station)
    return _of_caller(call, station)


def lets_anybody_in() -> bool:
    return str(settings.DICOM_ACCESS) == "any"


def _of_caller(call: Call, station: Known | None) -> Verdict:
    if station is not None:
        reason = keeps_out(call, station)
        # Set-up mode is no way round it: who binds a certificate wants no one else let in.
        if reason is None and _is_of_another(call.certificate, station):
            reason = Reason.CERTIFICATE
        if reason is None:
            return Verdict(Reason.KNOWN, station)
        if reason is not Reason.ADDRESS:
            return Verdict(reason, station)
    elif not Station.objects.exists():
        return Verdict(Reason.NO_STATION)
    if set_up_mode():
        return Verdict(Reason.SET_UP_MODE, station)
    return Verdict(Reason.ADDRESS if station else Reason.STRANGER, station)


def keeps_out(call: Call, station: Known) -> Reason | None:
    """Why what is set of a station keeps this call of its own out; set-up mode forgives ADDRESS."""
    if not station.is_allowed:
        return Reason.SWITCHED_OFF
    if station.certificates and call.certificate not in station.certificates:
        return Reason.CERTIFICATE
    return None if _is_within(call.address, station.networks) else Reason.ADDRESS


def _is_of_another(certificate: str, station: Known) -> bool:
    """Whether the certificate is bound to another scanner: it speaks for no one else."""
    if not certificate or station.certificates:
        return False
    return Station.objects.filter(certificates__contains=certificate).exists()


def _is_within(address: str, networks: str) -> bool:
    if not networks:
        return True
    try:
        found = ipaddress.ip_address(plain_address(address))
    except ValueError:
        return False
    return any(found in network for network in read_networks(networks))


@lru_cache(maxsize=1024)
def plain_address(address: str) -> str:
    """An address as people set it up: without its interface, and of IPv4 what came by IPv4."""
    # The address of a link names its interface: fe80::1%eth0.
    plain = address.partition("%")[0]
    try:
        # What comes by IPv4 to a socket of IPv6 is the same machine.
        mapped = getattr(ipaddress.ip_address(plain), "ipv4_mapped", None)
    except ValueError:
        return plain
    return str(mapped or plain)


# --- set-up mode ----------------------------------------------------------------------------------


def set_up_mode() -> SetUpMode | None:
    """The set-up mode that is on now."""
    return SetUpMode.objects.filter(ends__gt=timezone.now()).first()


def let_anybody_in(*, by: Actor) -> SetUpMode:
    """Switch set-up mode on for a day from now, or for a day more."""
    with transaction.atomic():
        mode = set_up_mode() or SetUpMode()
        mode.ends = timezone.now() + SetUpMode.LASTS
        trail.save(mode, by=by)
    return mode


def end_set_up_mode(*, by: Actor) -> None:
    """Switch set-up mode off now."""
    with transaction.atomic():
        for mode in SetUpMode.objects.filter(ends__gt=timezone.now()):
            mode.ends = timezone.now()
            trail.save(mode, by=by)
