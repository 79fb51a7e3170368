"""Transfers from bank files in the database, and the invoices that they may pay. All functions act as ``batch_platform``, because no
tenant owns a transfer.

A file is stored in one transaction. A matching replaces the choices of all open transfers. ``transfer_payments`` turns the automatic
ones into payments, in the context of their tenants.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.receivables.matching import (
    Choice,
    Doubt,
    EnteredPayment,
    KnownPayer,
    Match,
    MatchedPart,
    Matcher,
    OpenTransfer,
    Unpaid,
)
from include.skillreport.billing.receivables.reminder_holds import reminder_holds
from include.skillreport.billing.receivables.transfer import (
    BankFile,
    Transfer,
    account_key,
    code_key,
    identified,
    payer_key,
)
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parents[1])

# The first key of the advisory lock, unique among this product's locks. ``transfer_payments`` takes it in shared mode.
LOCK = 360000

# Older payments are neither compared with today's transfers nor taken back by a bank's cancellation.
_REMEMBERED = timedelta(days=400)


@dataclass(frozen=True)
class FoundTransfer:
    """A stored transfer. ``rest`` is its unassigned part in yen."""

    transfer_id: str
    booked_on: date
    amount: Decimal
    rest: Decimal
    payer_name: str
    payer_key: str
    payer_code: str
    is_cancellation: bool
    is_set_aside: bool
    is_cancelled: bool
    doubt: str | None


@dataclass(frozen=True)
class MatchReport:
    """The result of a matching: the number of automatic payments, and the waiting transfers by doubt."""

    automatic: int
    doubts: Mapping[Doubt, int]
    cancelled: int

    @property
    def waiting(self) -> int:
        """The number of transfers that wait for a user."""
        return sum(self.doubts.values())


def stored_on(platform: psycopg.Connection, sha256: str) -> date | None:
    """The day (Asia/Tokyo) on which a file with this content was stored, or None."""
    return next(iter(_SQL.column(platform, "find_bank_file", sha256=sha256)), None)


def store_file(
    platform: psycopg.Connection,
    name: str,
    sha256: str,
    file: BankFile,
    *,
    virtual_accounts: Collection[str],
    run_on: date,
    entered_by: str,
    execution_id: str,
) -> int:
    """Store a file and its transfers in one transaction. Returns the number of new transfers.

    Payers to ``virtual_accounts`` are identified by the account, not by name. ``run_on`` is the run's day (Asia/Tokyo). A file that is
    already stored changes nothing.
    """
    transfers = identified(file.transfers)
    days = [transfer.booked_on for _, transfer in transfers]
    total = sum((-each.amount if each.is_cancellation else each.amount for _, each in transfers), Decimal(0))
    with platform.transaction():
        _SQL.execute(platform, "lock_transfers", lock=LOCK)
        if stored_on(platform, sha256):
            return 0
        _SQL.execute(
            platform,
            "insert_bank_file",
            sha256=sha256,
            name=name,
            form=file.form,
            transfers=len(transfers),
            first_day=min(days, default=None),
            last_day=max(days, default=None),
            total=total,
            run_on=run_on,
            imported_by=entered_by,
            execution_id=execution_id,
        )
        rows = [
            {
                **asdict(transfer),
                "booked_on": transfer.booked_on.isoformat(),
                "amount": str(transfer.amount),
                **_payer(transfer, virtual_accounts),
                "transfer_id": transfer_id,
            }
            for transfer_id, transfer in transfers
        ]
        return int(_SQL.row(platform, "insert_transfers", sha256=sha256, transfers=Jsonb(rows))[0])


def _payer(transfer: Transfer, virtual_accounts: Collection[str]) -> dict[str, str]:
    if transfer.account in virtual_accounts:
        return {"payer_key": account_key(transfer.account), "payer_code": ""}
    return {"payer_key": payer_key(transfer.payer_name), "payer_code": code_key(transfer.payer_code)}


def match_transfers(
    platform: psycopg.Connection, *, fee_tolerance: int, today: date, failed: Collection[str] = ()
) -> MatchReport:
    """Find the invoices that the open transfers may pay, and replace the choices and the reminders' holds, in one transaction.

    ``today`` is in Asia/Tokyo. ``failed`` are the ids of automatic transfers that could not be recorded. They are shown to users until
    the next run.
    """
    with platform.transaction():
        _SQL.execute(platform, "lock_transfers", lock=LOCK)
        doubts: dict[str, Doubt] = {}
        cancelled = 0
        for transfer_id in _SQL.column(platform, "open_cancellations"):
            if _SQL.rows(platform, "cancel_transfer", cancellation=transfer_id):
                cancelled += 1
            else:
                doubts[transfer_id] = Doubt.NO_ORIGINAL
        since = today - _REMEMBERED
        unpaid = [Unpaid(**row) for row in _SQL.rows(platform, "load_unpaid")]
        payers = [KnownPayer(**row) for row in _SQL.rows(platform, "load_payers")]
        transfers = [OpenTransfer(**row) for row in _SQL.rows(platform, "load_open_transfers")]
        matcher = Matcher(
            unpaid,
            payers,
            (EnteredPayment(**row) for row in _SQL.rows(platform, "load_entered_payments", since=since)),
            fee_tolerance,
        )
        matches = [
            replace(match, doubt=match.doubt or (Doubt.NOT_RECORDED if match.transfer_id in failed else None))
            for match in map(matcher.match, transfers)
        ]
        doubts |= {match.transfer_id: match.doubt for match in matches if match.doubt}
        _SQL.execute(platform, "delete_all_choices")
        rows = [row for match in matches for row in _rows_of(match)]
        rows += _taken_back(_SQL.rows(platform, "payments_of_cancelled"))
        _SQL.execute(platform, "insert_choices", choices=Jsonb(rows))
        matched = [match.transfer_id for match in matches if not match.doubt]
        _SQL.execute(
            platform,
            "write_doubts",
            transfer_ids=[*doubts, *matched],
            doubts=[*doubts.values(), *[None] * len(matched)],
        )
        holds = reminder_holds(transfers, matches, unpaid, payers, fee_tolerance)
        _SQL.execute(platform, "delete_reminder_holds")
        _SQL.execute(
            platform,
            "insert_reminder_holds",
            holds=Jsonb([{**asdict(hold), "held_until": f"{hold.held_until}"} for hold in holds]),
        )
    return MatchReport(len(matched), Counter(doubts.values()), cancelled)


def tenants_to_pay(platform: psycopg.Connection, today: date) -> list[str]:
    """The ids of the tenants to which an import may give a payment, or take one from."""
    return _SQL.column(platform, "paid_tenants", since=today - _REMEMBERED)


def find_transfers(platform: psycopg.Connection, transfer_ids: Iterable[str]) -> dict[str, FoundTransfer]:
    """The transfers with these ids."""
    rows = _SQL.rows(platform, "find_transfers", transfer_ids=list(transfer_ids))
    return {row["transfer_id"]: FoundTransfer(**row) for row in rows}


def load_choices(platform: psycopg.Connection, transfer_ids: Iterable[str]) -> dict[str, list[Choice]]:
    """The choices of these transfers from the last matching."""
    choices: dict[str, dict[int, list[MatchedPart]]] = {}
    for row in _SQL.rows(platform, "load_choices", transfer_ids=list(transfer_ids)):
        part = MatchedPart(row["tenant_id"], row["number"], row["amount"], row["fee"], row["payment_id"])
        choices.setdefault(row["transfer_id"], {}).setdefault(row["choice"], []).append(part)
    return {each: [tuple(parts) for parts in of_each.values()] for each, of_each in choices.items()}


def unrecorded_transfers(platform: psycopg.Connection, execution_id: str) -> set[str]:
    """The ids of the automatic transfers whose tenant failed in a run."""
    return set(_SQL.column(platform, "unrecorded", execution_id=execution_id))


def set_aside(
    platform: psycopg.Connection, transfer_ids: Collection[str], reason: str, person: str
) -> list[str]:
    """Set aside the rest of transfers that are no customer's payment. Returns the ids that are not set aside now."""
    _SQL.execute(platform, "set_aside", transfer_ids=list(transfer_ids), reason=reason, person=person)
    found = find_transfers(platform, transfer_ids)
    return [each for each in transfer_ids if each not in found or not found[each].is_set_aside]


