"""入金消込: the bank transfers that wait for a decision, with the invoices that they may pay, and the registered payers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, Depends, Query, Request, Response

from skill_batch.board.access import Rights, RightsDep
from skill_batch.board.airflow_api import AirflowApi
from skill_batch.board.archived_files import list_incoming
from skill_batch.board.database import BoardDatabase
from skill_batch.board.rendering import render
from skill_batch.board.statements import SQL as _SQL
from skill_batch.board.store_access import ArchivedFileError
from skill_batch.object_storage import find_upload_store
from include.skillreport.billing.receivables.bank_file import MOST_BYTES
from include.skillreport.billing.receivables.matching import Doubt
from include.skillreport.billing.receivables.transfer import payer_key
from include.skillreport.billing.settings import BillingSettings
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.operation_catalog import IMPORT_PAYMENTS
from include.skillreport.operations.import_payments.form import ConfirmedTransfer

router = APIRouter()

_PAGE = 50
_MOST_LISTED = 20

DOUBTS = {doubt.value: doubt for doubt in Doubt}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class OfferedChoice:
    """A possible assignment of a transfer: ``parts`` are rows of the statement ``transfer_choices``."""

    transfer_id: str
    parts: Sequence[Row]

    @property
    def is_payment(self) -> bool:
        """True if the choice is an already entered payment."""
        return bool(self.parts[0]["is_payment"])

    @property
    def line(self) -> str:
        """The choice as text for the operation's form."""
        numbers = tuple(dict.fromkeys(part["number"] for part in self.parts))
        return ConfirmedTransfer(self.transfer_id, numbers, bool(self.parts[-1]["fee"])).entered()


@dataclass(frozen=True)
class TransferFilters:
    """The filters of the page; empty values do not filter. ``payer``: a part of a tenant's code or name, or of a payer's name."""

    doubt: str = ""
    payer: str = ""
    page: int = 1

    def query(self) -> dict[str, Any]:
        """The filters as query parameters."""
        return {"doubt": self.doubt, "payer": self.payer, "page": self.page}


@dataclass(frozen=True)
class IncomingFiles:
    """The names of the bank files that the next import reads. ``refused``: those that no import reads, with the reason. ``are_read``: a run
    imports them. ``problem``: why there is no list. ``may_upload``: files can be uploaded here.
    """

    names: Sequence[str] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    are_read: bool = True
    problem: str = ""
    may_upload: bool = False


NO_FILES = IncomingFiles()


@dataclass(frozen=True)
class Transfers:
    """The content of the page. ``choices`` are by transfer; ``sums`` by doubt (None: the next run records these)."""

    filters: TransferFilters
    sums: Sequence[Row]
    waiting: Sequence[Row]
    choices: Mapping[str, Sequence[OfferedChoice]]
    set_aside: Sequence[Row]
    payers: Sequence[Row]
    files: Sequence[Row]
    incoming: IncomingFiles

    @property
    def next_page(self) -> TransferFilters | None:
        """The filters of the next page."""
        page = self.filters.page
        more = self.waiting and self.waiting[0]["hits"] > page * _PAGE
        return TransferFilters(self.filters.doubt, self.filters.payer, page + 1) if more else None


def load_transfers(
    connection: psycopg.Connection[Any], filters: TransferFilters, incoming: IncomingFiles = NO_FILES
) -> Transfers:
    """The page."""
    skipped = (filters.page - 1) * _PAGE
    waiting = _SQL.rows(connection, "waiting_transfers", doubt=filters.doubt, most=_PAGE, skipped=skipped)
    parts = _SQL.rows(connection, "transfer_choices", transfer_ids=[row["transfer_id"] for row in waiting])
    choices: dict[str, list[OfferedChoice]] = {}
    for (transfer_id, _), rows in groupby(parts, key=lambda row: (row["transfer_id"], row["choice"])):
        choices.setdefault(transfer_id, []).append(OfferedChoice(transfer_id, list(rows)))
    return Transfers(
        filters,
        _SQL.rows(connection, "waiting_sums"),
        waiting,
        choices,
        _SQL.rows(connection, "set_aside_transfers", most=_MOST_LISTED),
        _SQL.rows(
            connection,
            "known_payers",
            search=filters.payer or None,
            key=payer_key(filters.payer),
            most=_PAGE,
        ),
        _SQL.rows(connection, "bank_files", most=_MOST_LISTED),
        incoming,
    )


def load_incoming() -> IncomingFiles:
    """The files in the folder. Call it without a database connection, because the store may be slow."""
    are_read, may_upload = True, False
    try:
        are_read = BillingSettings.load().imports_payments
        may_upload = find_upload_store() is not None
        found = list_incoming()
    except (SettingsError, ArchivedFileError) as error:
        return IncomingFiles(are_read=are_read, problem=str(error), may_upload=may_upload)
    names = (*found.files, *found.waiting)
    return IncomingFiles(names, found.refused, are_read, may_upload=may_upload)


def _filters(
    doubt: Annotated[str, Query(pattern=f"^({'|'.join(DOUBTS)})?$")] = "",
    payer: Annotated[str, Query(max_length=200)] = "",
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> TransferFilters:
    return TransferFilters(doubt, payer.strip(), page)


@router.get("/transfers")
def transfers_page(
    request: Request, rights: RightsDep, filters: Annotated[TransferFilters, Depends(_filters)]
) -> Response:
    """The page. Only for users who may confirm transfers, because a transfer belongs to no tenant yet."""
    rights.require_start(IMPORT_PAYMENTS.dag_id)
    database: BoardDatabase = request.app.state.database
    incoming = load_incoming()
    with database.read() as connection:
        page = load_transfers(connection, filters, incoming)
    return render_transfers(request, rights, page)


def render_transfers(request: Request, rights: Rights, page: Transfers) -> Response:
    """The page as HTML."""
    return render(
        request,
        rights,
        "transfers.html",
        section="/invoices",
        page=page,
        import_cron=IMPORT_PAYMENTS.cron,
        is_paused=bool(page.incoming.names) and AirflowApi(request).is_paused(IMPORT_PAYMENTS.dag_id),
        doubts=DOUBTS,
        most_megabytes=MOST_BYTES // 10**6,
    )
