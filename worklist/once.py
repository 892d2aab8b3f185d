"""Forms that are carried out once, however often, and however simultaneously, they are sent."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from django.db import IntegrityError, transaction

from worklist.models import FormSubmission


@dataclass(frozen=True)
class Outcome:
    """The address that the form led to, and whether it had been carried out before."""

    address: str
    is_repeated: bool = False


def new_key() -> str:
    """A one-time key for a form that is about to be shown."""
    return str(uuid.uuid4())


def carried_out(key: uuid.UUID) -> str | None:
    """The address that the form with this key has led to; None when it was not carried out."""
    first = FormSubmission.objects.filter(pk=key).first()
    return first.address if first else None


def carry_out(key: uuid.UUID, work: Callable[[], str]) -> Outcome:
    """Do the work of the form with this key, in a transaction, and answer the address it names.

    Who sends the form again gets the address of the first time. Who sends it at the same moment
    waits for the first to end: the key is its primary key. When the work raises, the key is free.
    """
    try:
        with transaction.atomic():
            with transaction.atomic():
                FormSubmission.objects.create(key=key, address="")
            address = work()
            FormSubmission.objects.filter(pk=key).update(address=address)
            return Outcome(address)
    except IntegrityError:
        first = carried_out(key)
        if first is None:  # it was the work's own
            raise
        return Outcome(first, is_repeated=True)
