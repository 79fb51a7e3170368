"""What an invoice permits, against the database: random states of two people's work, and each act tried in a savepoint."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from include.skillreport.billing.documents.corrected_invoice import CorrectedTexts
from include.skillreport.billing.documents.credit_note import CreditedPart
from include.skillreport.billing.errors import BillingError
from include.skillreport.billing.ledger import adjustments, correction
from include.skillreport.billing.ledger.entries import EntryAuthor
from include.skillreport.billing.ledger.recoveries import AdjustmentAuthor
from include.skillreport.billing.ledger.revisions import correct_invoice
from include.skillreport.billing.ledger.stored_invoice import StoredInvoice, find_by_id
from include.skillreport.billing.receivables.adjustment import AdjustmentKind
from include.skillreport.billing.service import Billing
from include.skillreport.billing.state import _RULES, Act, InvoiceState, refusal
from include.skillreport.billing.terms import Terms
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.execution.object_store import ObjectStore
from tests.conftest import Database
from tests.worlds.office import TENANTS, Office

DAY = date(2027, 3, 31)
ENTRY = AdjustmentAuthor(DAY, "記録", "佐藤", "another run")

Try = Callable[[psycopg.Connection, Terms, StoredInvoice], object]


def _take_back(connection: psycopg.Connection, stored: StoredInvoice) -> object:
    kind = AdjustmentKind.FEE if stored.state.fee_total else AdjustmentKind.WRITE_OFF
    return adjustments.take_back(connection, stored, kind, ENTRY, today=DAY)


# Each act with values that no rule about values refuses.
TRIES: Mapping[Act, Try] = {
    Act.VOID: lambda connection, terms, stored: correction.void_invoice(
        connection, terms, stored, "誤り", actor="another run"
    ),
    Act.CREDIT: lambda connection, terms, stored: correction.credit_invoice(
        connection, terms, stored, "誤り", EntryAuthor("佐藤", "another run", DAY)
    ),
    Act.PART_CREDIT: lambda connection, terms, stored: correction.credit_invoice(
        connection,
        terms,
        stored,
        "誤り",
        EntryAuthor("佐藤", "another run", DAY),
        parts=[CreditedPart(1, amount=Decimal(1))],
    ),
    Act.CORRECT: lambda connection, terms, stored: correct_invoice(
        connection,
        terms,
        stored,
        CorrectedTexts(note="別の注文番号", due_on=date(2027, 12, 31)),
        "備考",
        corrected_on=DAY,
        entered_by="佐藤",
        execution_id="another run",
    ),
    Act.FEE_DIFFERENCE: lambda connection, terms, stored: adjustments.record_fee(
        connection, terms, stored, Decimal(1), ENTRY, today=DAY
    ),
    Act.WRITE_OFF: lambda connection, _, stored: adjustments.record_write_off(
        connection, stored, None, ENTRY, today=DAY
    ),
    Act.TAKE_BACK_ADJUSTMENT: lambda connection, _, stored: _take_back(connection, stored),
}
# No act beside these is tried, each with the reason.
UNTRIED = {
    Act.REISSUE: "its rules are those of VOID, before the same statement",
    Act.RECORD_REFUND: "the amount decides; the ledger's own tests try it",
    Act.STOP_LETTER: "no money changes",
    Act.SEND_LETTER: "test_waiting_corrections.py tries the guard of the database",
}
# What the database and the functions refuse for other reasons than the state: of the values, and of what others have entered.
_OF_VALUES = {
    "NOTHING_CHANGED",
    "SAME_CREDIT_ENTERED",
    "CREDIT_TOO_LARGE",
    "RECOVERED",
    "WRONG_AMOUNT",
    "FEE_TOO_LARGE",
}


class Watch:
    """After each few steps of an office, every act on every invoice: with the rules of the state, and without them."""

    def __init__(self, office: Office, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
        self.office, self.monkeypatch, self.every = office, monkeypatch, every
        self.terms = Billing().terms
        self.states: set[InvoiceState] = set()
        self.refused: Counter[tuple[Act, str]] = Counter()
        self.steps = 0

    def look(self) -> None:
        self.steps += 1
        if self.steps % self.every:
            return
        with self.office.database.connect("batch_tenant") as connection:
            for tenant_id in TENANTS:
                with suppress(psycopg.Rollback), tenant_transaction(connection, [tenant_id]) as transaction:
                    for (invoice_id,) in connection.execute(
                        "SELECT invoice_id FROM batch.invoice ORDER BY 1"
                    ).fetchall():
                        self._try(connection, find_by_id(connection, invoice_id))
                    raise psycopg.Rollback(transaction)

    def _try(self, connection: psycopg.Connection, stored: StoredInvoice) -> None:
        self.states.add(stored.state)
        for act, attempt in TRIES.items():
            expected = refusal(act, stored.state)
            with self.monkeypatch.context() as patched:
                patched.setitem(_RULES, act, ())
                patched.setattr(correction, "refusal_of_credit", lambda *_: None)
                patched.setattr(adjustments, "refusal_of_take_back", lambda *_: None)
                problem = self._outcome(connection, partial(attempt, connection, self.terms, stored))
            if problem:
                self.refused[act, problem] += 1
                assert expected is not None, (act, problem, stored.state, self.office.log)
            if expected:
                # With the rules, the same sentence arrives.
                with pytest.raises(BillingError) as error, connection.transaction():
                    attempt(connection, self.terms, stored)
                assert str(error.value) == str(expected) or error.value.code in _OF_VALUES

    @staticmethod
    def _outcome(connection: psycopg.Connection, attempt: Callable[[], object]) -> str:
        """What the database refuses; empty if nothing, or if a value is refused."""
        try:
            with connection.transaction() as trial:
                attempt()
                raise psycopg.Rollback(trial)
        except psycopg.errors.IntegrityError as error:
            return str(error.diag.constraint_name)
        except BillingError as error:
            return "" if error.code in _OF_VALUES else error.code
        except AssertionError as error:
            # A draft has no number and no days: functions behind the rules rely on that.
            assert re.search("final|due|number|issue", str(error)), error  # noqa: PT017
            return ""
        return ""


def _watched(
    seed: int,
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    every: int,
) -> Watch:
    office = Office(seed, database, host, platform, store)
    watch = Watch(office, monkeypatch, every)
    office.after_step = watch.look
    office.work(24)
    return watch


@pytest.mark.slow("checks the states of every document as runs leave them")
def test_the_state_refuses_first_what_the_database_refuses(
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch = _watched(5, database, host, platform, store, monkeypatch, every=6)

    assert len(watch.states) > 5
    assert watch.refused
    assert TRIES.keys() | UNTRIED.keys() == set(Act)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2000, 2060))
def test_in_many_states_the_database_refuses_nothing_else(
    seed: int,
    database: Database,
    host: psycopg.Connection,
    platform: psycopg.Connection,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """About 40 states each."""
    _watched(seed, database, host, platform, store, monkeypatch, every=1)


def test_the_board_sees_the_state_that_runs_see(
    database: Database, host: psycopg.Connection, platform: psycopg.Connection, store: ObjectStore
) -> None:
    office = Office(3, database, host, platform, store)
    office.work(24)
    names = ", ".join(field.name for field in fields(InvoiceState))
    found: dict[str, list[dict[str, Any]]] = {}
    with host.cursor(row_factory=dict_row) as cursor:
        found["board"] = cursor.execute(
            f"SELECT {names} FROM batch.board_invoice ORDER BY invoice_id"
        ).fetchall()
    found["runs"] = []
    with database.connect("batch_tenant") as connection, connection.cursor(row_factory=dict_row) as cursor:
        for tenant_id in TENANTS:
            with tenant_transaction(connection, [tenant_id]):
                found["runs"] += cursor.execute(f"SELECT {names} FROM batch.invoice_state").fetchall()
    assert len(found["board"]) > 4
    assert sorted(map(str, found["runs"])) == sorted(map(str, found["board"]))
