"""The accountant's files of a month in the object store.

The files of an open month can change. Their names say so: ``accounting/2026-11/journal-2026-11-未確定.csv``. The hand-over writes
``accounting/2026-11/journal-2026-11.csv``, which never changes. One pass over the documents writes all files, and needs the same memory for
any number of documents.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import date
from typing import IO, Any, cast

import psycopg

from include.skillreport.billing.accounting.ageing_file import AGEING_NAME, write_month_end
from include.skillreport.billing.accounting.csv_form import CsvForm, write_forms
from include.skillreport.billing.accounting.detailed_list import detailed_list
from include.skillreport.billing.accounting.freee import freee
from include.skillreport.billing.accounting.journal import journal
from include.skillreport.billing.accounting.moneyforward import moneyforward
from include.skillreport.billing.accounting.stored_entries import entries_of_month
from include.skillreport.billing.periods import Period
from include.skillreport.billing.settings import AccountingSettings
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.execution.proof import HashingWriter

# The first key of the advisory lock, unique among this product's locks. The second key is the month.
_FILES_LOCK = 18_02

# The mark in the names of files that can change.
PROVISIONAL = "-未確定"

_ROOT = "accounting"
_MONTH = re.compile("[0-9]{4}-[0-9]{2}")


@dataclass(frozen=True)
class WrittenFile:
    """A file of a month. ``rows`` excludes the header. ``yen`` is the sum of its receivables. ``sha256`` (hex) and ``bytes`` are those of
    the written content. Reading it back could give another's.
    """

    key: str
    location: str
    sha256: str
    bytes: int
    rows: int
    yen: int

    @property
    def name(self) -> str:
        """``journal-2026-11.csv``."""
        return self.key.rpartition("/")[2]

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def forms_of(settings: AccountingSettings) -> tuple[CsvForm, ...]:
    """All files of a month: the detailed list, the journal, and the imports."""
    return detailed_list(), journal(settings), freee(settings), moneyforward(settings)


def file_key(form: CsvForm, month: date, *, is_final: bool) -> str:
    """``accounting/2026-11/freee-2026-11.csv``; of an open month ``accounting/2026-11/freee-2026-11-未確定.csv``."""
    return f"{_folder(month)}/{form.name}-{month:%Y-%m}{'' if is_final else PROVISIONAL}.csv"


def lock_month(platform: psycopg.Connection, month: date) -> None:
    """Serialise the writers of the month, so that an older file never replaces a newer one."""
    platform.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_FILES_LOCK, month.toordinal()])


def write_files(
    platform: psycopg.Connection,
    month: date,
    settings: AccountingSettings,
    store: ObjectStore,
    *,
    is_final: bool,
) -> list[WrittenFile]:
    """Replace the files of the month, in the caller's transaction. If a document cannot be written, no file changes.

    The final files include the ageing as of the month's end.

    :raises BillingError: a foreign document has no exchange rate.
    """
    forms = forms_of(settings)
    keys = [file_key(form, month, is_final=is_final) for form in forms]
    with ExitStack() as stack:
        streams = [HashingWriter(stack.enter_context(store.writer(key))) for key in keys]
        entries = entries_of_month(platform, month, with_receipts=settings.receipts)
        tallies = write_forms(
            [(form, cast("IO[bytes]", stream)) for form, stream in zip(forms, streams, strict=True)], entries
        )
        if is_final:
            keys.append(_ageing_key(month))
            streams.append(HashingWriter(stack.enter_context(store.writer(keys[-1]))))
            stream = cast("IO[bytes]", streams[-1])
            tallies.append(write_month_end(platform, stream, Period.month_of(month).end))
    return [
        WrittenFile(key, store.location(key), stream.sha256, stream.bytes, tally.rows, tally.yen)
        for key, stream, tally in zip(keys, streams, tallies, strict=True)
    ]


def delete_unrecorded(month: date, forms: tuple[CsvForm, ...], store: ObjectStore) -> None:
    """Delete the final files of an open month. A hand-over was killed before it recorded them."""
    present = set(store.names(_folder(month)))
    for key in (*(file_key(form, month, is_final=True) for form in forms), _ageing_key(month)):
        if key.rpartition("/")[2] in present:
            store.delete(key)


def delete_provisional(last_closed: date, store: ObjectStore, *, is_repair: bool = False) -> None:
    """Delete the provisional files of the closed months, oldest month first. Therefore a repair checks only the last month for files that a
    killed run left.
    """
    if is_repair and not provisional_keys(last_closed, store):
        return
    folders = [
        name for name in store.names(_ROOT) if _MONTH.fullmatch(name) and name <= f"{last_closed:%Y-%m}"
    ]
    for folder in folders:
        for key in provisional_keys(date.fromisoformat(f"{folder}-01"), store):
            store.delete(key)


def provisional_keys(month: date, store: ObjectStore) -> list[str]:
    """The keys of a month's provisional files. ``month`` is any day in it."""
    folder = _folder(month)
    return [f"{folder}/{name}" for name in store.names(folder) if name.endswith(f"{PROVISIONAL}.csv")]


def _ageing_key(month: date) -> str:
    return f"{_folder(month)}/{AGEING_NAME}-{month:%Y-%m}.csv"


def _folder(month: date) -> str:
    return f"{_ROOT}/{month:%Y-%m}"
