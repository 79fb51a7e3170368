"""The revisions: an upgrade from the baseline on, and the sentence about a schema that this code neither made nor can upgrade."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.script import ScriptDirectory

from include.skillreport.core.errors import SchemaError
from include.skillreport.schema import deploy, revisions
from include.skillreport.schema.checks.findings import FindingSeverity
from include.skillreport.schema.checks.report import check_database
from include.skillreport.schema.deploy import PLATFORM, attach, upgrade
from include.skillreport.schema.deployment_check import check_deployment
from include.skillreport.schema.host_contract import HostVariant
from include.skillreport.schema.revisions import BASELINE, SCRIPTS, baseline_revision, head_revision
from tests.conftest import Database, wait_for_blocked_statement
from tests.schema.catalogue import relations, rows_of, snapshot
from tests.worlds.planted_rows import plant

NEXT = "0002_notes"
_NEXT_SQL = """
ALTER TABLE batch.backup ADD COLUMN note text NOT NULL DEFAULT 'none';
ALTER TABLE batch.backup ALTER COLUMN note DROP DEFAULT;
"""


# From the baseline on --------------------------------------------------------------------------------------------------


def test_a_database_with_rows_is_upgraded_once(database: Database, tmp_path: Path) -> None:
    with database.connect() as connection, database.connect(PLATFORM) as platform:
        planted = _plant_all(connection)
        with _next_code(tmp_path):
            with pytest.raises(
                SchemaError, match=f"版は {baseline_revision()} .*{NEXT} です.*skillreport upgrade"
            ):
                check_deployment(platform)
            (finding,) = check_database(database.dsn).findings[:1]
            assert (finding.severity, finding.code) == (FindingSeverity.REMARK, "outdated")

            upgrade(database.dsn)

            check_deployment(platform)
            expected = planted | {"backup": [row | {"note": "none"} for row in planted["backup"]]}
            assert _rows(connection) == expected
            schema = snapshot(connection)
            upgrade(database.dsn)
            assert snapshot(connection) == schema
            assert _rows(connection) == expected


def test_two_deployers_at_once_upgrade_a_database_with_rows_once(database: Database, tmp_path: Path) -> None:
    with database.connect() as connection, _next_code(tmp_path), ThreadPoolExecutor() as threads:
        planted = _plant_all(connection)
        together = threading.Barrier(2)

        def run() -> HostVariant:
            together.wait()
            return upgrade(database.dsn)

        # Both wait for a run that reads, one of them for the other deployer.
        with database.connect(PLATFORM) as batch, batch.transaction():
            batch.execute("SELECT FROM batch.all_tenant")
            deployers = [threads.submit(run) for _ in range(2)]
            wait_for_blocked_statement(database)
        assert [deployer.result() for deployer in deployers] == [HostVariant.MULTI_TENANT] * 2

        check_deployment(connection)
        assert _rows(connection) == planted | {
            "backup": [row | {"note": "none"} for row in planted["backup"]]
        }


def test_code_of_the_baseline_refuses_a_schema_that_newer_code_made(
    database: Database, tmp_path: Path
) -> None:
    with _next_code(tmp_path):
        upgrade(database.dsn)

    _assert_refused_everywhere(
        database, f"版 {NEXT} で、このコードの版 {head_revision()} では.*新しいコードを使って"
    )


def test_attach_leaves_a_revision_to_upgrade(database: Database, tmp_path: Path) -> None:
    with (
        _next_code(tmp_path),
        pytest.raises(SchemaError, match=f"版は {baseline_revision()} .*{NEXT} です.*skillreport upgrade"),
    ):
        attach(database.dsn)


# Another baseline ------------------------------------------------------------------------------------------------------


def test_a_schema_of_another_state_of_the_baseline_is_refused(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed = baseline_revision()
    changed = shutil.copytree(SCRIPTS / "sql", tmp_path / "sql")
    with (changed / "backups.sql").open("a", encoding="utf-8") as file:
        file.write("COMMENT ON COLUMN batch.backup.location IS 'Where its files are';\n")
    monkeypatch.setattr(revisions, "_SQL", changed)

    assert head_revision() != deployed
    _assert_refused_everywhere(
        database, f"版 {deployed} で、このコードの版 {head_revision()} には.*DROP SCHEMA batch CASCADE"
    )


@pytest.mark.parametrize(("deployed", "has_next"), [("0001", True), ("0030", False)])
def test_a_schema_of_a_revision_from_before_the_baseline_is_refused(
    database: Database, deployed: str, tmp_path: Path, *, has_next: bool
) -> None:
    with database.connect() as connection:
        connection.execute("UPDATE batch.alembic_version SET version_num = %s", [deployed])
        connection.execute("UPDATE batch.deployment SET revision = %s", [deployed])

    sentence = f"公開前の別のコードが作った版 {deployed} で.*新しいデータベース.*billing.first_month.*DROP SCHEMA batch CASCADE"
    with _next_code(tmp_path) if has_next else nullcontext():
        _assert_refused_everywhere(database, sentence)


def test_the_way_out_makes_the_schema_anew(database: Database) -> None:
    with database.connect() as connection:
        schema = snapshot(connection)
        connection.execute("UPDATE batch.alembic_version SET version_num = '0030'")
        connection.execute("DROP SCHEMA batch CASCADE")

        upgrade(database.dsn)

        assert snapshot(connection) == schema
        check_deployment(connection)


def test_line_ends_do_not_change_the_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed = baseline_revision()
    for file in (SCRIPTS / "sql").glob("*.sql"):
        (tmp_path / file.name).write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    monkeypatch.setattr(revisions, "_SQL", tmp_path)

    assert baseline_revision() == deployed


# The files -------------------------------------------------------------------------------------------------------------


def test_the_newest_revision_is_the_head_of_alembic() -> None:
    scripts = ScriptDirectory(str(SCRIPTS))
    assert scripts.get_heads() == [head_revision()]
    *later, baseline = scripts.walk_revisions()
    assert baseline.revision == baseline_revision()
    assert re.fullmatch("0001_[0-9a-f]{12}", baseline.revision)
    assert [Path(script.path).stem for script in later] == [script.revision for script in later]
    assert all(len(script.revision) <= 32 for script in later)  # the width of alembic_version.version_num


def test_the_baseline_has_all_files_that_belong_to_no_later_revision() -> None:
    named = {file.stem for file in (SCRIPTS / "sql").glob("*.sql") if not file.stem[:4].isdigit()}
    assert sorted(BASELINE) == sorted(named)


# -----------------------------------------------------------------------------------------------------------------------


@contextmanager
def _next_code(folder: Path) -> Iterator[None]:
    """The code of a later version, until the block ends: it has a second revision."""
    scripts = shutil.copytree(SCRIPTS, folder / "next", ignore=shutil.ignore_patterns("__pycache__"))
    statements = scripts / "sql" / f"{NEXT}.sql"
    statements.write_text(_NEXT_SQL, encoding="utf-8")
    (scripts / "versions" / f"{NEXT}.py").write_text(
        f'''"""Notes about backups."""

from include.skillreport.schema.deploy import run_sql_file

revision = "{NEXT}"
down_revision = "{baseline_revision()}"


def upgrade() -> None:
    run_sql_file({str(statements)!r})
''',
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        for module in (revisions, deploy):
            patch.setattr(module, "SCRIPTS", scripts)
        yield


def _assert_refused_everywhere(database: Database, sentence: str) -> None:
    """``upgrade``, ``attach``, ``check`` and a run say the sentence. Nothing changes."""
    commands: tuple[Callable[[str], object], ...] = (upgrade, attach)
    with database.connect() as connection, database.connect(PLATFORM) as platform:
        before = snapshot(connection)
        for command in commands:
            with pytest.raises(SchemaError, match=sentence):
                command(database.dsn)
        with pytest.raises(SchemaError, match=sentence):
            check_deployment(platform)
        assert snapshot(connection) == before
    report = check_database(database.dsn)
    assert not report.fits
    finding = report.findings[0]
    assert (finding.severity, finding.code) == (FindingSeverity.ERROR, "other-revision")
    assert re.search(sentence, finding.text)


def _plant_all(connection: psycopg.Connection) -> dict[str, list[Any]]:
    """A row of each tenant in each table of the batches; returns all rows."""
    for table in _tables(connection):
        for tenant_id in ("A", "B"):
            plant(connection, table, tenant_id)
    planted = _rows(connection)
    assert all(planted.values())
    return planted


def _rows(connection: psycopg.Connection) -> dict[str, list[Any]]:
    return {table: rows_of(connection, table) for table in _tables(connection)}


def _tables(connection: psycopg.Connection) -> list[str]:
    return [name for name in relations(connection, "r") if name not in ("alembic_version", "deployment")]
