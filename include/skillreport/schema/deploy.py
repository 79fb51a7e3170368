"""Deploy roles, schema ``batch`` and views to a database, in phases that can be run again after a kill.

=======  ================================================================================================================================
phase    what it does
=======  ================================================================================================================================
tables   in one transaction: roles, schema, and the revisions that the database lacks (tables, functions, policies)
views    in one transaction: privileges on the application's tables, and all views
indexes  outside of a transaction: indexes of later versions, without blocking writes
=======  ================================================================================================================================

A statement waits at most ``_LOCK_SECONDS`` for a lock. ``detach`` only drops the views, because PostgreSQL cannot alter a column that a
view uses. ``attach`` is the phase of the views. Concurrent deployments run one after the other. There are no downgrades: an older version
uses a newer schema if it fits (``revisions.OLDEST_CODE``).

The deploying role need not be a superuser. It owns the host's tables (or holds their privileges with grant option) and may CREATE in the
database. It has CREATEROLE if the batch roles do not exist. If another role created them, it is a member of ``batch_owner``. To set
passwords, it then also needs the ADMIN option on the other roles (from PostgreSQL 16 on).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psycopg
import sqlalchemy
from alembic import command, op
from alembic.config import Config
from psycopg import errors

from include.skillreport.core.errors import SchemaError, reason_of
from include.skillreport.schema.channels import record_channels
from include.skillreport.schema.checks.findings import refuse
from include.skillreport.schema.checks.host import count_tenants, find_several_tenants
from include.skillreport.schema.checks.lock_waits import lock_waits_named
from include.skillreport.schema.checks.privileges import BOARD as BOARD
from include.skillreport.schema.checks.privileges import CLEANUP as CLEANUP
from include.skillreport.schema.checks.privileges import OWNER as OWNER
from include.skillreport.schema.checks.privileges import PLATFORM as PLATFORM
from include.skillreport.schema.checks.privileges import ROLES as ROLES
from include.skillreport.schema.checks.privileges import TENANT as TENANT
from include.skillreport.schema.checks.sessions import direct_connection, find_read_only_login
from include.skillreport.schema.deletion import is_with_deletion, require_all_listed
from include.skillreport.schema.host_contract import HostVariant, check_host
from include.skillreport.schema.host_indexes.listing import record_present
from include.skillreport.schema.later_indexes import build_index, missing_indexes
from include.skillreport.schema.revisions import (
    OLDEST_CODE,
    SCRIPTS,
    UPGRADE_HINT,
    find_undeployable_revision,
    head_revision,
    revisions_after,
)
from include.skillreport.schema.roles import (
    create_roles,
    grant_host_tables,
    join_owner,
    missing_privilege,
    missing_roles,
)
from include.skillreport.schema.views import drop_views, existing_views, replace_views

log = logging.getLogger(__name__)

_HERE = Path(__file__).parent

# An arbitrary number.
_DEPLOY_LOCK = 7_018_019
_LOCK_SECONDS = 60.0
_POLL_SECONDS = 0.1
_OCCUPIED = "別のデプロイが {:g} 秒以上続いています。終わってからやり直してください。"
_VIEWS = "ビューの配置"

# Neon rejects a SCRAM hash at commit ("Neon only supports being given plaintext passwords"). credcheck rejects it at once ("password type
# is not a plain text").
_REFUSED_HASH = re.compile("plain ?text", re.IGNORECASE)


def upgrade(
    dsn: str,
    *,
    passwords: Mapping[str, str] | None = None,
    plain_passwords: bool = False,
    with_deletion: bool | None = None,
) -> HostVariant:
    """Deploy to the database of ``dsn``, as a role that owns the host's tables and may create roles.

    ``passwords`` (by role) lets ``batch_tenant``, ``batch_platform``, ``batch_board`` and ``batch_cleanup`` log in. Without it, grant these
    roles to existing logins. ``plain_passwords`` sends passwords as plain text instead of SCRAM hashes. ``with_deletion``: the batches may
    delete application rows; None: keep the last choice. Logs each phase and each index as it begins.
    :returns: the host's variant. :raises SchemaError: the host or the deploying role is not suitable, or a lock was not free in time. The
        failed phase has changed nothing; the phases before it stay, and the next ``upgrade`` goes on after them.
    """
    with _deployment(dsn) as driver:
        with _phase(driver, dsn, "ロールと表の配置"), _migration(driver) as connection:
            variant = _check_host(driver)
            log.info("ロールと表を配置しています。")
            given = passwords or {}
            create_roles(driver, ROLES, given, plain_passwords=plain_passwords)
            join_owner(driver)
            deletes = _stored_choice(driver) if with_deletion is None else with_deletion
            if deletes:
                create_roles(driver, (CLEANUP,), given, plain_passwords=plain_passwords)
            # The next phase grants them together with the views. This attempt finds a missing privilege before a table changes.
            with driver.transaction(force_rollback=True):
                grant_host_tables(driver, variant, deletes=deletes)
            driver.execute("CREATE SCHEMA IF NOT EXISTS batch AUTHORIZATION batch_owner")
            driver.execute("SET LOCAL ROLE batch_owner")
            refuse(filter(None, [find_undeployable_revision(_deployed_revision(driver))]))
            _migrate(connection)
            driver.execute("UPDATE batch.deployment SET oldest_code = %s", [OLDEST_CODE])
            if with_deletion:
                require_all_listed(driver)
        log.info("ビューを配置しています。")
        with _phase(driver, dsn, _VIEWS), driver.transaction():
            _deploy_views(driver, variant, deletes=deletes)
        driver.autocommit = True
        driver.execute("SET ROLE batch_owner")
        for index in missing_indexes(driver):
            log.info("索引 %s を作成しています（表への書き込みは止まりません）。", index.name)
            with _phase(driver, dsn, f"索引 {index.name} の作成"):
                build_index(driver, index)
        return variant


def detach(dsn: str) -> None:
    """Drop the views of schema ``batch``, so that the host can alter its tables. Tables and rows stay. Runs do not start.

    :raises SchemaError: there is no schema ``batch``, newer code has deployed it, or an outside object depends on a view; nothing has
        changed.
    """
    with _deployment(dsn) as driver, _phase(driver, dsn, "ビューの削除"), driver.transaction():
        _require_schema(driver)
        driver.execute("SET LOCAL ROLE batch_owner")
        # Only the code that can create the views again may drop them.
        refuse(filter(None, [find_undeployable_revision(_deployed_revision(driver))]))
        drop_views(driver)


def attach(dsn: str) -> HostVariant:
    """Create the views again with their privileges, after the same host check as ``upgrade``.

    :returns: the host's variant. :raises SchemaError: the host is not suitable, or ``upgrade`` must run; nothing has changed.
    """
    with _deployment(dsn) as driver, _phase(driver, dsn, _VIEWS), driver.transaction():
        _require_schema(driver)
        variant = _check_host(driver)
        deletes = _stored_choice(driver)
        driver.execute("SET LOCAL ROLE batch_owner")
        other = find_undeployable_revision(_deployed_revision(driver))
        if other:
            raise SchemaError(other.text)
        driver.execute("RESET ROLE")
        _deploy_views(driver, variant, deletes=deletes)
        return variant


def plan(dsn: str) -> list[str]:
    """What ``upgrade`` would do, as Japanese sentences, after the same checks of the host. Changes nothing, and waits for no batch.

    :raises SchemaError: the host is not suitable, or the schema belongs to other code.
    """
    with _session(dsn) as driver:
        variant = _check_host(driver)
        roles = missing_roles(driver, ROLES)
        if not roles:
            driver.execute("SET LOCAL ROLE batch_owner")
        deployed = _deployed_revision(driver)
        refuse(filter(None, [find_undeployable_revision(deployed)]))
        revisions = revisions_after(deployed)
        views = len(existing_views(driver))
        indexes = [index.name for index in missing_indexes(driver)]
        return [
            f"アプリケーションの型: {variant}",
            f"作成するロール: {'、'.join(roles) or 'なし'}",
            f"表の変更（1 つのトランザクション）: {'、'.join(revisions) or 'なし'}",
            f"ビュー（1 つのトランザクション）: {f'{views} 個を置き換える' if views else 'すべて作成する'}",
            f"作成する索引（書き込みを止めない）: {'、'.join(indexes) or 'なし'}",
        ]


def run_sql_file(relative_path: str) -> None:
    """Run a migration's SQL file, for the files under ``versions/``."""
    statements = (_HERE / relative_path).read_text(encoding="utf-8")
    # Not SQLAlchemy's text(), which reads every ':name' as a parameter.
    op.get_bind().connection.cursor().execute(statements)


