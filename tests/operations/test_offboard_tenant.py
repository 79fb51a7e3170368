"""A tenant leaves: decided by two people, exported, deleted by frozen keys, and nothing of anybody else."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import timedelta
from pathlib import Path

import psycopg
import pyrage  # type: ignore[import-untyped]
import pytest

from include.skillreport.approvals import HOLD
from include.skillreport.core.execution.object_store import tenant_folder
from include.skillreport.schema.deletion import Rule, deletion_list
from tests import host_rows
from tests.batches.data_management.backups import login
from tests.conftest import Database
from tests.operations.approval_rows import text_of
from tests.operations.leaving_tenants import (
    ACCEPTED,
    AFTER_WAIT,
    APPROVER,
    ASKER,
    AT,
    BEGINNER,
    DAY,
    Leaving,
    backup_login,
    deletable,
    marked,
    plant_own,
    plant_tenant,
    whole,
)
from tests.s3_server import BUCKET, S3Server

BLANKED = {f"{table.schema}.{table.name}" for table in deletion_list() if table.rule is Rule.BLANK}
KEPT = {f"{table.schema}.{table.name}" for table in deletion_list() if table.rule is Rule.KEEP}


def skill(connection: psycopg.Connection, row_id: str, person: str, tenant_id: str) -> None:
    host_rows.insert(
        connection,
        "TRN_SkillRecord",
        id=row_id,
        employee_id=person,
        skill_item_id=row_id,
        tenant_id=tenant_id,
        created_by=person,
        updated_by=person,
        updated_at=AT,
    )


@pytest.fixture
def leaving(own_database: Database, tmp_path: Path) -> Leaving:
    """T has left, U stays. Their people stand in each other's rows."""
    with own_database.connect() as connection:
        plant_tenant(connection, "T")
        plant_tenant(connection, "U", other="T")
        plant_own(connection, "T")
        connection.execute(
            "UPDATE \"MST_Tenant\" SET status = 'ACTIVE', contract_end_date = null WHERE tenant_id = 'U'"
        )
        skill(connection, "wrong stamp", "code-T", "tenant_001")
        skill(connection, "placeholder", "emp_001", "T")
        skill(connection, "stamped T", "code-U", "T")
        skill(connection, "nobody's", "somebody", "default")
    leaving = Leaving(deletable(own_database), tmp_path / "store")
    for folder in ("reports", "notification_log", "invoices"):
        for tenant_id in ("T", "U"):
            leaving.store.write(f"{folder}/{tenant_folder(tenant_id)}/2026-10/file", b"content")
    return leaving


def skills(database: Database) -> set[str]:
    with database.connect() as connection:
        return {row for (row,) in connection.execute('SELECT id FROM "TRN_SkillRecord"') if "«" not in row}


def counts(leaving: Leaving) -> dict[str, tuple[str, int, int]]:
    with leaving.database.connect() as connection:
        rows = connection.execute("SELECT table_name, rule, exported, done FROM batch.offboarding_table")
        return {name: (rule, exported, done) for name, rule, exported, done in rows}


def test_a_tenant_goes_whole_and_nobody_elses_row_changes(leaving: Leaving) -> None:
    with leaving.database.connect() as connection:
        before = whole(connection, "U")
        assert len(marked(connection, "«T»")) > 30
    request = leaving.up_to_question()
    subject, body = text_of(leaving.database, request)
    assert subject == "退会したテナントの削除の承認: T"
    assert "| T |  | public.MST\\_Employee | 1 | 削除する | 従業員 |" in body

    done = leaving.answer(request)

    assert leaving.problems(done) == []
    assert leaving.offboarding("stage") == "deleted"
    with leaving.database.connect() as connection:
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
            "SELECT DISTINCT destination, subject, body FROM batch.outbox WHERE tenant_id = 'T'"
        ).fetchall() == [("", "", "")]
        for table in ("frozen_person", "frozen_chunk"):
            assert connection.execute(f"SELECT FROM batch.{table}").rowcount == 0
        assert connection.execute("SELECT tenant_id FROM batch.deleted_tenant").fetchall() == [("T",)]
    assert skills(leaving.database) == {"stamped T", "nobody's"}
    for name, (rule, exported, deleted) in counts(leaving).items():
        # A row without a value to blank is not counted.
        least, most = {"delete": (exported, exported), "blank": (0, exported), "keep": (0, 0)}[rule]
        assert least <= deleted <= most, name
    store = leaving.store
    assert [
        folder for folder in ("reports", "notification_log") if store.names(folder) != [tenant_folder("U")]
    ] == []
    assert len(store.names("invoices")) == 2
    assert store.names("offboarding") == []
    assert store.names(f"deleted_tenants/{tenant_folder('T')}") == [
        "certificate-en.pdf",
        "certificate-ja.pdf",
        "entry.json",
        "manifest.json",
    ]


def test_open_items_are_decided_before_a_tenant_leaves(leaving: Leaving) -> None:
    refused = leaving.stage("begin", "T", {"reason": "契約終了"})
    (problem,) = leaving.problems(refused)
    assert "片付いていないものがあります: " in problem
    assert "確定していない請求書 1 件" in problem
    active = leaving.stage("begin", "U", ACCEPTED)
    assert leaving.problems(active) == [
        "このテナントの契約は終わっていません（状態 ACTIVE）。"
        "契約の終了日が過ぎるか、状態が INACTIVE、EXPIRED、DELETED になってから始めてください。"
    ]
    assert leaving.begun().status == "completed"
    assert leaving.problems(leaving.begun()) == [f"このテナントの退会は、{BEGINNER} さんが始めています。"]


