"""Deploy roles, schema ``batch`` and views to a database, each time in one transaction.

``upgrade`` deploys everything. ``detach`` only drops the views, because PostgreSQL cannot alter a column that a view uses. ``attach``
creates them again. Deployment is idempotent, and applies the baseline and all later revisions. Concurrent deployments run one after the
other. There are no downgrades: a later revision corrects an error.

The deploying role need not be a superuser. It owns the host's tables (or holds their privileges with grant option) and may CREATE in the
database. It has CREATEROLE if the batch roles do not exist. If another role created them, it is a member of ``batch_owner``. To set
passwords, it then also needs the ADMIN option on the other roles (from PostgreSQL 16 on).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg
import sqlalchemy
from alembic import command, op
from alembic.config import Config
from psycopg import errors, sql

from include.skillreport.core.database import count_of
from include.skillreport.core.errors import SchemaError, reason_of
from include.skillreport.schema.channels import record_channels
from include.skillreport.schema.checks.findings import Finding, refuse
from include.skillreport.schema.checks.host import count_tenants, find_several_tenants
from include.skillreport.schema.checks.privileges import BOARD as BOARD
from include.skillreport.schema.checks.privileges import CLEANUP as CLEANUP
from include.skillreport.schema.checks.privileges import OWNER as OWNER
from include.skillreport.schema.checks.privileges import PLATFORM as PLATFORM
from include.skillreport.schema.checks.privileges import ROLES as ROLES
from include.skillreport.schema.checks.privileges import TENANT as TENANT
from include.skillreport.schema.checks.privileges import (
    missing_privileges,
    owner_uses_public,
    wanted_privileges,
)
from include.skillreport.schema.checks.sessions import direct_connection, find_read_only_login
from include.skillreport.schema.deletion import is_with_deletion, require_all_listed
from include.skillreport.schema.host_contract import HostVariant, check_host, host_columns
from include.skillreport.schema.host_indexes.listing import record_present
from include.skillreport.schema.leaving import create_leaving_views, withdraw_deletion
from include.skillreport.schema.revisions import SCRIPTS, UPGRADE_HINT, find_other_revision, head_revision

_HERE = Path(__file__).parent

# An arbitrary number.
_DEPLOY_LOCK = 7_018_019
_LOCK_TIMEOUT = "60s"

# The files of host_views in loading order, after the variant's file.
_VIEW_FILES = (
    "tenants",
    "people",
    "employees",
    "activity",
    "skills",
    "notifications",
    "results",
    "documents",
    "board",
)

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
    delete application rows; None: keep the last choice.
    :returns: the host's variant. :raises SchemaError: the host or the deploying role is not suitable; nothing has changed.
    """
    with _deployment(dsn) as (connection, driver):
        variant = _check_host(driver)
        given = passwords or {}
        _create_roles(driver, ROLES, given, plain_passwords=plain_passwords)
        _join_owner(driver)
        deletes = _stored_choice(driver) if with_deletion is None else with_deletion
        if deletes:
            _create_roles(driver, (CLEANUP,), given, plain_passwords=plain_passwords)
        _grant_host_tables(driver, variant, deletes=deletes)
        driver.execute("CREATE SCHEMA IF NOT EXISTS batch AUTHORIZATION batch_owner")
        driver.execute("SET LOCAL ROLE batch_owner")
        refuse(filter(None, [_find_other_revision(driver)]))
        _drop_views(driver)
        _migrate(connection)
        if with_deletion:
            require_all_listed(driver)
        record_channels(driver)
        _create_views(driver, variant, deletes=deletes)
        record_present(driver)
        return variant


def detach(dsn: str) -> None:
    """Drop the views of schema ``batch``, so that the host can alter its tables. Tables and rows stay. Runs do not start.

    :raises SchemaError: there is no schema ``batch``, or an outside object depends on a view; nothing has changed.
    """
    with _deployment(dsn) as (_, driver):
        _require_schema(driver)
        driver.execute("SET LOCAL ROLE batch_owner")
        _drop_views(driver)


def attach(dsn: str) -> HostVariant:
    """Create the views again with their privileges, after the same host check as ``upgrade``.

    :returns: the host's variant. :raises SchemaError: the host is not suitable, or ``upgrade`` must run; nothing has changed.
    """
    with _deployment(dsn) as (_, driver):
        _require_schema(driver)
        variant = _check_host(driver)
        deletes = _stored_choice(driver)
        _grant_host_tables(driver, variant, deletes=deletes)
        driver.execute("SET LOCAL ROLE batch_owner")
        other = _find_other_revision(driver)
        if other:
            raise SchemaError(other.text)
        _drop_views(driver)
        _create_views(driver, variant, deletes=deletes)
        return variant


