"""The revisions: upgrade from the baseline on, older code on a newer schema, and a schema that this code can neither use nor upgrade."""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.script import ScriptDirectory

from include.skillreport.core.errors import SchemaError
from include.skillreport.schema import deploy, later_indexes, revisions
from include.skillreport.schema import views as views_module
from include.skillreport.schema.checks.findings import FindingSeverity
from include.skillreport.schema.checks.report import check_database
from include.skillreport.schema.deploy import PLATFORM, attach, detach, plan, upgrade
from include.skillreport.schema.deployment_check import check_deployment
from include.skillreport.schema.host_contract import HostVariant
from include.skillreport.schema.revisions import BASELINE, BASELINE_REVISION, SCRIPTS, head_revision
from tests.airflow_installation import PROJECT
from tests.conftest import Database, wait_for_blocked_statement
from tests.schema.catalogue import relations, rows_of, snapshot
from tests.worlds.next_version import HEAD, MORE_COLUMNS, OTHER_COLUMNS, REVISION, VERSION, add_revision
from tests.worlds.planted_rows import plant

# SHA-256 of the baseline's SQL with LF line ends. Frozen since version 1.0.0: a change of the schema is a new revision.
BASELINE_SHA256 = "a73d57b97881e595d227edc2887c38d72fac69d4fe546cf97d2cc39e2e568fb0"


# From the baseline on --------------------------------------------------------------------------------------------------


@pytest.mark.slow("upgrades earlier schemas")
def test_a_database_with_rows_is_upgraded_once(database: Database, tmp_path: Path) -> None:
    with database.connect() as connection, database.connect(PLATFORM) as platform:
        planted = _plant_all(connection)
        with _next_code(tmp_path):
            with pytest.raises(SchemaError, match=f"版は {HEAD} .*{REVISION} です.*skillreport upgrade"):
                check_deployment(platform)
            (finding,) = check_database(database.dsn).findings[:1]
            assert (finding.severity, finding.code) == (FindingSeverity.REMARK, "outdated")

            upgrade(database.dsn)

            check_deployment(platform)
            expected = _with_notes(planted)
            assert _rows(connection) == expected
            assert _has_index(connection)
            schema = snapshot(connection)
            upgrade(database.dsn)
            assert snapshot(connection) == schema
            assert _rows(connection) == expected


@pytest.mark.slow("runs sessions against each other")
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
        assert _rows(connection) == _with_notes(planted)


@pytest.mark.slow("kills processes")
@pytest.mark.parametrize("phase", ["ビュー", "索引"])
def test_a_deployment_killed_between_two_phases_is_completed_by_the_next(
    database: Database, tmp_path: Path, phase: str
) -> None:
    with database.connect() as connection, database.connect(PLATFORM) as platform:
        planted = _plant_all(connection)
        with _next_code(tmp_path):
            with _killed_at(phase):
                upgrade(database.dsn)
            assert not _has_index(connection)
        # Until the views are there, older code runs as before.
        check_deployment(platform)
        with _next_code(tmp_path / "again"):
            upgrade(database.dsn)

            check_deployment(platform)
        assert _rows(connection) == _with_notes(planted)
        assert _has_index(connection)


def test_the_first_deployment_killed_before_its_views_is_completed_by_the_next(host: Database) -> None:
    with host.connect() as connection:
        with _killed_at("ビュー"):
            upgrade(host.dsn)
        assert relations(connection, "v") == []

        upgrade(host.dsn)

        check_deployment(connection)


@pytest.mark.slow("upgrades earlier schemas")
def test_an_index_whose_creation_was_interrupted_is_created_again(database: Database, tmp_path: Path) -> None:
    with database.connect() as connection, _next_code(tmp_path), ThreadPoolExecutor() as threads:
        upgrade(database.dsn)
        connection.execute("DROP INDEX batch.backup_note")
        with database.connect() as reader, reader.transaction():
            # The creation waits for the transactions that use the table.
            reader.execute("LOCK TABLE batch.backup IN ROW EXCLUSIVE MODE")
            deployer = threads.submit(upgrade, database.dsn)
            wait_for_blocked_statement(database)
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%'"
            )
            with pytest.raises(psycopg.OperationalError):
                deployer.result()
        assert connection.execute("SELECT to_regclass('batch.backup_note')").fetchone() != (None,)
        assert not _has_index(connection)

        upgrade(database.dsn)

        assert _has_index(connection)


def test_a_view_with_one_more_column_keeps_what_uses_it(database: Database, tmp_path: Path) -> None:
    with database.connect() as connection, _next_code(tmp_path):
        connection.execute("CREATE VIEW public.deployed AS SELECT revision FROM batch.board_deployment")

        upgrade(database.dsn)

        assert connection.execute("SELECT revision FROM public.deployed").fetchone() == (REVISION,)
        assert connection.execute(
            "SELECT deployed_at IS NOT null FROM batch.board_deployment"
        ).fetchone() == (True,)


