"""What was approved is deleted, whatever happens in between: kills, new rows, rows that move to another tenant."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import SchemaError
from include.skillreport.operations.approve_offboarding.batch import OffboardingApproval
from include.skillreport.operations.offboard_tenant import deletion, freezing
from include.skillreport.operations.offboard_tenant.deletion import TenantDeletion
from include.skillreport.operations.offboard_tenant.ledger import find_open
from include.skillreport.schema.deletion import ListedTable, Rule, deletion_list
from include.skillreport.schema.deploy import CLEANUP
from include.skillreport.schema.host_contract import HostVariant
from local_stack.local_run import KilledError
from tests.conftest import Database, Server, copied_database
from tests.schema.statement_plans import reads
from tests.worlds import host_rows
from tests.worlds.billing_rows import insert
from tests.worlds.leaving_stages import asked, freeze, frozen, killed, leaving, unproved_exports
from tests.worlds.leaving_tenants import (
    AFTER_WAIT,
    AT,
    Leaving,
    marked,
    plant_tenant,
    whole,
)

__all__ = ["asked", "frozen", "leaving", "unproved_exports"]


def employee_of_t(connection: psycopg.Connection) -> None:
    host_rows.insert(
        connection,
        "MST_Employee",
        id="new",
        employee_code="new",
        email="new@example.jp",
        tenant_id="T",
        updated_at=AT,
    )


def gone(leaving: Leaving) -> bool:
    """Whether T has no employees and no accounts."""
    with leaving.database.connect() as connection:
        return not marked(connection, "«T»", ["MST_Employee", "MST_UserAuth"])


@pytest.mark.slow("kills processes")
def test_a_killed_deletion_continues_when_its_task_is_cleared(frozen: Leaving) -> None:
    done = frozen.answer(frozen.request)
    assert frozen.problems(done) == []
    assert gone(frozen)
    # Once more changes nothing.
    assert frozen.answer(frozen.request).status == "completed"


@pytest.mark.slow("deletes a tenant with its backups")
@pytest.mark.usefixtures("unproved")
def test_a_new_row_stops_the_deletion_until_another_question_is_approved(frozen: Leaving) -> None:
    with frozen.database.connect() as connection:
        employee_of_t(connection)
    (problem,) = frozen.problems(frozen.answer(frozen.request))
    assert problem.startswith(
        "承認の後に、表 MST_Employee に行が増えたか、このテナントのものになりました（new など）。"
    )
    assert not gone(frozen)
    assert frozen.offboarding("problem") == problem

    again = frozen.asked()
    (problem,) = frozen.problems(frozen.answer(frozen.request))
    assert problem.startswith("この承認依頼を出した後に、")
    assert not gone(frozen)
    assert frozen.problems(frozen.answer(again)) == []
    assert gone(frozen)
    with frozen.database.connect() as connection:
        assert connection.execute("SELECT FROM \"MST_Employee\" WHERE id = 'new'").rowcount == 0


def test_a_table_that_hides_rows_stops_a_deletion_before_it_begins(frozen: Leaving) -> None:
    with frozen.database.connect() as connection:
        connection.execute('ALTER TABLE "MST_UserRole" ENABLE ROW LEVEL SECURITY')
    with pytest.raises(SchemaError, match=r'"MST_UserRole" の行レベルセキュリティ.*CREATE POLICY'):
        frozen.answer(frozen.request)
    with pytest.raises(SchemaError, match="MST_UserRole"):
        frozen.asked()
    assert not gone(frozen)


@pytest.mark.slow("deletes a tenant with its backups")
@pytest.mark.usefixtures("unproved")
def test_a_row_that_moved_to_another_tenant_stops_the_deletion(frozen: Leaving) -> None:
    with frozen.database.connect() as connection:
        connection.execute(
            "UPDATE \"TRN_SkillRecord\" SET employee_id = 'emp-U' WHERE id = '«T» TRN_SkillRecord.id'"
        )
    (problem,) = frozen.problems(frozen.answer(frozen.request))
    assert problem.startswith("承認の後に、表 TRN_SkillRecord の 1 行がほかのテナントのものになりました。")
    # The accounts came first, and are gone: nobody can cancel any more.
    (refused,) = frozen.problems(frozen.stage("cancel", "T", {"reason": "x"}, day=AFTER_WAIT))
    assert refused == "削除が始まっているため、取りやめられません。"

    assert frozen.problems(frozen.answer(frozen.asked())) == []
    assert gone(frozen)
    with frozen.database.connect() as connection:
        moved = connection.execute(
            "SELECT employee_id FROM \"TRN_SkillRecord\" WHERE id LIKE '«T»%'"
        ).fetchall()
    assert moved == [("emp-U",)]


@pytest.mark.usefixtures("unproved")
def test_a_row_after_its_table_was_worked_off_stops_the_deletion(
    frozen: Leaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_off = TenantDeletion._work_off

    def work_off_before_a_row_comes(deletion: TenantDeletion, table: ListedTable) -> None:
        work_off(deletion, table)
        if table.name == "MST_Employee":
            with frozen.database.connect() as connection:
                employee_of_t(connection)

    monkeypatch.setattr(TenantDeletion, "_work_off", work_off_before_a_row_comes)
    (problem,) = frozen.problems(frozen.answer(frozen.request))
    assert problem.startswith("承認の後に、表 MST_Employee に行が増えたか")
    assert frozen.offboarding("stage") == "frozen"


@pytest.mark.slow("deletes a tenant with its backups")
@pytest.mark.usefixtures("unproved")
def test_a_row_that_returns_after_its_deletion_stops_it(
    frozen: Leaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killing:
        killing.setattr(TenantDeletion, "_delete_own", killed)
        with pytest.raises(KilledError):
            frozen.answer(frozen.request)
    assert gone(frozen)
    with frozen.database.connect() as connection:
        host_rows.insert(
            connection,
            "MST_Employee",
            id="emp-T",
            employee_code="code-T",
            email="t@example.jp",
            tenant_id="T",
            updated_at=AT,
        )
    (problem,) = frozen.problems(frozen.answer(frozen.request))
    assert "表 MST_Employee に行が増えたか、このテナントのものになりました（emp-T など）" in problem
    assert frozen.problems(frozen.answer(frozen.asked())) == []
    with frozen.database.connect() as connection:
        assert connection.execute("SELECT FROM \"MST_Employee\" WHERE id = 'emp-T'").rowcount == 0


def test_an_approved_tenant_can_still_be_cancelled_before_its_deletion(frozen: Leaving) -> None:
    assert frozen.stage("cancel", "T", {"reason": "継続"}, day=AFTER_WAIT).status == "completed"
    (problem,) = frozen.problems(frozen.answer(frozen.request))
    assert problem.startswith("この承認依頼を出した後に、退会が取りやめられたか、")
    assert not gone(frozen)
    with frozen.database.connect() as connection:
        assert connection.execute("SELECT FROM batch.frozen_person").rowcount == 0


@pytest.mark.usefixtures("unproved")
def test_a_key_that_nobody_has_goes_with_the_tenant_of_its_row(asked: Leaving) -> None:
    with asked.database.connect() as connection:
        for key, stated in (("unknown", "T"), (None, "T"), ("u-U", "T"), ("other", "U")):
            insert(connection, "last_action", person_key=key, stated_tenant_id=stated, last_at_utc=AT)
    assert asked.problems(asked.answer(asked.request)) == []
    with asked.database.connect() as connection:
        left = connection.execute("SELECT person_key, stated_tenant_id FROM batch.last_action ORDER BY 1")
        assert left.fetchall() == [("other", "U"), ("u-U", "T")]


def test_a_tenant_of_a_vanished_row_needs_no_second_deletion(frozen: Leaving) -> None:
    with frozen.database.connect() as connection:
        connection.execute("DELETE FROM \"TRN_PDU\" WHERE employee_id = 'u-T'")
    assert frozen.problems(frozen.answer(frozen.request)) == []
    assert gone(frozen)


@pytest.mark.long
def test_a_kill_before_every_statement_loses_and_spares_nothing(
    leaving: Leaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (freezing, deletion):
        monkeypatch.setattr(module, "CHUNK_ROWS", 2)
    with leaving.database.connect() as connection:
        for number in range(5):
            host_rows.request(connection, "u-T", AT, request_url=f"«T» {number}")
        before = whole(connection, "U")
    leaving.question = leaving.up_to_question()
    freeze(leaving)
    execute, attempts = psycopg.Connection.execute, 0
    while leaving.offboarding("stage") == "frozen":
        attempts += 1
        left = attempts

        def dying(connection: psycopg.Connection, *given: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise KilledError
            return execute(connection, *given, **named)

        with monkeypatch.context() as killing:
            original = OffboardingApproval._delete

            def delete(*given: Any, _original: Any = original, _killing: Any = killing) -> Any:
                _killing.setattr(psycopg.Connection, "execute", dying)
                return _original(*given)

            killing.setattr(OffboardingApproval, "_delete", delete)
            try:
                leaving.answer(leaving.request)
            except KilledError:
                continue
    assert attempts > 30
    with leaving.database.connect() as connection:
        assert whole(connection, "U") == before
        assert "public.SYS_SystemLog" not in marked(connection, "«T»")
        assert (
            connection.execute(
                "SELECT table_name FROM batch.offboarding_table WHERE rule = 'delete' AND done <> exported"
            ).fetchall()
            == []
        )
    assert gone(leaving)


@pytest.mark.slow("deletes a tenant with its backups")
@pytest.mark.parametrize("status", [pytest.param("INACTIVE", marks=pytest.mark.long), "deleted"])
def test_before_the_migration_only_the_sole_tenant_leaves(
    server: Server, deletable_templates: dict[HostVariant, Database], tmp_path: Path, status: str
) -> None:
    template = deletable_templates[HostVariant.BASE]
    with copied_database(server, template.name, f"base leaves {status}") as database:
        with database.connect() as connection:
            plant_tenant(connection, "T")
            connection.execute('UPDATE "MST_Tenant" SET status = %s', [status])
        leaving = Leaving(database, tmp_path / "store")
        with database.connect() as connection:
            host_rows.tenant(connection, "second", status="deleted")
        (refused,) = leaving.problems(leaving.begun())
        assert refused.startswith("MST_Tenant に 2 行あります。")
        with database.connect() as connection:
            connection.execute("DELETE FROM \"MST_Tenant\" WHERE tenant_id = 'second'")

        assert leaving.problems(leaving.answer(leaving.up_to_question())) == []

        assert gone(leaving)
        with database.connect() as connection:
            left = {name for name in marked(connection, "«T»") if name.startswith("public.")}
            # Its rows have no tenant before the migration.
            assert left <= {
                "public.HIS_AuditLog",
                "public.HIS_TenantBilling",
                "public.MST_RolePermission",
                "public.MST_Tenant",
            }
            assert connection.execute('SELECT tenant_name, status FROM "MST_Tenant"').fetchall() == [
                ("退会済みテナント", "deleted")
            ]


@pytest.mark.slow("runs sessions against each other")
def test_two_answers_at_once_delete_a_tenant_once(asked: Leaving) -> None:
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: asked.answer(asked.request), range(2)))
    assert [asked.problems(result) for result in results] == [[], []]
    assert gone(asked)
    with asked.database.connect() as connection:
        assert connection.execute(
            "SELECT exported, done FROM batch.offboarding_table WHERE table_name = 'public.MST_Employee'"
        ).fetchall() == [(1, 1)]


def test_a_chunk_is_found_by_the_index_of_the_key(frozen: Leaving) -> None:
    statements: list[tuple[str, list[tuple[str, bool]]]] = []
    plans: dict[str, object] = {}
    with frozen.database.connect("batch_platform") as platform, frozen.database.connect(CLEANUP) as cleanup:
        found = find_open(platform, "T")
        assert found is not None
        work = TenantDeletion(None, platform, cleanup, found, "", found.begun_at)  # type: ignore[arg-type]
        with tenant_transaction(cleanup, ["T"]):
            # The tables are small. A condition behind the barrier would be a scan all the same.
            cleanup.execute("SET LOCAL enable_seqscan = off")
            for table in deletion_list():
                if table.is_host and table.rule is not Rule.KEEP:
                    explain = sql.SQL("EXPLAIN (FORMAT JSON) ") + work._statement(table)
                    ((explained,),) = cleanup.execute(explain, [Jsonb([])]).fetchall()
                    statements.append((table.name, list(reads(explained[0]["Plan"]))))
                    plans[table.name] = explained
    for name, plan in statements:
        assert (name, False) in plan, name
        # The application has few tenants.
        assert {read for read, is_whole in plan if is_whole} <= {"MST_Tenant"}, plans[name]