@contextmanager
def _session(dsn: str) -> Iterator[psycopg.Connection]:
    """A session of the deploying role, outside of a transaction."""
    with direct_connection(dsn, lock_timeout=f"{1000 * _LOCK_SECONDS:.0f}ms") as driver:
        try:
            yield driver
        except (psycopg.Error, sqlalchemy.exc.DBAPIError) as error:
            # SQLAlchemy wraps the errors of Alembic's own statements.
            raise _explained(getattr(error, "orig", error), driver.info.user) from None


@contextmanager
def _deployment(dsn: str) -> Iterator[psycopg.Connection]:
    """Such a session with the deployment lock."""
    with _session(dsn) as driver:
        with driver.transaction():
            refuse(find_read_only_login(driver))
            # The views name the host's tables without their schema.
            driver.execute("SELECT set_config('search_path', 'public', false)")
        _wait_for_other_deployments(driver)
        yield driver


def _wait_for_other_deployments(driver: psycopg.Connection) -> None:
    """Take the deployment lock. Without a waiting statement: CREATE INDEX CONCURRENTLY of the other deployment would wait for it."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        with driver.transaction():
            if driver.execute("SELECT pg_try_advisory_lock(%s)", [_DEPLOY_LOCK]).fetchone() == (True,):
                return
        if time.monotonic() > deadline:
            raise SchemaError(_OCCUPIED.format(_LOCK_SECONDS))
        time.sleep(_POLL_SECONDS)


def _phase(driver: psycopg.Connection, dsn: str, name: str) -> AbstractContextManager[None]:
    return lock_waits_named(driver, dsn, name, _LOCK_SECONDS)


@contextmanager
def _migration(driver: psycopg.Connection) -> Iterator[sqlalchemy.Connection]:
    """One transaction of the session for SQLAlchemy and for the driver. The session stays open after it."""
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: driver, poolclass=sqlalchemy.StaticPool
    )
    with engine.begin() as connection:
        yield connection


def _check_host(driver: psycopg.Connection) -> HostVariant:
    variant = check_host(driver)
    if variant is HostVariant.BASE:
        refuse(find_several_tenants(count_tenants(driver), variant))
    return variant


def _require_schema(driver: psycopg.Connection) -> None:
    if driver.execute("SELECT to_regnamespace('batch')").fetchone() == (None,):
        raise SchemaError(f"このデータベースにスキーマ batch がありません。{UPGRADE_HINT}。")


def _deployed_revision(driver: psycopg.Connection) -> str | None:
    """The revision of the tables; None without a schema."""
    if driver.execute("SELECT to_regclass('batch.alembic_version')").fetchone() == (None,):
        return None
    deployed = driver.execute("SELECT version_num FROM batch.alembic_version").fetchone()
    return deployed[0] if deployed else None


def _stored_choice(driver: psycopg.Connection) -> bool:
    """The choice of the last deployment. Ends as the deploying role."""
    driver.execute("SET LOCAL ROLE batch_owner")
    stored = is_with_deletion(driver)
    driver.execute("RESET ROLE")
    return stored


def _migrate(connection: sqlalchemy.Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _deploy_views(driver: psycopg.Connection, variant: HostVariant, *, deletes: bool) -> None:
    grant_host_tables(driver, variant, deletes=deletes)
    driver.execute("SET LOCAL ROLE batch_owner")
    record_channels(driver)
    replace_views(driver, variant, deletes=deletes)
    driver.execute(
        """
        INSERT INTO batch.deployment (host_variant, revision, oldest_code, deployed_at, with_deletion)
        VALUES (%s, %s, %s, now(), %s)
        ON CONFLICT (singleton) DO UPDATE SET
            host_variant = excluded.host_variant, revision = excluded.revision, oldest_code = excluded.oldest_code,
            deployed_at = excluded.deployed_at, with_deletion = excluded.with_deletion
        """,
        [variant.value, head_revision(), OLDEST_CODE, deletes],
    )
    record_present(driver)


def _explained(error: Exception, deployer: str) -> Exception:
    """Add an instruction for the operator to a known error."""
    if _REFUSED_HASH.search(str(error)):
        return SchemaError(
            f"サーバーはハッシュにしたパスワードを受け付けません: {reason_of(error)}。"
            "`python -m include.skillreport upgrade --plain-passwords` を実行してください。"
        )
    match error:
        case errors.InsufficientPrivilege():
            return missing_privilege(reason_of(error), deployer)
        case errors.DependentObjectsStillExist():
            return SchemaError(
                f"スキーマ batch のビューに依存するものが外にあり、作り直せません: {error.diag.message_detail}。"
                "それらを削除してからやり直してください。"
            )
    return error
