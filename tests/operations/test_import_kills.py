"""An import, or a confirmation, that is killed with SIGKILL at any statement: done again, it leaves what an undisturbed one leaves.

It is done again as the same run, whose tasks Airflow repeats, and an import also as another run, as if nobody had cleared the first one.
`make test-all` kills at a sample of the statements, `make test-long` at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from include.skillreport.core.execution.batch import Run
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.operation_catalog import IMPORT_PAYMENTS
from include.skillreport.operations.import_payments import create_batch
from local_stack.batch_runs import LOCAL, open_run
from tests.conftest import Database
from tests.operations.killed_import import Kill, Worked, steps, work
from tests.worlds.bank_files import TODAY, put, run, transfer
from tests.worlds.billing_rows import customer, files, run_billing
from tests.worlds.own_settings import change_billing
from tests.worlds.shared_database import delete_rows
from tests.worlds.zengin_files import OWN_ACCOUNT, zengin_file

A1, B1, C1, D1 = (f"INV-2026-10-{number:03}" for number in range(1, 5))
NAMES = {"A": "ｶ)ｱｵﾊﾞ", "B": "ﾕ)ﾐﾄﾞﾘ", "C": "ｼﾞﾛｳ", "D": "ﾊﾅｺ"}
NEVER = Kill()

# Everything that an import leaves, without the ids and times of runs.
_STATE: dict[str, LiteralString] = {
    "payments": """
        SELECT tenant_id, number, payment.amount, yen, paid_on, method, reference, source, transfer_id, reversed_at IS null
        FROM batch.payment JOIN batch.invoice USING (tenant_id, invoice_id) ORDER BY number, reference
    """,
    "transfers": """
        SELECT transfer_id, settled, doubt, cancelled_by, was_taken_back FROM batch.bank_transfer ORDER BY transfer_id
    """,
    "choices": "SELECT * FROM batch.transfer_choice ORDER BY transfer_id, choice, part",
    "invoices": """
        SELECT number, open_amount, paid_total, fee_total, marked_paid FROM batch.invoice ORDER BY number
    """,
    "adjustments": """
        SELECT number, adjustment.kind, adjustment.amount, adjustment.accrued_on, adjustment.reason
        FROM batch.adjustment JOIN batch.invoice USING (tenant_id, invoice_id) ORDER BY number, adjustment.entered_at
    """,
    "payers": "SELECT tenant_id, payer_key, payer_code FROM batch.payer ORDER BY 1, 2, 3",
    "files": "SELECT sha256, name, transfers, new_transfers, run_on FROM batch.bank_file ORDER BY sha256",
    "host": """
        SELECT invoice_number, billing_status, paid_date, payment_method, notes FROM "HIS_TenantBilling" ORDER BY 1
    """,
}


@dataclass
class Scene:
    """A database and a store before the run that is killed."""

    database: Database
    host: psycopg.Connection
    folder: Path

    @property
    def store(self) -> ObjectStore:
        """The object store of this scene."""
        return ObjectStore(self.folder)

    def open(self, operation: str = "import", **values: Any) -> Run:
        """A run that has only been opened."""
        at = datetime(TODAY.year, TODAY.month, TODAY.day, 8, 30, tzinfo=JAPAN)
        parameters = {"operation": operation, **values}
        with self.database.connect("batch_platform") as platform:
            batch = create_batch(LOCAL)
            return open_run(platform, IMPORT_PAYMENTS, batch, TODAY, parameters=parameters, run_at=at)[0]

    def state(self) -> dict[str, Any]:
        """What the run has left."""
        rows: dict[str, Any] = {name: self.host.execute(query).fetchall() for name, query in _STATE.items()}
        # A later run deletes unfinished files, after a while.
        store = {key: content for key, content in files(self.store).items() if not key.endswith(".part")}
        return rows | {"store": store}


Begin = Callable[[Scene], Run]


def importing(scene: Scene) -> Run:
    """Files with a payment, one less a fee, a stranger's, the cancellation of a recorded one, and an old file again."""
    for tenant_id in "ABCD":
        scene.host.execute(
            """
            INSERT INTO batch.payer (tenant_id, payer_key, payer_code, payer_name, confirmed_by, execution_id)
            VALUES (%s, %s, '', '', 'keiri', 'earlier')
            """,
            [tenant_id, {"A": "[ｶ]ｱｵﾊﾞ", "B": "[ﾕ]ﾐﾄﾞﾘ"}.get(tenant_id, NAMES[tenant_id])],
        )
    old = zengin_file([transfer(10_560, NAMES["C"])])
    put(scene.store, name="old.txt", content=old)
    run(scene.database, scene.store)
    put(scene.store, name="again.txt", content=old)
    put(scene.store, transfer(11_000, NAMES["A"]), transfer(10_560, NAMES["B"]), name="new.txt")
    cancelled = transfer(10_560, NAMES["C"], is_cancellation=True)
    put(scene.store, cancelled, transfer(500, "ｼﾗﾅｲ"), name="newer.txt")
    return scene.open()


