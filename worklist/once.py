"""Forms that are carried out once, however often, and however simultaneously, they are sent.

A form that comes again with other contents, by way of the browser's "back", is another one.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.http import QueryDict

from worklist.models import FormSubmission

# What says nothing of what is to be done: which button, what was searched for or proposed by us,
# and whether and why a warning was overruled.
_NO_CONTENT = re.compile(
    r"csrfmiddlewaretoken|form_key|act|accept|why|\w+_query|want_\w+|(\d+-)?filled_\w+"
)


@dataclass(frozen=True)
class Outcome:
    """The address that the form led to, and whether it had been carried out before."""

    address: str
    is_repeated: bool = False


def new_key() -> str:
    """A one-time key for a form that is about to be shown."""
    return str(uuid.uuid4())


def key_of(data: QueryDict) -> uuid.UUID:
    """The key of a form as it was sent: of its one-time key, and of its contents.

    A form that came without a one-time key is like no other.
    """
    try:
        key = uuid.UUID(data.get("form_key", ""))
    except ValueError:
        return uuid.uuid4()
    contents = {
        name: given
        for name in sorted(data)
        if (given := [value for value in data.getlist(name) if value])
        and not _NO_CONTENT.fullmatch(name)
    }
    return uuid.uuid5(key, json.dumps(contents))


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


def free(key: uuid.UUID) -> None:
    """Let the form with this key be carried out again: what it did was taken back."""
    FormSubmission.objects.filter(pk=key).delete()


def old(before: dt.datetime) -> QuerySet[FormSubmission]:
    """The forms that were carried out before this moment."""
    return FormSubmission.objects.filter(at__lt=before)


def forget(before: dt.datetime) -> int:
    """Forget the forms that are old; answer how many."""
    count, _of_each = old(before).delete()
    return count