def run_sql_file(relative_path: str) -> None:
    """Run a migration's SQL file, for the files under ``versions/``."""
    statements = (_HERE / relative_path).read_text(encoding="utf-8")
    # Not SQLAlchemy's text(), which reads every ':name' as a parameter.
    op.get_bind().connection.cursor().execute(statements)


@contextmanager
def _deployment(dsn: str) -> Iterator[tuple[sqlalchemy.Connection, psycopg.Connection]]:
    """One transaction under the deployment lock, for SQLAlchemy and for the driver."""
    with direct_connection(dsn) as driver:
        deployer = driver.info.user
        engine = sqlalchemy.create_engine(
            "postgresql+psycopg://", creator=lambda: driver, poolclass=sqlalchemy.NullPool
        )
        try:
            with engine.begin() as connection:
                refuse(find_read_only_login(driver))
                # The views name the host's tables without their schema.
                driver.execute(
                    "SELECT set_config('lock_timeout', %s, true), set_config('search_path', 'public', true)",
                    [_LOCK_TIMEOUT],
                )
                driver.execute("SELECT pg_advisory_xact_lock(%s)", [_DEPLOY_LOCK])
                yield connection, driver
        except (psycopg.Error, sqlalchemy.exc.DBAPIError) as error:
            # SQLAlchemy wraps the errors of Alembic's own statements.
            raise _explained(getattr(error, "orig", error), deployer) from None


def _check_host(driver: psycopg.Connection) -> HostVariant:
    variant = check_host(driver)
    if variant is HostVariant.BASE:
        refuse(find_several_tenants(count_tenants(driver), variant))
    return variant


def _require_schema(driver: psycopg.Connection) -> None:
    if driver.execute("SELECT to_regnamespace('batch')").fetchone() == (None,):
        raise SchemaError(f"このデータベースにスキーマ batch がありません。{UPGRADE_HINT}。")


def _find_other_revision(driver: psycopg.Connection) -> Finding | None:
    deployed = None
    if driver.execute("SELECT to_regclass('batch.alembic_version')").fetchone() != (None,):
        deployed = driver.execute("SELECT version_num FROM batch.alembic_version").fetchone()
    return find_other_revision(deployed[0] if deployed else None)


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


def _create_views(driver: psycopg.Connection, variant: HostVariant, *, deletes: bool) -> None:
    for name in (variant, *_VIEW_FILES):
        driver.execute((_HERE / "host_views" / f"{name}.sql").read_bytes())
    if deletes:
        create_leaving_views(driver, variant)
    else:
        withdraw_deletion(driver)
    driver.execute(
        """
        INSERT INTO batch.deployment (host_variant, revision, deployed_at, with_deletion) VALUES (%s, %s, now(), %s)
        ON CONFLICT (singleton) DO UPDATE SET
            host_variant = excluded.host_variant, revision = excluded.revision, deployed_at = excluded.deployed_at,
            with_deletion = excluded.with_deletion
        """,
        [variant.value, head_revision(), deletes],
    )


def _explained(error: Exception, deployer: str) -> Exception:
    """Add an instruction for the operator to a known error."""
    if _REFUSED_HASH.search(str(error)):
        return SchemaError(
            f"サーバーはハッシュにしたパスワードを受け付けません: {reason_of(error)}。"
            "`python -m include.skillreport upgrade --plain-passwords` を実行してください。"
        )
    match error:
        case errors.LockNotAvailable():
            return SchemaError(
                f"別のデプロイか長い処理が {_LOCK_TIMEOUT} 以上データベースを占有しています。終わってからやり直してください。"
            )
        case errors.InsufficientPrivilege():
            return _missing_privilege(reason_of(error), deployer)
        case errors.DependentObjectsStillExist():
            return SchemaError(
                f"スキーマ batch のビューに依存するものが外にあり、作り直せません: {error.diag.message_detail}。"
                "それらを削除してからやり直してください。"
            )
    return error


def _missing_privilege(reason: str, deployer: str) -> SchemaError:
    return SchemaError(
        f'デプロイするロール "{deployer}" の権限が足りません: {reason}。'
        "ホストの表の所有権、データベースの CREATE 権限、CREATEROLE が必要です。"
        f"{OWNER} などのロールを別のロールが作っていた場合は、管理者が "
        f'`GRANT {", ".join(ROLES)} TO "{deployer}" WITH ADMIN OPTION` を実行してください。'
        f"{CLEANUP} があるときは、それも加えてください。"
    )