def test_a_foreign_view_on_a_changed_view_is_named_and_kept(database: Database, tmp_path: Path) -> None:
    with database.connect() as connection, _next_code(tmp_path, view=OTHER_COLUMNS):
        connection.execute("CREATE VIEW public.deployed AS SELECT revision FROM batch.board_deployment")

        with pytest.raises(
            SchemaError, match=r"(view |ビュー)deployed.*(view |ビュー)batch\.board_deployment"
        ):
            upgrade(database.dsn)

        assert connection.execute("SELECT revision FROM public.deployed").fetchone() == (HEAD,)


def test_views_with_other_columns_are_created_again(database: Database, tmp_path: Path) -> None:
    with database.connect() as connection, _next_code(tmp_path, view=OTHER_COLUMNS):
        views = relations(connection, "v")

        upgrade(database.dsn)

        assert relations(connection, "v") == views
        assert connection.execute("SELECT * FROM batch.board_deployment").fetchone() == (
            False,
            "1.0.0",
            REVISION,
        )


def test_attach_leaves_a_revision_to_upgrade(database: Database, tmp_path: Path) -> None:
    with (
        _next_code(tmp_path),
        pytest.raises(SchemaError, match=f"版は {HEAD} .*{REVISION} です.*skillreport upgrade"),
    ):
        attach(database.dsn)


def test_the_plan_says_what_an_upgrade_will_do_and_changes_nothing(
    database: Database, tmp_path: Path
) -> None:
    with database.connect() as connection, database.connect(PLATFORM) as batch, batch.transaction():
        # The plan does not wait for a run.
        batch.execute("SELECT FROM batch.all_tenant")
        before = snapshot(connection)
        with _next_code(tmp_path):
            planned = "\n".join(plan(database.dsn))

        assert snapshot(connection) == before
        views = len(relations(connection, "v"))
        assert re.search(
            rf"表の変更.*: {REVISION}\nビュー.*: {views} 個.*\n作成する索引.*: backup_note", planned
        )
        assert re.search(r"表の変更.*: なし\n.*\n作成する索引.*: なし", "\n".join(plan(database.dsn)))


def test_the_plan_of_the_first_deployment(host: Database) -> None:
    planned = "\n".join(plan(host.dsn))

    assert re.search(rf"表の変更.*: {BASELINE_REVISION}、.*{HEAD}\nビュー.*: すべて作成する", planned)
    with host.connect() as connection:
        assert connection.execute("SELECT to_regnamespace('batch')").fetchone() == (None,)


# Older code on a newer schema ------------------------------------------------------------------------------------------


@pytest.mark.slow("upgrades earlier schemas")
def test_older_code_runs_on_a_schema_that_only_expanded(database: Database, tmp_path: Path) -> None:
    with _next_code(tmp_path):
        upgrade(database.dsn)

    with database.connect() as connection, database.connect(PLATFORM) as platform:
        before = snapshot(connection)
        check_deployment(platform)
        assert check_database(database.dsn).fits
        for command in (upgrade, detach, attach, plan):
            with pytest.raises(
                SchemaError, match=f"版 {REVISION} で、.*upgrade、detach、attach は新しいコードで"
            ):
                command(database.dsn)
        assert snapshot(connection) == before


def test_older_code_refuses_a_schema_that_lost_what_it_uses(database: Database, tmp_path: Path) -> None:
    # Its tables have changed, so older code must not run, although its views are still there.
    with _next_code(tmp_path, oldest_code="1.0.1"), _killed_at("ビュー"):
        upgrade(database.dsn)

    with (
        database.connect(PLATFORM) as platform,
        pytest.raises(
            SchemaError, match=r"バージョン 1\.0\.1 以降のコードのもので、このコード.*新しいコードを使って"
        ),
    ):
        check_deployment(platform)


# A schema of unreleased code -------------------------------------------------------------------------------------------


@pytest.mark.slow("upgrades earlier schemas")
@pytest.mark.parametrize("deployed", ["0001_0123456789ab", "0001", "0030"])
def test_a_schema_of_unreleased_code_is_refused(database: Database, deployed: str, tmp_path: Path) -> None:
    with database.connect() as connection:
        connection.execute("UPDATE batch.alembic_version SET version_num = %s", [deployed])
        connection.execute("UPDATE batch.deployment SET revision = %s", [deployed])

    sentence = f"公開前の別のコードが作った版 {deployed} で.*新しいデータベース.*billing.first_month.*DROP SCHEMA batch CASCADE"
    _assert_refused_everywhere(database, sentence)
    with _next_code(tmp_path):
        _assert_refused_everywhere(database, sentence)


@pytest.mark.slow("upgrades earlier schemas")
def test_the_way_out_makes_the_schema_anew(database: Database) -> None:
    with database.connect() as connection:
        schema = snapshot(connection)
        connection.execute("UPDATE batch.alembic_version SET version_num = '0030'")
        connection.execute("DROP SCHEMA batch CASCADE")

        upgrade(database.dsn)

        assert snapshot(connection) == schema
        check_deployment(connection)