def confirming(scene: Scene) -> Run:
    """Three transfers: of one invoice, of one less a fee, and of the invoices of two tenants."""
    names = ("ｶ)ｱ", "ｶ)ｲ", "ｶ)ｳ")
    amounts = (11_000, 10_560, 22_000)
    put(scene.store, *(transfer(*each) for each in zip(amounts, names, strict=True)))
    run(scene.database, scene.store)
    found = scene.host.execute("SELECT transfer_id FROM batch.bank_transfer ORDER BY payer_name").fetchall()
    (first,), (second,), (third,) = found
    return scene.open("confirm", transfers=[f"{first}={A1}", f"{second}={B1},手数料", f"{third}={C1},{D1}"])


@pytest.fixture
def scene(
    shared_database: Database,
    host: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Callable[[], Scene]:
    """Makes scenes: October of A, B, C and D is billed, ¥11,000 each."""
    change_billing(monkeypatch, tmp_path, payment_source="operations", own_accounts=[OWN_ACCOUNT])
    made = 0

    def make() -> Scene:
        nonlocal made
        made += 1
        delete_rows(shared_database)
        for tenant_id in "ABCD":
            customer(host, tenant_id)
        run_billing(shared_database)
        return Scene(shared_database, host, tmp_path / f"store-{made}")

    return make


def killed(scene: Scene, begin: Begin, kill: Kill, *, by_another_run: bool) -> tuple[Worked, dict[str, Any]]:
    """The run killed at a statement, and what is left after it was done again, and after the next run."""
    opened = begin(scene)
    worked = work(scene.database, scene.folder, opened, 4, kill)
    if worked.was_killed and not by_another_run:
        with (
            scene.database.working() as (platform, connection),
        ):
            steps(platform, connection, scene.folder, opened, 4)
    for _ in range(2):
        # What was left is matched by the first one; the second one records what has become sure.
        assert run(scene.database, scene.store).status == "completed"
    return worked, scene.state()


def check_kills(
    scene: Callable[[], Scene], begin: Begin, by_another_run: bool, chosen: Callable[[int], Sequence[int]]
) -> None:
    """Kill before and after the chosen ones of the run's statements.

    :raises AssertionError: something else was left than by a run that was not killed, or too many workers ended before.
    """
    undisturbed, expected = killed(scene(), begin, NEVER, by_another_run=by_another_run)
    assert expected["payments"]
    assert undisturbed.statements > 50
    kills = [
        Kill(number, is_after) for number in chosen(undisturbed.statements) for is_after in (False, True)
    ]
    differing, ended = {}, 0
    for kill in kills:
        worked, state = killed(scene(), begin, kill, by_another_run=by_another_run)
        ended += not worked.was_killed
        if state != expected:
            differing[kill] = {
                name: (state[name], expected[name]) for name in state if state[name] != expected[name]
            }
    assert differing == {}
    assert ended == 0


@pytest.mark.slow("kills processes")
def test_a_kill_in_the_middle_is_repaired_by_another_run(scene: Callable[[], Scene]) -> None:
    """The contract kills the run that is cleared."""
    check_kills(scene, importing, True, lambda count: [count // 2])


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(
    ("begin", "by_another_run"),
    [(importing, False), (importing, True), (confirming, False)],
    ids=["import cleared", "import by another run", "confirmation cleared"],
)
def test_all_statements(scene: Callable[[], Scene], begin: Begin, by_another_run: bool) -> None:
    check_kills(scene, begin, by_another_run, lambda count: range(1, count + 1))
