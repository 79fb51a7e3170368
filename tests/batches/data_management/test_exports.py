"""A tenant's export holds every row that is its own, by column or by person, and what no export holds is named."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from include.skillreport.batches.data_backup.files import MANIFEST
from include.skillreport.batches.data_backup.tables import list_tables
from include.skillreport.batches.data_backup.tenant_export import manifest_path, restored_schema
from include.skillreport.schema.host_contract import HostVariant
from local_stack.generator import DataShape, load_demo_data
from tests.conftest import Server, copied_database
from tests.worlds import host_rows
from tests.worlds.backups import Backups

LAST_DAY = date(2026, 10, 31)


def person(host: psycopg.Connection, tenant_id: str, code: str) -> None:
    """An employee and an account as the application makes them, with a row in each table that names them."""
    host_rows.insert(
        host,
        "MST_Employee",
        id=f"emp {code}",
        employee_code=code,
        tenant_id=tenant_id,
        updated_at=host_rows.UPDATED_AT,
    )
    host_rows.insert(
        host,
        "MST_UserAuth",
        user_id=f"USER{code}",
        login_id=code,
        employee_id=code,
        updated_at=host_rows.UPDATED_AT,
    )
    own: dict[str, Any] = {"updated_at": host_rows.UPDATED_AT}
    stamped = own | {"tenant_id": "default", "created_by": code, "updated_by": code}
    host_rows.insert(host, "TRN_SkillRecord", id=f"skill {code}", employee_id=code, **stamped)
    host_rows.insert(host, "TRN_PDU", id=f"pdu {code}", employee_id=f"USER{code}", **stamped)
    host_rows.insert(host, "MST_EmployeePosition", id=f"position {code}", employee_id=f"emp {code}", **own)
    host_rows.insert(host, "MST_UserRole", id=f"role {code}", user_id=f"USER{code}", role_id="r", **own)
    host_rows.insert(host, "SYS_SkillMatrix", id=f"matrix {code}", employee_id=code, **own)
    host_rows.request(host, f"USER{code}", host_rows.UPDATED_AT)


PERSONAL = {
    "MST_Employee",
    "MST_UserAuth",
    "TRN_SkillRecord",
    "TRN_PDU",
    "MST_EmployeePosition",
    "MST_UserRole",
    "SYS_SkillMatrix",
    "SYS_SystemLog",
}


@pytest.fixture(scope="module")
def taken_exports(
    server: Server, templates: dict[HostVariant, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backups]:
    """A backup of two tenants with one person each, and of rows without a tenant."""
    with copied_database(server, templates[HostVariant.MULTI_TENANT], "taken exports") as database:
        with database.connect() as host:
            for tenant_id, code in (("A", "000010"), ("B", "000020")):
                host_rows.tenant(host, tenant_id)
                person(host, tenant_id, code)
            host_rows.tenant(host, "default-tenant")
            host_rows.insert(
                host, "MST_SkillCategory", category_code="shared", updated_at=host_rows.UPDATED_AT
            )
            stamped = {"updated_at": host_rows.UPDATED_AT, "created_by": "emp_001", "updated_by": "emp_001"}
            host_rows.insert(
                host, "TRN_PDU", id="astray", employee_id="emp_001", tenant_id="default", **stamped
            )
            host_rows.insert(host, "TRN_PDU", id="stated", employee_id="emp_001", tenant_id="B", **stamped)
            # It has the same place (ctid) as a row of the other tenant in the parent table.
            host.execute('CREATE TABLE "SYS_SystemLog_2025" () INHERITS ("SYS_SystemLog")')
            host.execute(
                """INSERT INTO "SYS_SystemLog_2025"
                   SELECT * FROM ONLY "SYS_SystemLog" WHERE user_id = 'USER000020'"""
            )
            places = host.execute('SELECT ctid, count(*) FROM "SYS_SystemLog" GROUP BY ctid').fetchall()
            assert ("(0,1)", 2) in places
        backups = Backups(database, tmp_path_factory.mktemp("exports") / "store")
        backups.take()
        yield backups


def manifest(backups: Backups, backup_id: str, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((backups.root / "backups" / backup_id / name).read_text())
    return content


def host_tables(content: dict[str, Any]) -> dict[str, int]:
    return {table["name"]: table["rows"] for table in content["tables"] if table["schema"] == "public"}


def test_rows_are_exported_by_their_person_wherever_their_column_points(taken_exports: Backups) -> None:
    backups, backup_id = taken_exports, taken_exports.newest
    a, b = (host_tables(manifest(backups, backup_id, manifest_path(tenant_id))) for tenant_id in "AB")
    assert a == dict.fromkeys({*PERSONAL, "MST_Tenant"}, 1)
    # The placeholder identifies no person, so its row belongs to B because of its column.
    # A row of an inherited table goes only to its tenant.
    assert b == {**a, "TRN_PDU": 2, "SYS_SystemLog": 2}
    assert host_tables(manifest(backups, backup_id, manifest_path("default-tenant"))) == {"MST_Tenant": 1}
    left = {each["table"]: each for each in manifest(backups, backup_id, MANIFEST)["about"]["not_per_tenant"]}
    assert (left["public.TRN_PDU"]["rows"], left["public.TRN_PDU"]["reason"]) == (
        1,
        "テナントが決まらない行（該当する従業員がいない、または存在しないテナント）",
    )
    assert left["public.MST_SkillCategory"]["rows"] == 1
    assert "共通のマスター" in left["public.MST_SkillCategory"]["reason"]


def test_a_restore_of_one_person_brings_all_rows_that_name_them(
    taken_exports: Backups, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with taken_exports.copied(tmp_path / "store", request.node.name) as backups:
        restore_one_person(backups)


def restore_one_person(backups: Backups) -> None:
    """Merge A's backup over the rows that are left of its person."""
    with backups.database.connect() as host:

        def rows(of: str) -> dict[str, list[Any]]:
            return {
                table: host.execute(
                    sql.SQL("SELECT content::text FROM {} AS content WHERE content::text LIKE %s").format(
                        sql.Identifier(table)
                    ),
                    [f"%{of}%"],
                ).fetchall()
                for table in sorted(PERSONAL)
            }

        before, others = rows("000010"), rows("000020")
        # The employee and the account are deleted first. Then the tenant of the other rows cannot be determined.
        for table, column, value in (
            ("MST_Employee", "id", "emp 000010"),
            ("MST_UserAuth", "user_id", "USER000010"),
            ("TRN_SkillRecord", "id", "skill 000010"),
            ("MST_EmployeePosition", "id", "position 000010"),
        ):
            deleted = host.execute(
                sql.SQL("DELETE FROM {} WHERE {} = %s").format(sql.Identifier(table), sql.Identifier(column)),
                [value],
            )
            assert deleted.rowcount == 1
        host.execute("UPDATE \"TRN_PDU\" SET activity_name = 'changed' WHERE id = 'pdu 000010'")

        with backups.server.connect() as connection:
            done = backups.restore_tenant(connection, backups.newest, "A", merged=True)

        conflicts = {each.name: (each.changed, each.missing, each.new) for each in done.conflicts}
        assert {name: counts for name, counts in conflicts.items() if name in PERSONAL} == {
            "MST_Employee": (0, 1, 0),
            "MST_UserAuth": (0, 1, 0),
            "TRN_SkillRecord": (0, 1, 0),
            "MST_EmployeePosition": (0, 1, 0),
            "TRN_PDU": (1, 0, 0),
        }
        assert done.merged_rows == 5
        assert (rows("000010"), rows("000020")) == (before, others)
        restored = host.execute(
            sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(restored_schema("A"), "SYS_SkillMatrix"))
        ).fetchone()
    assert restored == (1,)