def _create_roles(
    driver: psycopg.Connection, roles: Sequence[str], passwords: Mapping[str, str], *, plain_passwords: bool
) -> None:
    for role in roles:
        name = sql.Identifier(role)
        if not count_of(driver, "SELECT count(*) FROM pg_roles WHERE rolname = %s", [role]):
            _change_role(driver, sql.SQL("CREATE ROLE {} NOLOGIN").format(name))
        if role in passwords:
            secret = passwords[role]
            if not plain_passwords:
                # Encrypt on the client, so that no server log contains the password.
                secret = driver.pgconn.encrypt_password(
                    secret.encode(), role.encode(), b"scram-sha-256"
                ).decode()
            _change_role(driver, sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(secret)))


def _join_owner(driver: psycopg.Connection) -> None:
    # From PostgreSQL 16 on, a role's creator may administer it, but needs a grant to SET ROLE.
    act_as = "SET" if driver.info.server_version >= 16_00_00 else "MEMBER"
    if not count_of(driver, "SELECT pg_has_role(current_user, 'batch_owner', %s)::int", [act_as]):
        _change_role(driver, sql.SQL("GRANT batch_owner TO CURRENT_USER"))


def _change_role(driver: psycopg.Connection, statement: sql.Composed | sql.SQL) -> None:
    """Change a role. Retries if another database's deployment on this server changes the same role.

    PostgreSQL waits for the other transaction and fails ("tuple concurrently updated"). The next attempt finds its result.
    """
    for attempts_left in (4, 3, 2, 1, 0):
        try:
            with driver.transaction():
                driver.execute(statement)
            return
        except (errors.DuplicateObject, errors.UniqueViolation):
            return
        except errors.InternalError_:
            if not attempts_left:
                raise


def _let_owner_use_public(driver: psycopg.Connection) -> None:
    """Grant USAGE on schema public to the views' owner, because the views name tables without their schema.

    PostgreSQL skips a schema without USAGE and reports a missing table. `prisma db push --force-reset` creates such a schema.
    """
    if owner_uses_public(driver):
        return
    driver.execute("GRANT USAGE ON SCHEMA public TO batch_owner")
    # PostgreSQL only warns a deployer without grant option.
    if not owner_uses_public(driver):
        raise SchemaError(
            f"スキーマ public の USAGE 権限が {OWNER} にありません。"
            f"管理者が `GRANT USAGE ON SCHEMA public TO {OWNER}` を実行してください。"
        )


def _grant_host_tables(driver: psycopg.Connection, variant: HostVariant, *, deletes: bool) -> None:
    """Grant exactly the needed privileges (by column for the contract), and revoke all others."""
    granted = driver.execute(
        """
        SELECT DISTINCT relation.relname
        FROM pg_class AS relation
        INNER JOIN pg_attribute AS attribute ON relation.oid = attribute.attrelid
        CROSS JOIN LATERAL aclexplode(relation.relacl || attribute.attacl) AS privilege
        WHERE relation.relnamespace = 'public'::regnamespace AND privilege.grantee = 'batch_owner'::regrole
        """
    ).fetchall()
    _let_owner_use_public(driver)
    changes = [
        sql.SQL("REVOKE ALL ON {} FROM batch_owner").format(sql.Identifier("public", table))
        for (table,) in granted
    ]
    for table, privilege, names in wanted_privileges(variant, host_columns(driver), deletes=deletes):
        columns = (
            sql.SQL("")
            if names is None
            else sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Identifier, names)))
        )
        changes.append(
            sql.SQL("GRANT {} {} ON {} TO batch_owner").format(
                sql.SQL(privilege), columns, sql.Identifier("public", table)
            )
        )
    driver.execute(sql.SQL("; ").join(changes))
    # PostgreSQL only warns a deployer without grant option.
    if missing := missing_privileges(driver, OWNER, variant, "", deletes=deletes):
        table, privilege, _ = missing[0]
        raise _missing_privilege(f"{privilege} on {table} cannot be granted", driver.info.user)


def _drop_views(driver: psycopg.Connection) -> None:
    """Drop them in one statement, which fails if a view outside the schema depends on one."""
    names = driver.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'batch'::regnamespace AND relkind = 'v'"
    ).fetchall()
    if names:
        views = sql.SQL(", ").join(sql.Identifier("batch", name) for (name,) in names)
        driver.execute(sql.SQL("DROP VIEW {}").format(views))