def test_the_customer_opens_a_file_without_secrets_or_our_schema(leaving: Leaving) -> None:
    leaving.begun()
    assert leaving.exported().status == "completed"
    content = leaving.store.read(f"offboarding/{tenant_folder('T')}/customer.zip.age")
    with zipfile.ZipFile(io.BytesIO(pyrage.decrypt(content, [leaving.identity]))) as archive:
        names = set(archive.namelist())
        contents = list(csv.reader(io.StringIO(archive.read("目次.csv").decode("utf-8-sig"))))
        accounts = archive.read("MST_UserAuth.csv").decode()
        everything = b"".join(archive.read(name) for name in names).decode()
    assert names == {row[0] for row in contents[1:]} | {"目次.csv"}
    assert ["MST_Employee.csv", "従業員", "1"] in contents
    assert not names & {"SYS_TokenStore.csv", "SYS_IntegrationConfig.csv"}
    assert "user_id" in accounts
    for secret in ("password_hash", "mfa_secret", "recovery_token.", "session_id", "api_key", "auth_config"):
        assert secret not in everything, secret
    assert "«U»" not in everything


def test_only_another_person_approves(leaving: Leaving) -> None:
    request = leaving.up_to_question()
    for person in (BEGINNER, ASKER):
        (problem,) = leaving.problems(leaving.answer(request, person))
        assert problem.startswith(
            f"{person} さんは、この退会を始めたか承認を依頼した人なので、承認できません。"
        )
    assert leaving.answer(request, APPROVER, HOLD).status == "completed"
    assert leaving.offboarding("stage") == "asked"
    with leaving.database.connect() as connection:
        assert connection.execute("SELECT FROM batch.frozen_chunk").rowcount == 0


def test_nobody_asks_before_the_wait_has_ended(leaving: Leaving) -> None:
    leaving.begun()
    assert leaving.problems(leaving.stage("ask", day=AFTER_WAIT)) != []
    leaving.exported()
    early = leaving.stage("ask", day=AFTER_WAIT - timedelta(days=1))
    assert leaving.problems(early) == [f"待機中です。{AFTER_WAIT} から依頼できます。"]
    assert leaving.offboarding("waits_until") == DAY + timedelta(days=90)


@pytest.mark.parametrize("stage", ["begun", "exported", "asked"])
def test_a_cancelled_tenant_stays_whole(leaving: Leaving, stage: str) -> None:
    with leaving.database.connect() as connection:
        before = whole(connection, "T")
    leaving.begun()
    if stage != "begun":
        leaving.exported()
    request = leaving.asked() if stage == "asked" else None
    assert leaving.stage("cancel", "T", {"reason": "継続するため"}).status == "completed"
    if request:
        (problem,) = leaving.problems(leaving.answer(request))
        assert problem == "この確認を出した後に、退会が取りやめられたか、もう一度依頼されました。"
    assert leaving.store.names("offboarding") == []
    with leaving.database.connect() as connection:
        now = whole(connection, "T")
    assert {
        name: rows for name, rows in now.items() if "offboarding" not in name and "approval" not in name
    } == before
    assert leaving.begun().status == "completed"


def test_a_login_of_backups_that_is_no_superuser_is_enough(leaving: Leaving) -> None:
    with backup_login(leaving.database) as name:
        leaving.dsn = login(leaving.database, name, "test-backup")
        done = leaving.answer(leaving.up_to_question())
    assert leaving.problems(done) == []
    assert leaving.offboarding("stage") == "deleted"


def test_a_bucket_keeps_no_version_of_the_tenants_files(leaving: Leaving, s3: S3Server) -> None:
    s3.client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    leaving.root = s3.path("store")
    leaving.store.write(f"reports/{tenant_folder('T')}/2026-10/file", b"content")
    leaving.begun()
    leaving.exported()
    assert leaving.stage("cancel", "T", {"reason": "継続するため"}).status == "completed"
    assert [name for name in versions(s3) if name.startswith("offboarding/")] == []

    assert leaving.problems(leaving.answer(leaving.up_to_question())) == []

    assert {name.split("/")[0] for name in versions(s3)} == {"deleted_tenants"}
    assert leaving.offboarding("remains") == []


def test_files_that_cannot_be_deleted_are_named(leaving: Leaving, s3: S3Server) -> None:
    leaving.root = s3.path("store")
    request = leaving.up_to_question()
    s3.refuses = lambda environ: environ["QUERY_STRING"].startswith("versions")
    assert leaving.problems(leaving.answer(request)) == []
    (*_, sentence) = leaving.offboarding("remains")
    assert sentence.startswith(f"s3://{BUCKET}/store/offboarding/{tenant_folder('T')}: ")


def versions(s3: S3Server) -> list[str]:
    """The names of all versions in the bucket, without the folder of the store."""
    listed = s3.client.list_object_versions(Bucket=BUCKET)
    return [
        version["Key"].removeprefix("store/")
        for kind in ("Versions", "DeleteMarkers")
        for version in listed.get(kind, [])
    ]