@pytest.mark.slow("takes and restores whole backups")
@pytest.mark.parametrize("variant", HostVariant)
def test_every_row_is_in_one_export_or_left_out_by_name(
    server: Server, templates: dict[HostVariant, str], tmp_path: Path, variant: HostVariant
) -> None:
    shape = DataShape(
        tenants=1 if variant is HostVariant.BASE else 3,
        users_per_tenant=8,
        first_day=LAST_DAY - timedelta(days=1),
        days=2,
        requests_per_day=100,
        odd_tenants=False,
    )
    with copied_database(server, templates[variant], f"exports {variant}") as database:
        with database.connect() as host:
            load_demo_data(host, shape, variant)
            names = [table.name for table in list_tables(host) if table.schema == "public"]
            total = {
                name: host.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name))).fetchone()
                for name in names
            }
            tenant_ids = [tenant_id for (tenant_id,) in host.execute('SELECT tenant_id FROM "MST_Tenant"')]
        backups = Backups(database, tmp_path / "store")
        backup_id = backups.take()

        kept: Counter[str] = Counter()
        for tenant_id in tenant_ids:
            exported = host_tables(manifest(backups, backup_id, manifest_path(tenant_id)))
            assert {
                "MST_Employee",
                "MST_UserAuth",
                "MST_Department",
                "TRN_PDU",
                "SYS_SystemLog",
            } <= exported.keys()
            kept.update(exported)
        for each in manifest(backups, backup_id, MANIFEST)["about"]["not_per_tenant"]:
            assert each["reason"]
            schema, name = each["table"].split(".", 1)
            if schema == "public":
                kept[name] += each["rows"]
        # The backup itself adds a row to the application's history before its snapshot.
        total["SYS_BackupHistory"] = (1,)
        assert {name: (rows,) for name, rows in kept.items() if rows} == {
            name: rows for name, rows in total.items() if rows != (0,)
        }
