"""A run works on what the board's dialog has shown, or on nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import psycopg
import pytest

from skill_batch.board.actions import find_action
from skill_batch.board.targets import describe_targets
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.entered import SHOWN
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Run, UnitBatch, Work, create_batch
from include.skillreport.core.form import NOTHING_YET, Operation, OperationForm
from include.skillreport.core.operation_catalog import OPERATE_INVOICES
from include.skillreport.operations.forms import FORMS
from include.skillreport.operations.shown import ChecksShown
from local_stack.batch_runs import LOCAL
from tests.conftest import Database
from tests.worlds.billing_rows import (
    MONTH,
    customer,
    open_operation,
    operate,
    process,
    run_billing,
)
from tests.worlds.board_entries import example_values

FIRST = "テナント A: INV-2026-10-001 11,000 JPY"
SECOND = "テナント A: INV-2026-10-002 11,000 JPY"


@pytest.fixture
def billed(database: Database, host: psycopg.Connection) -> None:
    """A has the invoice INV-2026-10-001."""
    customer(host, "A")
    run_billing(database)


@pytest.fixture
def everything(host: psycopg.Connection) -> None:
    """A row of A of each kind that a dialog shows."""
    host.execute(
        """
        INSERT INTO batch.channel_circuit (tenant_id, channel, error_code, reason) VALUES ('A', 'slack', 'x', 'x');
        INSERT INTO batch.message_stop (tenant_id, still_sent, reason, entered_by) VALUES ('A', '{}', 'x', 'x');
        INSERT INTO batch.exchange_rate (currency, rate_date, yen_per_unit) VALUES ('USD', '2026-10-31', 150);
        INSERT INTO batch.extra_charge (
            extra_charge_id, tenant_id, charged_on, description, quantity, unit_amount, currency, tax_category, entered_by
        )
        VALUES ('L', 'A', '2026-10-31', '初期設定の作業費', 2, 1500, 'JPY', 'standard', 'x');
        INSERT INTO batch.contract_change (
            change_id, tenant_id, kind, after, changed, reason, entered_by, execution_id, status
        )
        VALUES ('C', 'A', 'plan', '{}', '{plan}', 'x', 'x', 'x', 'applied');
        INSERT INTO batch.offboarding (
            offboarding_id, tenant_id, tenant_code, tenant_name, stage, open_items, reason, begun_by, begun_at
        )
        VALUES ('O', 'A', 'A', 'A', 'begun', '{}', 'x', 'x', now());
        """
    )


def changed(
    batch: ChecksShown, connection: psycopg.Connection, options: dict[str, Any], *, again: bool = False
) -> Mapping[str, str]:
    run = Run("run", MONTH, date(2026, 11, 2), options=options)
    return batch.changed(Work(run, connection, ["A"]), again=again)


@pytest.mark.usefixtures("billed", "everything")
def test_every_operation_compares_what_it_works_on_with_what_the_board_shows(database: Database) -> None:
    with (
        database.connect("batch_board") as board,
        database.working() as (platform, tenants),
    ):
        every = [(form, operation) for form in FORMS.values() for operation in form.operations]
        for form, operation in every:
            name = f"{form.spec.dag_id} {operation.name}"
            batch = create_batch(form.spec, LOCAL)
            assert isinstance(batch, ChecksShown), name
            assert batch.own_form is form, name
            action = find_action(form.spec.dag_id, operation.name)
            assert action is not None
            examples = example_values(operation) | {"currency": "USD"}
            options = {**examples, "tenants": ["A"], "business_date": str(MONTH), "every_month": False}
            shown = list(describe_targets(board, action, options, date(2026, 11, 2)).lines)
            assert bool(shown) == (operation.shows != NOTHING_YET), name
            assert not operation.shows.rows or "なし" not in "".join(shown), name

            assert changed(batch, platform, {**options, SHOWN: shown}) == {}, name
            (sentence,) = changed(batch, platform, {**options, SHOWN: ["別のもの"]}).values()
            assert "画面に出ていた対象は「別のもの」ですが、今の対象は「" in sentence, name
            if not operation.shows.tenants or operation.shows.rows == "contracts":
                continue
            with tenant_transaction(tenants, ["A"]):
                connection = platform if isinstance(batch, UnitBatch) else tenants
                same, other = ({**options, SHOWN: lines} for lines in (shown, [f"{shown[0]}?"]))
                assert changed(batch, connection, same, again=True) == {}, name
                assert changed(batch, connection, other, again=True).keys() == {"A"}, name


@pytest.mark.usefixtures("billed")
def test_an_invoice_issued_again_after_the_dialog_is_not_voided(
    database: Database, host: psycopg.Connection
) -> None:
    run = open_operation(database, "void", reason="誤り", values={SHOWN: [FIRST]})
    operate(database, "reissue", reason="訂正")
    (failure,) = process(database, run).failures
    assert failure.message == (
        f"画面に出ていた対象は「{FIRST}」ですが、今の対象は「{SECOND}」です。"
        "何もしていません。ボードで画面を開き直し、対象を確かめてから実行してください。"
    )
    states = "SELECT number, status FROM batch.invoice ORDER BY number"
    assert host.execute(states).fetchall() == [("INV-2026-10-001", "void"), ("INV-2026-10-002", "finalized")]
    # Nor is such a run opened.
    with pytest.raises(ParameterError, match=f"「{FIRST}」ですが、今の対象は「{SECOND}」です"):
        open_operation(database, "void", reason="誤り", values={SHOWN: [FIRST]})
    # As from Airflow's own form.
    assert not process(database, open_operation(database, "void", reason="誤り")).failures


@pytest.mark.usefixtures("billed")
def test_a_second_attempt_finds_its_work_done(
    database: Database,
) -> None:
    run = open_operation(database, "void", reason="誤り", values={SHOWN: [FIRST]})
    for _ in range(2):
        (result,) = process(database, run).results
        assert result.details == {"voided": "INV-2026-10-001"}


def test_an_operation_must_declare_what_its_dialog_shows() -> None:
    class Undeclared(Operation):
        """何も宣言しない操作です。"""

    with pytest.raises(TypeError, match="does not declare what its dialog shows"):
        OperationForm(OPERATE_INVOICES).add("undeclared", "宣言なし")(Undeclared)
