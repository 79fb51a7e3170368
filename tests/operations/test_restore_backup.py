"""Restoring from a backup as an operation: into a separate schema, over the live rows, or into a new database."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from include.skillreport.batches.data_backup import deleted_tenants
from include.skillreport.batches.data_backup.deleted_tenants import (
    TURN,
    RegisterEntry,
    hold_off_deletion,
    write_entry,
)
from include.skillreport.batches.data_backup.files import MANIFEST, BackupDamagedError
from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.batches.data_backup.tenant_comparison import NEVER_MERGED
from include.skillreport.batches.data_backup.tenant_export import restored_schema
from include.skillreport.core.database import tenant_turn
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.failure_kinds import kind_of
from include.skillreport.core.operation_catalog import RESTORE_BACKUP
from local_stack.local_run import KilledError
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds import host_rows
from tests.worlds.backup_stages import backups, taken
from tests.worlds.backups import (
    HOSTILE,
    TODAY,
    Backups,
    flip,
    login,
    of_restored,
    of_tenant,
)
from tests.worlds.billing_rows import reasons

__all__ = ["backups", "taken"]


def change_rows_of_a(database: Database) -> None:
    """One row of A is changed, one is deleted, and one person comes."""
    with database.connect() as host:
        host.execute("UPDATE \"MST_Employee\" SET full_name = 'changed' WHERE id = 'emp_A-1'")
        host.execute("DELETE FROM \"MST_UserAuth\" WHERE user_id = 'A-2'")
        host_rows.user(host, "A", "A-late")


def schemas(database: Database) -> set[str]:
    """The schemas into which tenants were restored."""
    with database.connect() as host:
        names = [restored_schema(tenant_id) for tenant_id in ("A", HOSTILE, "GONE")]
        rows = host.execute("SELECT nspname FROM pg_namespace WHERE nspname = ANY(%s)", [names]).fetchall()
    return {name for (name,) in rows}


def runs(database: Database) -> int:
    """How many runs of the operation were opened."""
    with database.connect() as host:
        return len(
            host.execute("SELECT FROM batch.execution_log WHERE batch_id = 'RESTORE-BACKUP'").fetchall()
        )


def test_a_restore_beside_or_over_live_rows_touches_no_other_tenant(
    taken: Backups, caplog: pytest.LogCaptureFixture
) -> None:
    before, others = of_tenant(taken.database, "A"), of_tenant(taken.database, HOSTILE)
    backup_id = taken.newest
    change_rows_of_a(taken.database)
    live = of_tenant(taken.database, "A")

    # A dry run reads and reports, and writes nothing.
    for operation in ("compare", "merge"):
        dry, planned = taken.restore(operation, "A", dry_run=True)
        assert planned["A"]["restored"] > 60
    foreseen = notes(taken.database, dry)["A"]
    assert foreseen[0] == "反映すると、現在の表に 2 行を書きます"
    assert "public.MST_UserAuth: 書き換える 0 行、戻す 1 行。取得後に増えた 1 行はそのままです" in foreseen
    assert schemas(taken.database) == set()
    assert of_tenant(taken.database, "A") == live

    with caplog.at_level("INFO"):
        compared, details = taken.restore("compare", "A", "GONE")
    assert compared.status == "completed"
    # Among the tenant's rows is its outcome of the backup's own run.
    assert (details["A"]["changed"], details["A"]["missing"], details["A"]["merged"]) == (2, 1, 0)
    assert f"A（{backup_id}）" in caplog.text
    counts = "復元 30 行、現在と異なる 1 行、現在ない 0 行、取得後に増えた 1 行（例: emp_A-1、emp_A-late）"
    told = f"public.MST_Employee: {counts}。異なる列: full_name"
    assert told in caplog.text
    # The page of the run shows the notes: keys and names of columns, and no values.
    assert told in notes(taken.database, compared)["A"]
    assert f'({compared.execution_id},A,"")' in caplog.text
    assert of_restored(taken.database, "A") == before
    assert of_tenant(taken.database, "A") == live
    assert schemas(taken.database) == {restored_schema("A"), restored_schema("GONE")}

    for merged_rows in (2, 0):  # another attempt finds nothing more to do
        merged, details = taken.restore("merge", "A", reason="誤って消した人を戻すため")
        assert (merged.status, details["A"]["merged"]) == ("completed", merged_rows)
        assert taken.logged_reason(merged) == "誤って消した人を戻すため"
        done = notes(taken.database, merged)["A"]
        assert done[0] == f"現在の表に {merged_rows} 行を書きました"
        employees = f"public.MST_Employee: 書き換えた {merged_rows // 2} 行、戻した 0 行。取得後に増えた 1 行はそのままです"
        assert employees in done
        # The batches' own rows never return to an earlier state.
        assert any(each.startswith(f"batch.tenant_outcome: {NEVER_MERGED}（") for each in done)
        assert any(each.endswith(f"。{NEVER_MERGED}") for each in notes(taken.database, compared)["A"])
    assert of_tenant(taken.database, HOSTILE) == others
    with taken.database.connect() as host:
        rows = host.execute(
            """
            SELECT (SELECT full_name FROM "MST_Employee" WHERE id = 'emp_A-1'),
                   (SELECT count(*) FROM "MST_UserAuth" WHERE user_id IN ('A-2', 'A-late'))
            """
        ).fetchone()
    assert rows == (None, 2)


def test_damaged_files_fail_their_tenant_and_a_changed_manifest_all(
    taken: Backups,
) -> None:
    folder = taken.root / "backups" / taken.newest
    flip(next((folder / "tenants").glob("A-*/public.MST_Employee.csv.zst")))
    live = of_tenant(taken.database, "A")

    result, _ = taken.restore("merge", "A", HOSTILE)

    assert (result.status, list(reasons(result))) == ("partial", ["A"])
    assert "内容が目録と一致しません" in reasons(result)["A"]
    assert schemas(taken.database) == {restored_schema(HOSTILE)}
    assert of_tenant(taken.database, "A") == live

    manifest = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(manifest.replace(b'"tenants": 3', b'"tenants": 4'))
    with pytest.raises(BackupDamagedError, match="書き換えられています"):
        taken.restore("compare", HOSTILE)


@pytest.mark.slow("takes and restores whole backups")
def test_the_newest_backup_is_restored_unless_another_is_named(taken: Backups) -> None:
    older = taken.newest
    change_rows_of_a(taken.database)
    taken.take(TODAY + timedelta(days=1))

    _, newest = taken.restore("merge", "A")
    _, named = taken.restore("merge", "A", backup=f" {older} ")

    assert (newest["A"]["merged"], named["A"]["merged"]) == (0, 2)


def notes(database: Database, result: RunResult) -> dict[str, list[str]]:
    """The notes of each unit of a run."""
    with database.connect() as host:
        rows = host.execute(
            "SELECT tenant_id, notes FROM batch.tenant_outcome WHERE execution_id = %s", [result.execution_id]
        ).fetchall()
    return dict(rows)


@pytest.mark.slow("takes and restores whole backups")
def test_the_whole_database_is_restored_only_into_a_new_one_and_compared(taken: Backups) -> None:
    expected = of_tenant(taken.database, "A")
    change_rows_of_a(taken.database)
    live = of_tenant(taken.database, "A")
    copy = Database(f"{taken.database.name}_copy", taken.database.server)

    dry, _ = taken.restore("new_database", target=copy.name, dry_run=True)
    assert dry.status == "completed"
    assert taken.server.databases(copy.name) == []
    try:
        result, details = taken.restore("new_database", "A", target=copy.name, reason="訓練のため")

        assert taken.logged_reason(result) == "訓練のため"
        assert (result.status, details[f"database {copy.name}"]) == ("completed", {"restored": 1})
        assert of_tenant(copy, "A") == expected != live
        told = notes(taken.database, result)
        assert "取得時と一致" in told[f"database {copy.name}"][0]
        assert told["A"][0].startswith("復元した行のうち、現在と異なる 2 行、現在ない 1 行。取得後に増えた ")
        assert details["A"]["merged"] == 0
        # The comparison leaves no schema behind.
        assert schemas(taken.database) == set()
        assert of_tenant(taken.database, "A") == live

        again, _ = taken.restore("new_database", target=copy.name)
        assert "既にあります" in reasons(again)[f"database {copy.name}"]
        assert of_tenant(copy, "A") == expected
    finally:
        taken.server.drop(copy.name)


@pytest.mark.slow("takes and restores whole backups")
def test_only_a_superuser_restores_owners_and_privileges(taken: Backups) -> None:
    expected = of_tenant(taken.database, "A")
    target = Database(f"{taken.database.name}_copy", taken.database.server)
    role = f"restore_{os.urandom(4).hex()}"
    with taken.database.connect() as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'test-backup' BYPASSRLS CREATEDB")
        admin.execute(f"GRANT pg_read_all_data TO {role}")
    try:
        taken.dsn = login(taken.database, role, "test-backup")
        result, _ = taken.restore("new_database", target=target.name)
        assert result.status == "completed"
        _, hint = notes(taken.database, result)[f"database {target.name}"]
        assert "所有者と権限は復元していません" in hint
        assert of_tenant(target, "A") == expected
    finally:
        taken.server.drop(target.name)
        with taken.database.connect() as admin:
            admin.execute(f"DROP OWNED BY {role}")
            admin.execute(f"DROP ROLE {role}")


def test_an_impossible_restore_is_refused_before_the_run_opens(
    backups: Backups, taken_backups: Backups
) -> None:
    # No value of the form helps: BATCH-001 has to finish first.
    for name in ("", "BKP_20261101_001"):
        with pytest.raises(
            BackupError, match="検証済みのバックアップが保存先にまだありません。BATCH-001"
        ) as refused:
            backups.restore("compare", "A", backup=name)
        assert kind_of(RESTORE_BACKUP, refused.value).name == "no_backup"
    backups = taken_backups
    backup_id = backups.newest

    with pytest.raises(ParameterError, match=f"'BKP_1' は使えません。使えるのは {backup_id} です"):
        backups.restore("compare", "A", backup="BKP_1")
    with pytest.raises(ParameterError, match="「テナントコード」（tenants）が必要です"):
        backups.restore("merge")
    with pytest.raises(ParameterError, match="「復元先データベース」（target）が必要です"):
        backups.restore("new_database")
    with pytest.raises(ParameterError, match="NOBODY"):
        backups.restore("new_database", "NOBODY", target="copy")
    with pytest.raises(ParameterError, match="NOBODY"):
        backups.restore("compare", "NOBODY")
    assert runs(backups.database) == 0


def test_another_run_completes_a_restore_killed_between_two_tenants(
    taken: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_rows_of_a(taken.database)
    restore_one = "include.skillreport.operations.restore_backup.batch.restore_one_tenant"

    def die(*_: object, **__: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(restore_one, die)
        with pytest.raises(KilledError):
            taken.restore("merge", "A", HOSTILE)
    with taken.database.connect() as host:
        assert host.execute(
            "SELECT DISTINCT outcome.status FROM batch.tenant_outcome AS outcome INNER JOIN batch.execution_log USING (execution_id)"
            " WHERE batch_id = 'RESTORE-BACKUP'"
        ).fetchall() == [("pending",)]
    assert schemas(taken.database) == set()

    result, details = taken.restore("merge", "A", HOSTILE)

    assert (result.status, details["A"]["merged"]) == ("completed", 2)


def test_a_restore_waits_for_a_deletion_and_is_refused(taken: Backups) -> None:
    change_rows_of_a(taken.database)
    live = of_tenant(taken.database, "A")
    with taken.database.connect("batch_platform") as platform, ThreadPoolExecutor() as pool:
        with tenant_turn(platform, TURN, "A"):
            restoring = pool.submit(taken.restore, "merge", "A")
            wait_for_blocked_statement(taken.database)
            write_entry(taken.store, taken.mac_keys, RegisterEntry("A", "x", datetime.now(UTC)))
        result, _ = restoring.result(60)

    assert "テナント A は退会して削除済みです。" in reasons(result)["A"]
    assert schemas(taken.database) == set()
    assert of_tenant(taken.database, "A") == live


def test_a_restore_ends_if_an_offboarding_takes_long(taken: Backups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deleted_tenants, "_TURN_WAIT", "10ms")
    with taken.database.connect("batch_platform") as platform, tenant_turn(platform, TURN, "A"):
        result, _ = taken.restore("compare", "A", HOSTILE)

    assert list(reasons(result)) == ["A"]
    assert (
        "テナント A の退会の操作（書き出しや削除）が実行中です。何も復元していません。"
        in reasons(result)["A"]
    )
    assert schemas(taken.database) == {restored_schema(HOSTILE)}


def test_restores_of_a_tenant_do_not_wait_for_each_other(taken: Backups) -> None:
    with (
        taken.server.connect() as one,
        taken.server.connect() as other,
        one.transaction(),
        other.transaction(),
    ):
        for connection in (one, other):
            hold_off_deletion(connection, taken.store, taken.mac_keys, "A")
            # Only the wait for the turn is limited.
            assert connection.execute("SHOW lock_timeout").fetchone() == ("0",)
