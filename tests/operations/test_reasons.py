"""A person who changes something says why: the form asks for the reason, and the log of the run keeps it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from include.skillreport.batches.data_backup.access import BackupAccess
from include.skillreport.batches.data_backup.settings import BackupSettings
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import Batch
from include.skillreport.core.form_fields import ReasonField
from include.skillreport.core.operation_catalog import (
    OPERATE_NOTIFICATIONS,
    RESTORE_BACKUP,
    UNDO_SETTINGS_SYNC,
)
from include.skillreport.core.run_spec import OperationSpec
from include.skillreport.messaging import suppression
from include.skillreport.messaging.suppression import SuppressionReason
from include.skillreport.operations.forms import FORMS
from include.skillreport.operations.operate_notifications import create_batch as notification_operations
from include.skillreport.operations.restore_backup.batch import BackupRestore
from include.skillreport.operations.undo_settings_sync import create_batch as settings_sync_undo
from local_stack.batch_runs import LOCAL, open_run
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds import outbox_rows, settings_rows

ADDRESS = "taro@example.jp"

# They only write files, compare, or ask for other facts (a transfer, a text on the invoice, the evidence), or another person answers. No
# new operation belongs here.
_ASK_FOR_NONE = {
    "operate_contracts": {"export_files"},
    "restore_backup": {"compare"},
    "import_payments": {"import", "confirm", "same_payment", "reopen", "forget_payers"},
    "offboard_tenant": {"export", "ask", "supplement"},
    "operate_invoices": {
        *("approve", "correct", "extra_line", "remove_line", "carry", "hand_over", "record_payment"),
        *("fee_difference", "write_off", "import_payments", "allow_reminders"),
    },
}

_ASKED = [
    *(
        (OPERATE_NOTIFICATIONS, each)
        for each in ("resend", "discard", "mark_sent", "reopen", "lift", "resume")
    ),
    *((RESTORE_BACKUP, each) for each in ("merge", "new_database", "restore_deleted_rows")),
    (UNDO_SETTINGS_SYNC, "undo"),
]


@pytest.mark.parametrize(("dag_id", "form"), FORMS.items(), ids=FORMS)
def test_only_the_listed_operations_ask_for_no_reason(dag_id: str, form: Any) -> None:
    asking = {each.name for each in form.operations if "reason" in each.fields(required=True)}
    changing = {each.name for each in form.operations if not each.is_read_only}
    assert changing - asking == _ASK_FOR_NONE.get(dag_id, set())
    assert all(
        isinstance(each.fields()["reason"], ReasonField) for each in form.operations if each.name in asking
    )


def _batch(spec: OperationSpec) -> Batch:
    if spec is RESTORE_BACKUP:
        return BackupRestore(BackupAccess(BackupSettings.load(), LOCAL))
    return notification_operations(LOCAL) if spec is OPERATE_NOTIFICATIONS else settings_sync_undo(LOCAL)


@pytest.mark.tenants("A")
@pytest.mark.parametrize(("spec", "name"), _ASKED, ids=[f"{spec.dag_id} {name}" for spec, name in _ASKED])
def test_without_a_reason_nothing_starts(
    database: Database, host: psycopg.Connection, spec: OperationSpec, name: str
) -> None:
    form = FORMS[spec.dag_id]
    (operation,) = (each for each in form.operations if each.name == name)
    examples = {field: each.example for field, each in operation.fields(required=True).items()}
    values = {**examples, "tenants": ["A"], "reason": " \u3000"} | (
        {"operation": name} if form.has_choice else {}
    )
    refusal = f"操作「{operation.title}」には「理由」（reason）が必要です。指定してください。"

    with database.connect("batch_platform") as platform, pytest.raises(ParameterError) as refused:
        open_run(platform, spec, _batch(spec), outbox_rows.TODAY, codes=["A"], parameters=values)

    assert str(refused.value) == refusal
    assert host.execute("SELECT count(*) FROM batch.execution_log").fetchone() == (0,)


def logged(host: psycopg.Connection, execution_id: str) -> tuple[Any, ...] | None:
    """The reason in the execution log, and what the board reads."""
    return host.execute(
        """
        SELECT log.parameters ->> 'reason', run.reason
        FROM batch.execution_log AS log INNER JOIN batch.board_run AS run USING (execution_id)
        WHERE log.execution_id = %s
        """,
        [execution_id],
    ).fetchone()


@pytest.mark.parametrize("name", [name for spec, name in _ASKED if spec is OPERATE_NOTIFICATIONS])
def test_the_log_keeps_why_a_person_decided_about_messages(
    database: Database,
    host: psycopg.Connection,
    connection: psycopg.Connection,
    services: StandIns,
    name: str,
) -> None:
    parked = outbox_rows.ambiguous(database, host, services)
    with tenant_transaction(connection, ["A"]):
        suppression.suppress_for_good(
            connection, "A", ADDRESS, SuppressionReason.COMPLAINT, datetime.now(UTC)
        )
    messages = [parked] if name in ("resend", "discard", "mark_sent") else []
    addresses = [ADDRESS] if name == "lift" else []

    run = outbox_rows.operate(
        database, services, name, *messages, codes=["A"], addresses=addresses, reason="Slack を直した"
    )

    assert run.status == "completed"
    assert logged(host, run.execution_id) == ("Slack を直した", "Slack を直した")


def test_the_log_keeps_why_settings_were_undone(database: Database, host: psycopg.Connection) -> None:
    settings_rows.tenant(host)
    done = settings_rows.run(database)

    run = settings_rows.undo(database, done.execution_id, reason="プランの設定の誤り")

    assert run.status == "completed"
    assert logged(host, run.execution_id) == ("プランの設定の誤り", "プランの設定の誤り")