def reopen(platform: psycopg.Connection, transfer_ids: Collection[str]) -> list[str]:
    """Undo ``set_aside``. Returns the ids without a transfer."""
    _SQL.execute(platform, "reopen", transfer_ids=list(transfer_ids))
    found = find_transfers(platform, transfer_ids)
    return [each for each in transfer_ids if each not in found]


def remember_payers(
    platform: psycopg.Connection, transfer_ids: Collection[str], *, person: str, execution_id: str
) -> None:
    """Register the payers of transfers that this user's run turned into payments, for the tenants with these payments."""
    _SQL.execute(
        platform,
        "remember_payers",
        transfer_ids=list(transfer_ids),
        person=person,
        execution_id=execution_id,
    )


def forget_payers(platform: psycopg.Connection, payer_ids: Collection[str]) -> None:
    """Delete registered payers."""
    _SQL.execute(platform, "forget_payers", payer_ids=list(payer_ids))


def waiting_transfers(platform: psycopg.Connection) -> dict[Doubt, int]:
    """The numbers of transfers that wait for a user, by doubt."""
    return {Doubt(row["doubt"]): row["transfers"] for row in _SQL.rows(platform, "count_doubts")}


def _rows_of(match: Match) -> Iterable[dict[str, Any]]:
    for number, choice in enumerate(match.choices, start=1):
        for position, part in enumerate(choice, start=1):
            yield {
                "transfer_id": match.transfer_id,
                "choice": number,
                "part": position,
                "is_automatic": match.doubt is None,
                **asdict(part),
                "amount": str(part.amount),
                "fee": str(part.fee),
            }


def _taken_back(payments: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    parts: Counter[str] = Counter()
    rows = []
    for payment in payments:
        parts[payment["transfer_id"]] += 1
        part = {"choice": 1, "part": parts[payment["transfer_id"]], "fee": "0", "is_automatic": True}
        rows.append({**payment, **part, "amount": str(payment["amount"])})
    return rows


@contextmanager
def transfers_refused() -> Iterator[None]:
    """Translate the trigger's error. :raises BillingError: the transfer was used, cancelled or set aside meanwhile."""
    try:
        yield
    except psycopg.errors.CheckViolation as error:
        if error.diag.constraint_name != "settle_transfer":
            raise
        advice = "ボードの「入金消込」で確かめてください"
        raise BillingError("TRANSFER_TAKEN", f"{error.diag.message_primary}。{advice}") from error
