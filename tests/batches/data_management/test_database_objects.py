"""Objects that a DBA adds to the database: the backup has all of them, also those that its login cannot create in another database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from include.skillreport.batches.data_backup.files import DUMP_MANIFEST
from include.skillreport.batches.data_backup.tables import list_tables
from include.skillreport.schema.checks.report import check_database
from local_stack.data_management import create_backup_login
from tests.worlds.backups import Backups, login

PASSWORD = "test-backup"
ICU = "ICU collation"

# By a part of its name in the list of an archive, with a query that finds it. Only a superuser can create these objects.
OF_SUPERUSER = {
    "EXTENSION pg_stat_statements": (
        "CREATE EXTENSION pg_stat_statements; COMMENT ON EXTENSION pg_stat_statements IS 'of the DBA'",
        "SELECT FROM pg_extension WHERE extname = 'pg_stat_statements'",
    ),
    "VIEW dba slowest": (
        "CREATE VIEW dba.slowest AS SELECT query FROM pg_stat_statements",
        "SELECT FROM pg_class WHERE relname = 'slowest'",
    ),
    "SERVER far": (
        "CREATE EXTENSION postgres_fdw;"
        " CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'far.invalid');"
        " CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (user 'u', password 'p')",
        "SELECT FROM pg_foreign_server UNION ALL SELECT FROM pg_user_mappings",
    ),
    "FOREIGN TABLE dba of_far": (
        "CREATE FOREIGN TABLE dba.of_far (id integer) SERVER far; GRANT SELECT ON dba.of_far TO pg_monitor",
        "SELECT FROM pg_foreign_table",
    ),
    "EVENT TRIGGER watch": (
        "CREATE FUNCTION dba.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        " CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION dba.watch()",
        "SELECT FROM pg_event_trigger",
    ),
    "PUBLICATION everything": (
        "CREATE PUBLICATION everything FOR ALL TABLES",
        "SELECT FROM pg_publication WHERE pubname = 'everything'",
    ),
    "PUBLICATION of_schema": (
        "CREATE PUBLICATION of_schema FOR TABLES IN SCHEMA dba",
        "SELECT FROM pg_publication WHERE pubname = 'of_schema'",
    ),
    "FUNCTION dba twin(text)": (
        "CREATE FUNCTION dba.twin(text) RETURNS text LANGUAGE internal IMMUTABLE STRICT AS 'upper'",
        "SELECT FROM pg_proc WHERE proname = 'twin'",
    ),
    "TABLE dba of_twin": (
        "CREATE TABLE dba.of_twin (id serial PRIMARY KEY, note text DEFAULT dba.twin('x'));"
        " INSERT INTO dba.of_twin DEFAULT VALUES",
        "SELECT FROM pg_class WHERE relname LIKE 'of\\_twin%'",
    ),
}

# Every owner of a database can create these objects.
ORDINARY = {
    "table": (
        "CREATE TABLE dba.plain (id integer PRIMARY KEY, note text); INSERT INTO dba.plain VALUES (1, 'a')",
        "SELECT FROM dba.plain",
    ),
    "table with an index of a function of the superuser": (
        "CREATE TABLE dba.indexed AS SELECT 'a' AS note; CREATE INDEX by_twin ON dba.indexed (dba.twin(note))",
        "SELECT FROM dba.indexed",
    ),
    "table in a tablespace": (
        "CREATE TABLE dba.elsewhere TABLESPACE {tablespace} AS SELECT 1 AS id",
        "SELECT FROM dba.elsewhere",
    ),
    "index in a tablespace": (
        "CREATE INDEX of_plain ON dba.plain (note) TABLESPACE {tablespace}",
        "SELECT FROM pg_class WHERE relname = 'of_plain'",
    ),
    "publication of one table": (
        "CREATE PUBLICATION of_one FOR TABLE dba.plain",
        "SELECT FROM pg_publication_tables WHERE pubname = 'of_one'",
    ),
    ICU: (
        "CREATE COLLATION dba.japanese (provider = icu, locale = 'ja');"
        " CREATE TABLE dba.named (name text COLLATE dba.japanese); INSERT INTO dba.named VALUES ('あ')",
        "SELECT FROM dba.named",
    ),
    "domain": (
        "CREATE DOMAIN dba.positive AS integer CHECK (value > 0)",
        "SELECT FROM pg_type WHERE typname = 'positive'",
    ),
    "materialized view": (
        "CREATE MATERIALIZED VIEW dba.kept AS SELECT count(*) FROM dba.plain",
        "SELECT FROM dba.kept",
    ),
    "generated column": (
        "CREATE TABLE dba.doubled (a integer, b integer GENERATED ALWAYS AS (a * 2) STORED);"
        " INSERT INTO dba.doubled VALUES (2)",
        "SELECT FROM dba.doubled WHERE b = 4",
    ),
    "unlogged table": (
        "CREATE UNLOGGED TABLE dba.unlogged AS SELECT 1 AS id",
        "SELECT FROM dba.unlogged",
    ),
    "partitioned table": (
        "CREATE TABLE dba.parted (day date) PARTITION BY RANGE (day);"
        " CREATE TABLE dba.parted_rest PARTITION OF dba.parted DEFAULT; INSERT INTO dba.parted VALUES ('2026-11-01')",
        "SELECT FROM dba.parted",
    ),
    "policy": (
        "ALTER TABLE dba.plain ENABLE ROW LEVEL SECURITY; CREATE POLICY everyone ON dba.plain USING (true)",
        "SELECT FROM pg_policy WHERE polname = 'everyone'",
    ),
    "key that is not valid": (
        "CREATE TABLE dba.child AS SELECT 7 AS plain_id;"
        " ALTER TABLE dba.child ADD CONSTRAINT parent FOREIGN KEY (plain_id) REFERENCES dba.plain NOT VALID",
        "SELECT FROM pg_constraint WHERE conname = 'parent' AND NOT convalidated",
    ),
    "check with now()": (
        "CREATE TABLE dba.past (at timestamptz CHECK (at <= now())); INSERT INTO dba.past VALUES (now())",
        "SELECT FROM dba.past",
    ),
    "trusted extension": (
        "CREATE EXTENSION citext; CREATE TABLE dba.mails (mail citext); INSERT INTO dba.mails VALUES ('A')",
        "SELECT FROM dba.mails WHERE mail = 'a'",
    ),
    "extended statistics": (
        "CREATE STATISTICS dba.both ON id, note FROM dba.plain",
        "SELECT FROM pg_statistic_ext WHERE stxname = 'both'",
    ),
}


class Taken:
    """A backup of a database with all these objects by a login that is no superuser, and the scratch database of its comparison."""

    def __init__(self, backups: Backups) -> None:
        run, _ = backups.open()
        backups.first_steps(run)
        sha256 = backups.recorded("dump_sha256", backups.newest)
        self.manifest = backups.packer(backups.newest).read_manifest(DUMP_MANIFEST, sha256)
        self.scratch = backups.server.connect(backups.server.scratch_database(backups.newest))
        with backups.database.connect() as host:
            rows = host.execute("SELECT step, details FROM batch.run_remark").fetchall()
        self.remarks: dict[str, dict[str, Any]] = dict(rows)
        structure = f"{backups.server.scratch_prefix}structure"
        backups.server.copy_structure(backups.root / "structure", structure)
        with backups.server.connect(structure) as copy:
            self.tables_of_structure = {each.name for each in list_tables(copy)}
        self.findings = {
            each.code: each.text for each in check_database(backups.database.dsn, backup=backups.dsn).findings
        }


@pytest.fixture(scope="module")
def taken(planted_backups: Backups, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taken]:
    folder = tmp_path_factory.mktemp("objects")
    own = f"objects_{os.urandom(4).hex()}"
    with planted_backups.copied(folder / "store", "objects") as backups:
        with backups.database.connect() as host:
            plant(host, own)
        try:
            backups.dsn = login(backups.database, own, PASSWORD)
            taken = Taken(backups)
            yield taken
            taken.scratch.close()
        finally:
            for database in backups.server.databases(backups.server.scratch_prefix):
                backups.server.drop(database)
            with backups.database.connect() as host:
                host.execute(sql.SQL("DROP SCHEMA dba CASCADE"))
                host.execute(sql.SQL("DROP TABLESPACE {}").format(sql.Identifier(own)))
                host.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(own)))
                host.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(own)))


def plant(host: psycopg.Connection, own: str) -> None:
    create_backup_login(host, {"login": own, "password": PASSWORD})
    host.execute("SET allow_in_place_tablespaces = on")
    host.execute(sql.SQL("CREATE TABLESPACE {} LOCATION ''").format(sql.Identifier(own)))
    host.execute("CREATE SCHEMA dba")
    has_icu = host.execute("SELECT FROM pg_collation WHERE collname = 'ja-x-icu'").rowcount > 0
    for name, (statement, _) in (OF_SUPERUSER | ORDINARY).items():
        if name == ICU and not has_icu:
            continue
        host.execute(sql.SQL(statement).format(tablespace=sql.Identifier(own)))
    host.execute("SELECT lo_from_bytea(0, 'x')")


@pytest.mark.slow("takes and restores whole backups")
@pytest.mark.parametrize("name", OF_SUPERUSER)
def test_the_comparison_leaves_out_and_names_objects_of_a_superuser(taken: Taken, name: str) -> None:
    assert taken.scratch.execute(OF_SUPERUSER[name][1]).rowcount == 0
    assert name in taken.manifest.about["superuser_only"]["names"]
    assert name in taken.remarks["check"]["objects"]


@pytest.mark.parametrize("name", ORDINARY)
def test_an_owners_objects_are_restored_and_compared(taken: Taken, name: str) -> None:
    if (
        name == ICU
        and not taken.scratch.execute("SELECT FROM pg_collation WHERE collname = 'ja-x-icu'").rowcount
    ):
        pytest.skip("this server has no ICU")
    assert taken.scratch.execute(ORDINARY[name][1]).rowcount == 1


def test_the_structure_for_an_export_of_a_tenant_leaves_out_the_same(taken: Taken) -> None:
    tables = taken.tables_of_structure
    assert {"plain", "parted_rest", "MST_Employee"} < tables
    assert "of_twin" not in tables


def test_check_names_objects_that_the_login_cannot_restore(taken: Taken) -> None:
    for name in ("pg_stat_statements", "postgres_fdw", "watch", "everything", "of_schema", "FUNCTION twin"):
        assert name in taken.findings["backup-left-out"]
    assert "1 件あり、バックアップにラージオブジェクトは入りません" in taken.findings["backup-large-objects"]
    places, moved = zip(*taken.remarks["dump"].pop("tablespaces"), strict=True)
    assert taken.remarks["dump"] == {"unverified": 0, "large_objects_left_out": 1}
    assert moved == ("dba.elsewhere", "dba.of_plain")
    assert len(set(places)) == 1
