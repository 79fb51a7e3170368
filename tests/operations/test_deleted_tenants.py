"""After a deletion: backups that still contain the tenant, restores, the next dump, and the supplement of the certificate."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from include.skillreport.approvals.requests import ApprovalRequest
from include.skillreport.batches.data_backup import restore
from include.skillreport.batches.data_backup.deleted_tenants import (
    ENTRY,
    RegisterEntry,
    delete_entry,
    hold_off_deletion,
    read_entry,
    record_folder,
    register_folder,
    write_entry,
)
from include.skillreport.batches.data_backup.mac import MacKeys
from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.batches.data_backup.tenant_export import merge, restored_schema
from include.skillreport.core.catalog import STATISTICS
from include.skillreport.core.errors import SchemaError
from include.skillreport.core.execution.batch import Work
from include.skillreport.core.execution.object_store import ObjectStore, tenant_folder
from include.skillreport.core.execution.run_log import RunResult, require_deletions_repeated
from include.skillreport.core.operation_catalog import OFFBOARD_TENANT
from include.skillreport.operations.offboard_tenant.deletion import TenantDeletion
from local_stack.local_run import KilledError
from tests.conftest import Database, administer, wait_for_blocked_statement
from tests.worlds.approval_rows import asked_about, text_of
from tests.worlds.backups import MAC_KEY, TODAY, Backups
from tests.worlds.leaving_stages import killed, unproved
from tests.worlds.leaving_tenants import ASKER, Leaving, marked, whole

RESTORED = "restored_with_deleted_tenant"


@pytest.fixture(scope="module")
def deleted_stage(planted_stage: Leaving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backups]:
    """A backup has T, with a long log, and then T was deleted."""
    with planted_stage.copied(tmp_path_factory.mktemp("deleted") / "store", "deleted stage") as leaving:
        with leaving.database.connect() as connection:
            connection.execute(
                """
                INSERT INTO "SYS_SystemLog" (id, user_id, log_level, request_url, updated_at)
                SELECT 'l' || number, 'u-T', 'INFO', md5(random()::text) || md5(random()::text), now()
                FROM generate_series(1, 8000) AS number
                """
            )
        backups = Backups(leaving.database, leaving.root)
        backups.take()
        with unproved():
            assert leaving.problems(leaving.answer(leaving.up_to_question())) == []
        yield backups


@pytest.fixture
def backups(deleted_stage: Backups, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Backups]:
    with deleted_stage.copied(tmp_path / "store", request.node.name) as copy:
        yield copy


@pytest.fixture
def leaving(backups: Backups) -> Leaving:
    return Leaving(backups.database, backups.root)


@pytest.fixture(scope="module")
def approved_stage(frozen_stage: Leaving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Leaving]:
    """A backup has T. The deletion of T is approved, and has not begun."""
    with frozen_stage.copied(tmp_path_factory.mktemp("approved") / "store", "approved stage") as leaving:
        Backups(leaving.database, leaving.root).take()
        yield leaving


@pytest.fixture
def approved(approved_stage: Leaving, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Leaving]:
    backups = Backups(approved_stage.database, approved_stage.root)
    with backups.copied(tmp_path / "store", request.node.name) as copy:
        yield replace(approved_stage, database=copy.database, root=copy.root)


def left(leaving: Leaving) -> list[str]:
    """Where T's people are: the application's table, and the schema of a restore."""
    with leaving.database.connect() as connection:
        schemas = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname = %s", [restored_schema("T")]
        ).fetchall()
        return [*marked(connection, "«T»", ["MST_Employee"]), *(name for (name,) in schemas)]


@contextmanager
def failing(folder: Path) -> Iterator[Path]:
    """Whatever opens or deletes something in the folder fails: it is a link to itself."""
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.symlink_to(folder.name)
    try:
        yield folder
    finally:
        folder.unlink()
        aside.rename(folder)


def noted(leaving: Leaving, result: RunResult) -> str:
    """The notes of the only tenant of a run."""
    with leaving.database.connect() as connection:
        ((notes,),) = connection.execute(
            "SELECT notes FROM batch.tenant_outcome WHERE execution_id = %s", [result.execution_id]
        ).fetchall()
    return "".join(notes)


@pytest.mark.slow("deletes a tenant with its backups")
def test_a_deletion_waits_for_a_restore_and_leaves_nothing_of_it(
    approved: Leaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_copied, may_merge = Event(), Event()

    def wait_and_merge(*given: Any) -> Any:
        is_copied.set()
        assert may_merge.wait(120)
        return merge(*given)

    monkeypatch.setattr(restore, "merge", wait_and_merge)
    with ThreadPoolExecutor() as pool:
        restoring = pool.submit(Backups(approved.database, approved.root).restore, "merge", "T")
        try:
            assert is_copied.wait(60)
            deleting = pool.submit(approved.answer, approved.request)
            wait_for_blocked_statement(approved.database)
        finally:
            may_merge.set()
        restored, _ = restoring.result(60)
        deleted = deleting.result(60)

    assert (restored.status, deleted.status) == ("completed", "completed")
    assert left(approved) == []


@pytest.mark.slow("deletes a tenant with its backups")
def test_nothing_is_restored_into_a_deletion_that_was_interrupted(
    approved: Leaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killing:
        killing.setattr(TenantDeletion, "_delete_own", killed)
        with pytest.raises(KilledError):
            approved.answer(approved.request)

    refused, _ = Backups(approved.database, approved.root).restore("merge", "T")

    assert approved.problems(refused) == [
        "テナント T の退会による削除が始まっています。バックアップから復元できません。"
    ]
    assert left(approved) == []
    assert approved.problems(approved.answer(approved.request)) == []


@pytest.mark.slow("deletes a tenant with its backups")
def test_a_whole_restore_runs_no_batch_until_the_tenant_is_deleted_again(
    backups: Backups, leaving: Leaving
) -> None:
    backup_id = backups.newest
    try:
        result, details = backups.restore("new_database", backup=backup_id, target=RESTORED)
        assert (result.status, len(details)) == ("completed", 1)
        with backups.database.connect() as connection:
            (notes,) = connection.execute(
                "SELECT notes FROM batch.tenant_outcome WHERE execution_id = %s", [result.execution_id]
            ).fetchone() or ([],)
        assert "退会して削除済みのテナント T があります。" in "".join(notes)
        copy = Database(RESTORED, backups.database.server)
        with copy.connect("batch_platform") as platform:
            with pytest.raises(SchemaError, match=r"退会して削除済みのテナント T .*「退会の記録の取り消し」"):
                require_deletions_repeated(platform, STATISTICS)
            require_deletions_repeated(platform, OFFBOARD_TENANT)

        # The live database restores nothing of the tenant.
        refused, _ = backups.restore("compare", "T", backup=backup_id)
        assert refused.status == "failed"
        assert "退会して削除済みです。バックアップから復元できません。" in leaving.problems(refused)[0]

        # There is no second wait.
        again = Leaving(copy, backups.root)
        with unproved():
            again.begun()
            again.exported()
            assert again.problems(again.answer(again.asked(day=TODAY))) == []
        with copy.connect() as connection:
            assert not marked(connection, "«T»", ["MST_Employee"])
        with copy.connect("batch_platform") as platform:
            require_deletions_repeated(platform, STATISTICS)
    finally:
        administer(backups.database.server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", RESTORED)


@pytest.mark.slow("deletes a tenant with its backups")
def test_a_backup_finds_that_others_have_restored_the_database(backups: Backups) -> None:
    with backups.database.connect() as connection:
        connection.execute("DELETE FROM batch.deleted_tenant")
    with pytest.raises(BackupError, match="退会して削除済みのテナント T があります。"):
        backups.take(TODAY + timedelta(days=1))
    with backups.database.connect("batch_platform") as platform, pytest.raises(SchemaError):
        require_deletions_repeated(platform, STATISTICS)


@pytest.mark.slow("deletes a tenant with its backups")
def test_two_persons_withdraw_an_entry_that_is_wrong(leaving: Leaving) -> None:
    backups = Backups(leaving.database, leaving.root)
    write_entry(
        leaving.store, backups.mac_keys, RegisterEntry("U", "wrong", datetime(2026, 10, 1, tzinfo=UTC))
    )
    with pytest.raises(BackupError, match=r"退会して削除済みのテナント U .*「退会の記録の取り消し」"):
        backups.open()
    with leaving.database.connect() as connection:
        rows = whole(connection, "U")

    def disputed(person: str) -> ApprovalRequest:
        result = leaving.stage("dispute", "U", {"reason": "退会していない"}, person=person)
        assert result.status == "completed", leaving.problems(result)
        asked = asked_about(leaving.database, result)
        assert asked is not None
        return asked.request

    request = disputed(ASKER)
    subject, text = text_of(leaving.database, request)
    assert subject == "退会の記録の取り消しの承認: U"
    assert "削除します" not in text
    assert f"取り消しを依頼した人: {ASKER}" in text
    (refused,) = leaving.problems(leaving.answer(request, ASKER))
    assert "承認できません。ほかの人が答えてください。" in refused
    with leaving.database.connect("batch_platform") as platform, pytest.raises(SchemaError):
        require_deletions_repeated(platform, STATISTICS)

    request = disputed(ASKER)
    with failing(leaving.root / register_folder("U")) as folder:
        result = leaving.answer(request)
    assert leaving.problems(result) == []
    assert f"フォルダー {folder} の entry.json と entry.json.mac を消してください（" in noted(leaving, result)
    assert leaving.store.exists(f"{register_folder('U')}/{ENTRY}")
    cleared = leaving.answer(request)
    assert leaving.problems(cleared) == []
    assert "消してください" not in noted(leaving, cleared)

    assert not leaving.store.exists(f"{register_folder('U')}/{ENTRY}")
    # Somebody brings it back.
    write_entry(
        leaving.store, backups.mac_keys, RegisterEntry("U", "wrong", datetime(2026, 10, 1, tzinfo=UTC))
    )
    run, _ = backups.open()
    with leaving.database.connect("batch_platform") as platform:
        require_deletions_repeated(platform, STATISTICS)
        hold_off_deletion(platform, leaving.store, backups.mac_keys, "U")
        backups.batch().dump(Work(run, platform, store=leaving.store))
    assert not leaving.store.exists(f"{register_folder('U')}/{ENTRY}")
    with leaving.database.connect() as connection:
        assert whole(connection, "U") == rows
    (refused,) = leaving.problems(leaving.stage("dispute", "U", {"reason": "もう一度"}))
    assert "取り消せる退会の記録はありません" in refused


@pytest.mark.parametrize(
    ("offboarding_id", "keys", "is_kept"),
    [
        ("wrong", MacKeys((MAC_KEY,)), False),
        ("later", MacKeys((MAC_KEY,)), True),
        ("later", MacKeys(("of others" * 4,)), False),
    ],
    ids=["the disputed one", "a later deletion", "unproved"],
)
def test_only_the_disputed_entry_is_deleted(
    tmp_path: Path, offboarding_id: str, keys: MacKeys, *, is_kept: bool
) -> None:
    store = ObjectStore(tmp_path)
    write_entry(store, keys, RegisterEntry("U", offboarding_id, datetime(2026, 10, 1, tzinfo=UTC)))

    assert delete_entry(store, MacKeys((MAC_KEY,)), "U", "wrong") is None

    assert store.names(register_folder("U")) == ([ENTRY, f"{ENTRY}.mac"] if is_kept else [])


@pytest.mark.slow("deletes a tenant with its backups")
def test_the_next_backup_is_smaller_and_lets_the_certificate_get_its_supplement(
    backups: Backups, leaving: Leaving
) -> None:
    first = backups.newest
    assert backups.store.exists(f"{register_folder('T')}/{ENTRY}")
    (refused,) = leaving.problems(leaving.stage("supplement"))
    assert refused == f"バックアップ {first} が、まだこのテナントを含んでいます。"

    leaving.store.write(f"{register_folder('T')}/{ENTRY}", b"{}")
    # Less than half of the last one. It has what is kept of the tenant.
    second = backups.take(TODAY + timedelta(days=1))

    # The database knows better than the store what it has deleted.
    entry = read_entry(leaving.store, backups.mac_keys, tenant_folder("T"))
    assert entry is not None
    assert entry.offboarding_id == leaving.offboarding("offboarding_id")
    with backups.database.connect() as connection:
        ledger = connection.execute(
            """
            SELECT backup.status, history.backup_status, history.recovery_tested, backup.dump_bytes
            FROM batch.backup INNER JOIN "SYS_BackupHistory" AS history USING (backup_id)
            WHERE backup_id IN (%s, %s) ORDER BY backup_id
            """,
            [first, second],
        ).fetchall()
    assert [row[:3] for row in ledger] == [("verified", "SUCCESS", True)] * 2
    assert ledger[1][3] < ledger[0][3] / 2
    backups.store.delete(f"backups/{first}")
    assert leaving.stage("supplement").status == "completed"
    record = record_folder("T", leaving.offboarding("offboarding_id"))
    assert {"supplement-en.pdf", "supplement-ja.pdf"} <= set(backups.store.names(record))
    assert leaving.problems(leaving.stage("supplement", "U")) == [
        "このテナントは、この操作で削除されていません。"
    ]
