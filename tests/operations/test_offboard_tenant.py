"""A tenant leaves: decided by two people, exported, deleted by frozen keys, and nothing of anybody else."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyrage  # type: ignore[import-untyped]
import pytest
from psycopg import sql

from include.skillreport.approvals import APPROVE, HOLD
from include.skillreport.approvals.requests import items_of
from include.skillreport.batches.data_backup.tenant_export import restored_schema
from include.skillreport.core.errors import AnswerError
from include.skillreport.core.execution.object_store import tenant_folder
from include.skillreport.operations.answers import approved_tenants
from include.skillreport.operations.offboard_tenant.form import OPEN_ITEMS
from include.skillreport.schema.deletion import Rule, deletion_list
from include.skillreport.schema.host_contract import HostVariant
from tests.conftest import Database, Server, copied_database
from tests.operations.open_items import leave_open, settle
from tests.s3_server import BUCKET, S3Server, nothing
from tests.worlds import host_rows
from tests.worlds.approval_rows import text_of
from tests.worlds.backups import login
from tests.worlds.leaving_stages import asked, exported, leaving
from tests.worlds.leaving_tenants import (
    ACCEPTED,
    AFTER_WAIT,
    APPROVER,
    ASKER,
    AT,
    BEGINNER,
    DAY,
    Leaving,
    backup_login,
    marked,
    whole,
)

__all__ = ["asked", "exported", "leaving"]

BLANKED = {f"{table.schema}.{table.name}" for table in deletion_list() if table.rule is Rule.BLANK}
KEPT = {f"{table.schema}.{table.name}" for table in deletion_list() if table.rule is Rule.KEEP}


def skills(database: Database) -> set[str]:
    with database.connect() as connection:
        return {row for (row,) in connection.execute('SELECT id FROM "TRN_SkillRecord"') if "«" not in row}


def counts(leaving: Leaving) -> dict[str, tuple[str, int, int]]:
    with leaving.database.connect() as connection:
        rows = connection.execute("SELECT table_name, rule, exported, done FROM batch.offboarding_table")
        return {name: (rule, exported, done) for name, rule, exported, done in rows}


def restore_copies(leaving: Leaving, owner: str) -> None:
    """The login has restored T and U from a backup."""
    with leaving.database.connect() as connection:
        for tenant_id in ("T", "U"):
            schema = sql.Identifier(restored_schema(tenant_id))
            connection.execute(
                sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(schema, sql.Identifier(owner))
            )
            connection.execute(sql.SQL('CREATE TABLE {}."MST_Employee" (id text)').format(schema))


def restored_copies(leaving: Leaving) -> list[str]:
    with leaving.database.connect() as connection:
        rows = connection.execute("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'restored_')")
        return [schema for (schema,) in rows]


def test_a_tenant_goes_whole_and_nobody_elses_row_changes(asked: Leaving) -> None:
    """A login of backups that is no superuser is enough."""
    with asked.database.connect() as connection:
        before = whole(connection, "U")
        assert len(marked(connection, "«T»")) > 30
    subject, body = text_of(asked.database, asked.request)
    assert subject == "退会したテナントの削除の承認: T"
    assert "| T |  | public.MST\\_Employee | 1 | 削除する | 従業員 |" in body

    with backup_login(asked.database) as name:
        asked.dsn = login(asked.database, name, "test-backup")
        restore_copies(asked, name)
        again = asked.asked()
        done = asked.answer(again)
        assert restored_copies(asked) == [restored_schema("U")]

    assert asked.problems(done) == []
    assert (asked.offboarding("stage"), asked.offboarding("remains")) == ("deleted", [])
    with asked.database.connect() as connection:
        assert whole(connection, "U") == before
        left = marked(connection, "«T»")
        assert left.keys() - BLANKED - KEPT == set()
        for table in ("MST_Employee", "MST_UserAuth", "TRN_SkillRecord", "SYS_SystemLog"):
            assert f"public.{table}" not in left
        assert connection.execute(
            "SELECT tenant_name, status, admin_email FROM \"MST_Tenant\" WHERE tenant_id = 'T'"
        ).fetchone() == ("退会済みテナント", "deleted", None)
        assert connection.execute(
            "SELECT old_values, ip_address, user_id FROM \"HIS_AuditLog\" WHERE user_id = 'u-T'"
        ).fetchone() == (None, None, "u-T")
        assert connection.execute(
            """
            SELECT status, finished_at IS NOT null, destination, subject, body FROM batch.outbox
            WHERE tenant_id = 'T'
            """
        ).fetchall() == [("discarded", True, "", "", "")]
        for table in ("frozen_person", "frozen_chunk"):
            assert connection.execute(f"SELECT FROM batch.{table}").rowcount == 0
        assert connection.execute("SELECT tenant_id FROM batch.deleted_tenant").fetchall() == [("T",)]
    assert skills(asked.database) == {"stamped T", "nobody's"}
    for name, (rule, found, deleted) in counts(asked).items():
        # A row without a value to blank is not counted.
        least, most = {"delete": (found, found), "blank": (0, found), "keep": (0, 0)}[rule]
        assert least <= deleted <= most, name
    store = asked.store
    assert [
        folder
        for folder in ("reports", "notification_log", "deleted_rows")
        if store.names(folder) != [tenant_folder("U")]
    ] == []
    assert len(store.names("invoices")) == 2
    assert store.names("offboarding") == []
    record = f"deleted_tenants/{tenant_folder('T')}/{asked.offboarding('offboarding_id')}"
    assert store.names(record) == [
        "certificate-en.pdf",
        "certificate-ja.pdf",
        f"manifest-{asked.offboarding('asked_in')}.json",
    ]
    assert store.exists(f"deleted_tenants/{tenant_folder('T')}/entry.json")


def test_open_items_are_decided_before_a_tenant_leaves(leaving: Leaving) -> None:
    refused = leaving.stage("begin", "T", {"reason": "契約終了"})
    (problem,) = leaving.problems(refused)
    assert "片付いていないものがあります: " in problem
    assert "確定していない請求書 1 件" in problem
    active = leaving.stage("begin", "U", ACCEPTED)
    assert leaving.problems(active) == [
        "このテナントの契約は終わっていません（状態 ACTIVE）。"
        "契約の終了日が過ぎるか、状態が INACTIVE、EXPIRED、DELETED になってから行ってください。"
    ]
    assert leaving.begun().status == "completed"
    assert leaving.problems(leaving.begun()) == [f"このテナントの退会は、{BEGINNER} さんが始めています。"]


@pytest.fixture
def small(
    server: Server,
    deletable_templates: dict[HostVariant, Database],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Leaving]:
    """T has left, with rows in few tables."""
    template = deletable_templates[HostVariant.MULTI_TENANT]
    with copied_database(server, template.name, request.node.name) as database:
        with database.connect() as connection:
            host_rows.tenant(connection, "T", status="INACTIVE", contract_end_date=AT)
            host_rows.user(connection, "T", "t")
        yield Leaving(database, tmp_path / "store")


@pytest.fixture
def settled(small: Leaving) -> Leaving:
    """T has nothing open, but rows of each kind. U has everything open."""
    with small.database.connect() as connection:
        settle(connection)
    return small


@pytest.mark.parametrize("item", OPEN_ITEMS)
def test_each_open_item_is_accepted_by_its_own_field(settled: Leaving, item: str) -> None:
    with settled.database.connect() as connection:
        leave_open(connection, item)
    others = dict.fromkeys(OPEN_ITEMS.keys() - {item}, True)

    refused = settled.stage("begin", "T", {"reason": "契約終了", **others})

    assert settled.problems(refused) == [
        f"片付いていないものがあります: {OPEN_ITEMS[item]} 2 件。"
        "片付けるか、フォームで「承知」を選んでから、もう一度始めてください。"
    ]
    assert settled.stage("begin", "T", {"reason": "契約終了", item: True}).status == "completed"
    assert settled.offboarding("open_items") == dict.fromkeys(OPEN_ITEMS, 0) | {item: 2}


def test_the_customer_opens_a_file_without_secrets_or_our_schema(exported_stage: Leaving) -> None:
    content = exported_stage.store.read(f"offboarding/{tenant_folder('T')}/customer.zip.age")
    with zipfile.ZipFile(io.BytesIO(pyrage.decrypt(content, [exported_stage.identity]))) as archive:
        names = set(archive.namelist())
        contents = list(csv.reader(io.StringIO(archive.read("目次.csv").decode("utf-8-sig"))))
        accounts = archive.read("MST_UserAuth.csv").decode("utf-8-sig")
        everything = b"".join(archive.read(name) for name in names if name != "目次.csv").decode()
    assert names == {row[0] for row in contents[1:] if row[3] != "すべて"} | {"目次.csv"}
    assert ["MST_Employee.csv", "従業員", "1", ""] in contents
    assert ["（SYS_TokenStore.csv）", "ログインの鍵", "1", "すべて"] in contents
    assert ["HIS_AuditLog.csv", "new_values、old_values、session_id"] in [
        [row[0], row[3]] for row in contents
    ]
    assert not names & {"SYS_TokenStore.csv", "SYS_IntegrationConfig.csv"}
    assert "user_id" in accounts
    for secret in ("password_hash", "mfa_secret", "recovery_token.", "session_id", "api_key", "auth_config"):
        assert secret not in everything, secret
    assert "«U»" not in everything


def renewed(leaving: Leaving, status: str, end: object) -> None:
    with leaving.database.connect() as connection:
        connection.execute(
            "UPDATE \"MST_Tenant\" SET status = %s, contract_end_date = %s WHERE tenant_id = 'T'",
            [status, end],
        )


def test_a_tenant_that_returns_during_the_wait_is_not_deleted(asked: Leaving) -> None:
    with asked.database.connect() as connection:
        before = whole(connection, "T")
    renewed(asked, "ACTIVE", None)
    for problems in (
        asked.problems(asked.stage("ask", day=AFTER_WAIT)),
        asked.problems(asked.answer(asked.request)),
    ):
        assert "契約は終わっていません（状態 ACTIVE）" in problems[0]
    # The contract has ended, and people still log in.
    renewed(asked, "ACTIVE", AT)
    (problem,) = asked.problems(asked.stage("ask", day=AFTER_WAIT))
    assert problem.startswith("このテナントの状態は ACTIVE なので、利用者とバッチが行を増やします。")
    renewed(asked, "INACTIVE", AT)
    with asked.database.connect() as connection:
        assert whole(connection, "T") == before
    assert asked.asked().request_id != asked.request.request_id


@pytest.mark.slow("deletes a tenant with its backups")
def test_another_key_is_given_without_another_wait(asked: Leaving) -> None:
    asked.identity = pyrage.x25519.Identity.generate()
    assert asked.exported().status == "completed"
    content = asked.store.read(f"offboarding/{tenant_folder('T')}/customer.zip.age")
    assert pyrage.decrypt(content, [asked.identity])
    (problem,) = asked.problems(asked.answer(asked.request))
    assert problem.startswith("この承認依頼を出した後に、")
    assert asked.offboarding("waits_until") == AFTER_WAIT
    assert asked.problems(asked.answer(asked.asked())) == []


def test_two_tenants_with_one_code_are_told_apart_by_their_ids(asked_stage: Leaving) -> None:
    with asked_stage.database.connect() as connection:
        items = items_of(connection, asked_stage.request.request_id)
    other = replace(items[0], tenant_id="T2", tenant_code="T", item_id="2")
    with pytest.raises(AnswerError, match="複数あります。テナント ID で指定してください: T、T2"):
        approved_tenants([*items, other], APPROVE, [items[0].tenant_code])
    assert approved_tenants([*items, other], APPROVE, ["T2"]) == {"T2"}


def test_only_another_person_approves(asked: Leaving) -> None:
    for person in (BEGINNER, ASKER):
        (problem,) = asked.problems(asked.answer(asked.request, person))
        assert problem.startswith(
            f"{person} さんは、この退会を始めたか承認を依頼した人なので、承認できません。"
        )
    assert asked.answer(asked.request, APPROVER, HOLD).status == "completed"
    assert asked.offboarding("stage") == "asked"
    with asked.database.connect() as connection:
        assert connection.execute("SELECT FROM batch.frozen_chunk").rowcount == 0


def test_nobody_asks_before_the_wait_has_ended(leaving: Leaving, exported: Leaving) -> None:
    leaving.begun()
    assert leaving.problems(leaving.stage("ask", day=AFTER_WAIT)) != []
    early = exported.stage("ask", day=AFTER_WAIT - timedelta(days=1))
    assert exported.problems(early) == [f"待機中です。{AFTER_WAIT} から依頼できます。"]
    assert exported.offboarding("waits_until") == DAY + timedelta(days=90)


@pytest.mark.parametrize("stage", ["leaving", "exported", "asked"])
def test_a_cancelled_tenant_stays_whole(
    stage: str, planted_stage: Leaving, request: pytest.FixtureRequest
) -> None:
    with planted_stage.database.connect() as connection:
        before = whole(connection, "T")
    leaving: Leaving = request.getfixturevalue(stage)
    if stage == "leaving":
        leaving.begun()
    assert leaving.stage("cancel", "T", {"reason": "継続するため"}).status == "completed"
    if leaving.question:
        (problem,) = leaving.problems(leaving.answer(leaving.question))
        assert problem == "この承認依頼を出した後に、退会が取りやめられたか、もう一度依頼されました。"
    assert leaving.store.names("offboarding") == []
    with leaving.database.connect() as connection:
        assert whole(connection, "T") == before
    assert leaving.begun().status == "completed"


@pytest.fixture
def in_bucket(small: Leaving, s3: S3Server) -> Leaving:
    """The store is in a bucket, with several files of each table that has rows."""
    return replace(small, root=s3.path("store"))


@pytest.mark.slow("deletes a tenant with its backups")
def test_a_bucket_keeps_no_version_of_the_tenants_files_or_names_them(
    in_bucket: Leaving, s3: S3Server
) -> None:
    s3.client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    own = tenant_folder("T")
    for folder in ("offboarding", "reports", "notification_log"):
        in_bucket.store.write(f"{folder}/{own}/2026-10/file", b"content")
    in_bucket.begun()
    assert in_bucket.stage("cancel", "T", {"reason": "継続するため"}).status == "completed"
    assert folders_of_versions(s3) == {"reports", "notification_log"}

    request = in_bucket.up_to_question()
    s3.refuses = lambda environ: (
        environ["QUERY_STRING"].startswith("versions") and "reports" in environ["QUERY_STRING"]
    )
    assert in_bucket.problems(in_bucket.answer(request)) == []

    s3.refuses = nothing
    assert folders_of_versions(s3) == {"deleted_tenants", "reports"}
    (sentence,) = in_bucket.offboarding("remains")
    assert sentence.startswith(f"s3://{BUCKET}/store/reports/{own}: ")


def folders_of_versions(s3: S3Server) -> set[str]:
    """The folders with versions in the bucket, below that of the store."""
    listed = s3.client.list_object_versions(Bucket=BUCKET)
    return {
        version["Key"].split("/")[1]
        for kind in ("Versions", "DeleteMarkers")
        for version in listed.get(kind, [])
    }
