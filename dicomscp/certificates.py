"""The certificates of DICOM TLS: whether ours will do, when they end, and which ones were shown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db.models import Max
from django.utils import timezone

from dicomscp.models import Association
from dicomscp.wire import tls
from dicomscp.wire.tls import Clients, FileError, Files, Tls
from worklist.models import Station

# Days before the end from which it is said.
SOON = 30


class SettingsError(Exception):
    """TLS cannot be served as it is set; the text is one sentence that names the setting."""


@dataclass(frozen=True)
class Ending:
    """A certificate of the settings and when it ends; `setting` says which one it is."""

    setting: str
    subject: str
    ends: dt.datetime

    @property
    def days(self) -> int:
        """Whole days that are left; negative when it is over."""
        return (self.ends - timezone.now()) // dt.timedelta(days=1)

    @property
    def is_soon(self) -> bool:
        return self.days < SOON


@dataclass(frozen=True)
class Seen:
    """A certificate that was shown under a station's AE titles, or is bound to it."""

    fingerprint: str
    is_bound: bool
    subject: str = ""
    last: dt.datetime | None = None

    @property
    def groups(self) -> str:
        """The fingerprint as people compare it, in groups of four."""
        digits = self.fingerprint.upper()
        return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


def is_on() -> bool:
    """Whether TLS is served."""
    return bool(settings.DICOM_TLS_PORT)


def endings() -> list[Ending]:
    """The certificates of the settings, the one that ends first before the others.

    What /status/ and healthcheck show. Without TLS there are none. Raises SettingsError.
    """
    if not is_on():
        return []
    own, authorities = Path(settings.DICOM_TLS_CERT), _path(settings.DICOM_TLS_CA)
    try:
        found = [_ending("DICOM_TLS_CERT", tls.read(own))]
        if authorities is not None and _clients() is not Clients.OFF:
            read = tls.read_authorities(authorities)
            found += [_ending("DICOM_TLS_CA", each) for each in read]
    except FileError as error:
        raise _error(error) from None
    return sorted(found, key=lambda each: each.ends)


def days_left() -> int | None:
    """Days until the first of them ends; None without TLS. Raises SettingsError."""
    found = endings()
    return found[0].days if found else None


def server() -> Tls | None:
    """What TLS is served with, as it is set; None: it is off. Raises SettingsError."""
    if not is_on():
        return None
    for name in _needed():
        value = str(getattr(settings, name))
        if not value:
            raise SettingsError(f"{name} is not set, and TLS (DICOM_TLS_PORT) needs it.")
        if value.lstrip().startswith("-----BEGIN"):
            raise SettingsError(f"{name} is to be the path of a file, not what is in it.")
    files = Files(
        Path(settings.DICOM_TLS_CERT), Path(settings.DICOM_TLS_KEY), _path(settings.DICOM_TLS_CA)
    )
    try:
        made = Tls(files, _clients())
        own = tls.read(Path(settings.DICOM_TLS_CERT))
    except FileError as error:
        raise _error(error) from None
    now = timezone.now().timestamp()
    if own.ends <= now:
        raise SettingsError(
            f"DICOM_TLS_CERT {settings.DICOM_TLS_CERT}: the certificate has expired on "
            f"{_instant(own.ends):%Y-%m-%d}; no scanner would accept it."
        )
    if own.begins > now:
        raise SettingsError(
            f"DICOM_TLS_CERT {settings.DICOM_TLS_CERT}: the certificate is not valid before "
            f"{_instant(own.begins):%Y-%m-%d %H:%M} UTC; is the clock right?"
        )
    return made


def _needed() -> Iterator[str]:
    yield from ("DICOM_TLS_CERT", "DICOM_TLS_KEY")
    if _clients() is not Clients.OFF:
        yield "DICOM_TLS_CA"


def _clients() -> Clients:
    try:
        return Clients(settings.DICOM_TLS_CLIENT)
    except ValueError:
        raise SettingsError(
            f"DICOM_TLS_CLIENT is {settings.DICOM_TLS_CLIENT!r}: it is required, optional or off."
        ) from None


def _path(value: str) -> Path | None:
    return Path(value) if value else None


def _error(error: FileError) -> SettingsError:
    for name in ("DICOM_TLS_KEY", "DICOM_TLS_CERT", "DICOM_TLS_CA"):
        if str(error.path) == str(Path(getattr(settings, name))):
            return SettingsError(f"{name} {error.path}: {error}.")
    return SettingsError(f"{error.path}: {error}.")


def _ending(setting: str, certificate: tls.Certificate) -> Ending:
    return Ending(setting, certificate.subject, _instant(certificate.ends))


def _instant(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


# --- of stations ----------------------------------------------------------------------------------


def seen(station: Station) -> list[Seen]:
    """The certificates that are bound to a station, and those shown under its AE titles.

    As long as the journal has them, the last one first. Two statements.
    """
    titles = [station.ae_title, *station.titles.values_list("ae_title", flat=True)]
    rows = (
        Association.objects.filter(calling__in=titles)
        .exclude(certificate="")
        .values("certificate", "certificate_subject")
        .annotate(last=Max("opened"))
        .order_by("-last")
    )
    bound = station.certificates.split()
    shown = [
        Seen(
            row["certificate"],
            row["certificate"] in bound,
            row["certificate_subject"],
            row["last"],
        )
        for row in rows
    ]
    there = {each.fingerprint for each in shown}
    return shown + [Seen(each, is_bound=True) for each in bound if each not in there]
