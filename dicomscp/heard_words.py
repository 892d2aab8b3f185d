"""A call that was heard in words: what would help, as far as it follows from the call."""

from __future__ import annotations

from django.conf import settings
from django.utils.translation import gettext as _

from dicomscp.access import Reason
from dicomscp.listening import Heard, Who
from dicomscp.models import Association
from worklist.models import Station

# As the journal writes it in English: the name of the SOP class.
_WORKLIST = "Modality Worklist"


def advice(call: Heard, station: Station) -> str:
    """What to do next, or to ask the service engineer for; "" when there is nothing to say."""
    told = _of_title(call, station)
    if told:
        return told % {"seen": call.association.calling, "set": station.ae_title}
    return what_helps(call.association, call.reason) or _of_service(call)


def what_helps(said: Association, reason: Reason) -> str:
    """What to do about a call that was answered for this reason; "" when nothing can be said."""
    return _of_reason(said, reason) % {
        "called": said.called,
        "ours": settings.AE_TITLE.strip(),
        "port": settings.DICOM_PUBLIC_PORT,
        "tls_port": settings.DICOM_TLS_PORT,
    }


def _of_title(call: Heard, station: Station) -> str:
    if call.who is Who.OWN or not call.association.calling:
        return ""
    if not call.can_take_title:
        return _("This AE title is another scanner's: at the console it must be %(set)s.")
    if call.who is Who.NEAR:
        return _(
            "It calls itself %(seen)s, and %(set)s is set: capital and small letters, hyphens and "
            "underscores count."
        )
    if call.who is Who.HERE:
        return _("It calls from the scanner's address as %(seen)s, and %(set)s is set.")
    return _("Nobody with this AE title is set up. Is it this scanner?")


def _of_reason(said: Association, reason: Reason) -> str:
    has_tls = bool(settings.DICOM_TLS_PORT)
    shown = (
        _("It showed a certificate that is not trusted for it.")
        if said.certificate
        else _("It called without a certificate: it has to call by TLS, with its own.")
    )
    plain = (
        _("Set the console to port %(tls_port)s for TLS, or switch its TLS off.")
        if has_tls
        else _("TLS is not served here: switch it off at the console.")
    )
    return {
        Reason.CALLED: _("At the console, our AE title must be %(ours)s: it called %(called)s."),
        Reason.VERIFICATION: _("The connection works. Now let the console ask for its worklist."),
        Reason.SWITCHED_OFF: _("Tick “May ask” on the scanner's page."),
        Reason.CERTIFICATE: shown,
        Reason.FULL: _("Let it try again in a minute."),
        Reason.NOT_TLS: _(
            "Port %(tls_port)s wants TLS: switch it on at the console, or use port %(port)s."
        ),
        Reason.TLS_WHERE_NONE_IS: plain,
        Reason.NO_CERTIFICATE: _("Give the scanner a certificate, as your site's TLS wants it."),
        Reason.UNTRUSTED: _("Whoever issued it has to be added to the server's DICOM_TLS_CA."),
        Reason.DISTRUSTS_US: _(
            "At the console, the authority of this server's certificate has to be added."
        ),
    }.get(reason, "")


def _of_service(call: Heard) -> str:
    said = call.association
    if not said.is_accepted or call.count:
        return ""
    if _WORKLIST not in said.contexts:
        return _(
            "It did not ask for the worklist service: it may have to be switched on, or licensed, "
            "at the console."
        )
    if said.ended:
        return _("It was let in, and asked for nothing.")
    return ""