# The page for developers -----------------------------------------------------------------------------------------------


def test_the_example_of_the_page_is_a_revision(database: Database, tmp_path: Path) -> None:
    page = (PROJECT / "docs" / "develop" / "schema.md").read_text(encoding="utf-8")
    example = "0042_reminders"
    number = int(HEAD[:4]) + 1
    schema = shutil.copytree(SCRIPTS, tmp_path / "schema", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in re.findall(
        r'^```\w+ title="include/skillreport/schema/([^"]+)"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL
    ):
        path = schema / name.replace(example, f"{number:04}_reminders")
        assert not path.exists()
        text = text.replace(example, path.stem).replace("0041_newest", HEAD)
        path.write_text(text, encoding="utf-8")
    with _code_in(schema), database.connect() as connection:
        upgrade(database.dsn)

        assert connection.execute("SELECT revision FROM batch.board_deployment").fetchone() == (
            f"{number:04}_reminders",
        )
        policies = connection.execute(
            "SELECT policyname FROM pg_policies WHERE tablename = 'telephone_reminder' ORDER BY policyname"
        ).fetchall()
        assert policies == [("own_tenants",), ("platform",)]


# The files -------------------------------------------------------------------------------------------------------------


def test_the_newest_revision_is_the_head_of_alembic() -> None:
    scripts = ScriptDirectory(str(SCRIPTS))
    assert scripts.get_heads() == [head_revision()]
    revisions_of_alembic = list(scripts.walk_revisions())
    assert revisions_of_alembic[-1].revision == BASELINE_REVISION
    assert [Path(script.path).stem for script in revisions_of_alembic] == [
        script.revision for script in revisions_of_alembic
    ]
    # The width of alembic_version.version_num.
    assert all(len(script.revision) <= 32 for script in revisions_of_alembic)


def test_the_baseline_is_frozen() -> None:
    """A change here cuts off each installation. Add a revision instead (docs/develop/schema.md)."""
    statements = "".join(
        (SCRIPTS / "sql" / f"{subject}.sql").read_text(encoding="utf-8") for subject in BASELINE
    )
    assert hashlib.sha256(statements.encode()).hexdigest() == BASELINE_SHA256


def test_the_baseline_has_all_files_that_belong_to_no_later_revision() -> None:
    named = {file.stem for file in (SCRIPTS / "sql").glob("*.sql") if not file.stem[:4].isdigit()}
    assert sorted(BASELINE) == sorted(named)


# -----------------------------------------------------------------------------------------------------------------------


class _KilledError(BaseException):
    """The process of a deployment ends."""


@contextmanager
def _killed_at(phase: str) -> Iterator[None]:
    """The deployment ends when it logs the beginning of this phase, as if its process were killed."""

    def kill(record: logging.LogRecord) -> bool:
        if record.msg.startswith(phase):
            raise _KilledError
        return True

    deploy.log.setLevel(logging.INFO)
    deploy.log.addFilter(kill)
    try:
        with pytest.raises(_KilledError):
            yield
    finally:
        deploy.log.removeFilter(kill)
        deploy.log.setLevel(logging.NOTSET)


@contextmanager
def _next_code(folder: Path, *, oldest_code: str = "1.0.0", view: str = MORE_COLUMNS) -> Iterator[None]:
    """The code of the next version, until the block ends."""
    scripts = shutil.copytree(SCRIPTS, folder / "next", ignore=shutil.ignore_patterns("__pycache__"))
    add_revision(scripts, view=view)
    with _code_in(scripts, oldest_code=oldest_code):
        yield


@contextmanager
def _code_in(scripts: Path, *, oldest_code: str = "1.0.0") -> Iterator[None]:
    """The code of the next version, with this copy of ``include/skillreport/schema``, until the block ends."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (revisions, deploy):
            patch.setattr(module, "SCRIPTS", scripts)
        patch.setattr(deploy, "_HERE", scripts)
        patch.setattr(views_module, "FOLDER", scripts / "host_views")
        patch.setattr(later_indexes, "FILE", scripts / later_indexes.FILE.name)
        patch.setattr(revisions, "VERSION", VERSION)
        patch.setattr(deploy, "OLDEST_CODE", oldest_code)
        yield


def _with_notes(planted: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The rows after the upgrade to ``_next_code``."""
    noted = [row | {"note": "none"} for row in planted["backup"]]
    return planted | {"backup": noted, "noted_backup": []}


def _has_index(connection: psycopg.Connection) -> bool:
    found = connection.execute(
        "SELECT FROM pg_index WHERE indexrelid = to_regclass('batch.backup_note') AND indisvalid"
    )
    return found.fetchone() is not None


def _assert_refused_everywhere(database: Database, sentence: str) -> None:
    """``upgrade``, ``attach``, ``check`` and a run say the sentence. Nothing changes."""
    commands: tuple[Callable[[str], object], ...] = (upgrade, detach, attach)
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
