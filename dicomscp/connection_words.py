"""A trial of a peer in words: what came of each step, and what would help."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from django.utils.translation import gettext as _

from dicomscp.trial import STEPS, Trial, Verdict
from dicomscp.wire.tls import Fault


class Came(enum.StrEnum):
    """What came of a step."""

    WELL = "well"
    BADLY = "badly"
    # It went otherwise than asked for, and that need not be a fault.
    FINE = "fine"
    NOT_TRIED = "not-tried"


@dataclass(frozen=True)
class Step:
    """A step of a trial as people read it."""

    came: Came
    name: str
    text: str


@dataclass(frozen=True)
class Told:
    """A trial as people read it; `advice` is what would help, empty when nothing is wrong."""

    steps: tuple[Step, ...]
    summary: str
    advice: str


def tell(trial: Trial) -> Told:
    """The trial in the language of now."""
    names = (_("Connection"), _("Association"), _("C-ECHO"))
    good = (
        _("%(host)s answers on port %(port)s (%(ms)s ms)."),
        _("It accepts an association of %(calling)s with %(called)s (%(ms)s ms)."),
        _("It answers C-ECHO (%(ms)s ms)."),
    )
    steps = [
        Step(Came.WELL, names[number], good[number] % _values(trial, number))
        for number in range(trial.done)
    ]
    advice = ""
    if trial.verdict is not Verdict.GOOD:
        text, advice = (each % _values(trial, trial.done) for each in _words(trial))
        is_fine = trial.verdict is Verdict.NO_VERIFICATION
        steps.append(Step(Came.FINE if is_fine else Came.BADLY, names[trial.done], text))
    for number in range(len(steps), STEPS):
        steps.append(Step(Came.NOT_TRIED, names[number], _("Not tried.")))
    return Told(tuple(steps), _summary(trial), advice)


def _values(trial: Trial, step: int) -> dict[str, object]:
    took = trial.milliseconds[step] if step < len(trial.milliseconds) else 0
    return {
        "host": trial.host,
        "port": trial.port,
        "calling": trial.calling,
        "called": trial.called,
        "detail": trial.detail,
        "ms": took,
        "seconds": round(took / 1000, 1),
    }


def _summary(trial: Trial) -> str:
    if trial.verdict is Verdict.GOOD:
        return _("The connection works.")
    if trial.verdict is Verdict.NO_VERIFICATION:
        return _("The connection works as far as it could be tried.")
    return _("The connection does not work.")


def _words(trial: Trial) -> tuple[str, str]:
    """What happened, and what would help; with placeholders."""
    if trial.verdict is Verdict.REJECTED:
        return _of_rejection(trial)
    if trial.verdict is Verdict.TLS_FAILED:
        return _of_tls(trial)
    return {
        Verdict.UNKNOWN_HOST: (
            _("No address is known for the name %(host)s."),
            _("Look whether the name is spelled rightly, or store the address itself."),
        ),
        Verdict.REFUSED: (
            _("%(host)s is there, and refuses connections to port %(port)s."),
            _(
                "Look whether the port is the right one, and whether DICOM is switched on at the "
                "scanner: many listen only while their application runs."
            ),
        ),
        Verdict.NO_CONNECTION: (
            _("%(host)s did not answer on port %(port)s within %(seconds)s s."),
            _(
                "Is it switched on, and is the address right? A firewall in between often shows "
                "like this, too."
            ),
        ),
        Verdict.UNREACHABLE: (
            _("%(host)s cannot be reached from here: %(detail)s."),
            _("Look at the address, and at the network between this server and the scanner."),
        ),
        Verdict.CANNOT_CALL: (
            _("It cannot be called under these names: %(detail)s."),
            _("Look at the AE titles."),
        ),
        Verdict.SILENT: (
            _("It took the connection and said nothing for %(seconds)s s."),
            _(
                "Something else may listen on this port, or the scanner wants TLS or is busy. "
                "Try again, then ask the service engineer for the DICOM port."
            ),
        ),
        Verdict.HUNG_UP: (
            _("It took the connection and closed it without a DICOM answer."),
            _(
                "Is this the DICOM port? Some scanners also hang up on those whose address or AE "
                "title they do not know: %(calling)s must be set up there."
            ),
        ),
        Verdict.ABORTED: (
            _("It aborted the association without a reason."),
            _(
                "Ask the service engineer whether our AE title %(calling)s is set up there, with "
                "this server's address."
            ),
        ),
        Verdict.NO_VERIFICATION: (
            _("It is connected, and does not offer C-ECHO."),
            _("That is fine for a scanner: many do not answer echoes."),
        ),
        Verdict.ECHO_UNANSWERED: (
            _("It accepted the association, and did not answer C-ECHO."),
            _("Try again; if it stays like this, ask the service engineer."),
        ),
        Verdict.ECHO_FAILED: (
            _("It answered C-ECHO with the status %(detail)s."),
            _("Ask the service engineer what the status means."),
        ),
    }[trial.verdict]


# PS3.8 9.3.4: source and diagnostic of an A-ASSOCIATE-RJ.
_CALLING_NOT_RECOGNISED, _CALLED_NOT_RECOGNISED = (1, 3), (1, 7)
_BUSY = ((3, 1), (3, 2))


def _of_rejection(trial: Trial) -> tuple[str, str]:
    if trial.rejection == _CALLED_NOT_RECOGNISED:
        return (
            _("It refused us: “Called AE title not recognised”."),
            _(
                "Its AE title is not %(called)s, or it does not know our title %(calling)s. Ask "
                "the service engineer for the exact AE title: capital and small letters count."
            ),
        )
    if trial.rejection == _CALLING_NOT_RECOGNISED:
        return (
            _("It refused us: “Calling AE title not recognised”."),
            _("It does not know our AE title %(calling)s: it has to be entered there."),
        )
    if trial.rejection in _BUSY:
        return (
            _("It refused us, since it has too many associations: “%(detail)s”."),
            _("Try again in a minute."),
        )
    return (
        _("It refused us: “%(detail)s”."),
        _("Ask the service engineer whether our AE title %(calling)s is set up there."),
    )


def _of_tls(trial: Trial) -> tuple[str, str]:
    said = _("%(host)s answers on port %(port)s, and no TLS came of it.")
    advice: dict[Fault, str] = {
        Fault.NOT_TLS: _("It speaks no TLS on this port."),
        Fault.SILENT: _("It did not finish the handshake in time: it may speak no TLS."),
        Fault.GONE: _("It hung up in the handshake: it may speak no TLS on this port."),
        Fault.EXPIRED: _("Its certificate has expired."),
        Fault.NOT_YET_VALID: _("Its certificate is not valid yet: are the clocks right?"),
        Fault.UNTRUSTED: _("Its certificate is from an authority that is not trusted here."),
        Fault.OTHER_NAME: _("Its certificate is not for the name %(host)s."),
        Fault.DISTRUSTS_US: _("It does not trust our certificate."),
        Fault.NO_CERTIFICATE: _("It wants a certificate of ours."),
        Fault.NOTHING_IN_COMMON: _("It offers no TLS version or cipher that is allowed here."),
    }
    return said, advice.get(trial.fault or Fault.FAILED, _("The handshake failed: %(detail)s."))
