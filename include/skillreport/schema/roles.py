"""The roles of the batches and their privileges on the application's tables. ``deploy`` calls all functions as the deploying role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg
from psycopg import errors, sql

from include.skillreport.core.database import count_of
from include.skillreport.core.errors import SchemaError
from include.skillreport.schema.checks.privileges import (
    CLEANUP,
    OWNER,
    ROLES,
    granted,
    missing_privileges,
    owner_uses_public,
    wanted_privileges,
)
from include.skillreport.schema.host_contract import HostVariant, host_columns


def missing_privilege(reason: str, deployer: str) -> SchemaError:
    """The error of a deploying role that lacks a privilege: what it needs, and the statement that grants it."""
    return SchemaError(
        f'デプロイするロール "{deployer}" の権限が足りません: {reason}。'
        "ホストの表の所有権、データベースの CREATE 権限、CREATEROLE が必要です。"
        f"{OWNER} などのロールを別のロールが作っていた場合は、管理者が "
        f'`GRANT {", ".join(ROLES)} TO "{deployer}" WITH ADMIN OPTION` を実行してください。'
        f"{CLEANUP} があるときは、それも加えてください。"
    )


def missing_roles(driver: psycopg.Connection, roles: Sequence[str]) -> list[str]:
    """Those that the server does not have."""
    existing = driver.execute(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [list(roles)]
    ).fetchall()
    return [role for role in roles if (role,) not in existing]


def create_roles(
    driver: psycopg.Connection, roles: Sequence[str], passwords: Mapping[str, str], *, plain_passwords: bool
) -> None:
    """Create the missing ones without login, and set the given passwords, with which they may log in."""
    for role in missing_roles(driver, roles):
        _change_role(driver, sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
    for role in roles:
        if role in passwords:
            name, secret = sql.Identifier(role), passwords[role]
            if not plain_passwords:
                # Encrypt on the client, so that no server log contains the password.
                secret = driver.pgconn.encrypt_password(
                    secret.encode(), role.encode(), b"scram-sha-256"
                ).decode()
            _change_role(driver, sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(secret)))


def join_owner(driver: psycopg.Connection) -> None:
    """Make the deploying role a member of ``batch_owner``, unless it may act as that role."""
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


def grant_host_tables(driver: psycopg.Connection, variant: HostVariant, *, deletes: bool) -> None:
    """Grant exactly the needed privileges (by column for the contract), and revoke all others."""
    tables = [table for table, _, role in granted(driver, "public") if role == OWNER]
    _let_owner_use_public(driver)
    changes = [
        sql.SQL("REVOKE ALL ON {} FROM batch_owner").format(sql.Identifier("public", table))
        for table in tables
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
        raise missing_privilege(f"{privilege} on {table} cannot be granted", driver.info.user)
