"""Check the privileges of the deploying login, the views' owner and the batches' logins."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.schema.checks.findings import Finding, error, remark
from include.skillreport.schema.deletion import host_privileges
from include.skillreport.schema.host_contract import HostVariant, host_columns, load_contract

OWNER, TENANT, PLATFORM, BOARD = "batch_owner", "batch_tenant", "batch_platform", "batch_board"

# The schema's owner, the batches' two roles, and the read-only role of the operators' page.
ROLES = (OWNER, TENANT, PLATFORM, BOARD)

# Exists only in an installation that may delete application rows. Only tasks that delete act as this role.
CLEANUP = "batch_cleanup"

_SQL = Statements(Path(__file__).parent)

# Since this version, CREATEROLE covers only roles that the creator administers, and SET ROLE needs its own privilege.
_GRANTED_ADMINISTRATION = 16_00_00


def wanted_privileges(
    variant: HostVariant, columns: Mapping[str, Collection[str]], *, deletes: bool
) -> list[tuple[str, str, list[str] | None]]:
    """The privileges that the views' owner needs on application tables: table, privilege and columns (None: the entire table).

    ``columns`` are the existing columns by table. ``deletes``: the installation may delete.
    """
    wanted: list[tuple[str, str, list[str] | None]] = []
    for table in load_contract():
        names = [name for name in table.columns_of(variant) if name in columns.get(table.name, ())]
        # PostgreSQL has no DELETE privilege on columns.
        wanted += [(table.name, each, None if each == "DELETE" else names) for each in table.privileges]
    return wanted + (host_privileges(columns) if deletes else [])


def find_missing_deployer_privileges(
    connection: psycopg.Connection,
    variant: HostVariant,
    with_passwords: Collection[str] = (),
    *,
    deletes: bool = False,
) -> list[Finding]:
    """The privileges for ``upgrade`` that this connection's login lacks. ``with_passwords``: the roles whose password it sets.

    ``deletes``: the installation may delete.
    """
    roles = (*ROLES, CLEANUP) if deletes else ROLES
    deployer = _SQL.rows(connection, "deployer")[0]
    login = str(deployer["rolname"])
    findings = [
        error(
            "deployer-table",
            f'デプロイするロール "{login}" は表 "{table}" の {privilege} を {OWNER} に与えられません。',
            "表の所有者でデプロイするか、所有者が WITH GRANT OPTION で与えてください。",
            table,
        )
        for table, privilege, _ in missing_privileges(
            connection, login, variant, " WITH GRANT OPTION", deletes=deletes
        )
    ]
    if not deployer["may_create_schemas"]:
        findings.append(
            error(
                "deployer-create",
                f'デプロイするロール "{login}" に、データベースの CREATE 権限がありません。',
                f'管理者が `GRANT CREATE ON DATABASE "{connection.info.dbname}" TO "{login}"` を実行してください。',
                login,
            )
        )
    if not deployer["may_use_public"] or not owner_uses_public(connection):
        findings.append(
            error(
                "deployer-public",
                f'スキーマ public の USAGE 権限が "{login}" か {OWNER} にありません。',
                f'管理者が `GRANT USAGE ON SCHEMA public TO "{login}", {OWNER}` を実行してください。',
                "public",
            )
        )
    return findings + _find_missing_role_privileges(
        connection,
        login,
        roles,
        [role for role in with_passwords if role in roles],
        may_create=bool(deployer["may_create_roles"]),
    )


def find_missing_owner_privileges(
    connection: psycopg.Connection, variant: HostVariant, *, deletes: bool = False
) -> list[Finding]:
    """The host table privileges that the deployed views' owner lacks. Views that use them fail."""
    return [
        error(
            "owner-table",
            f'ビューの所有者 {OWNER} に、表 "{table}" の {privilege} 権限がありません'
            + (
                f"（列 {'、'.join(columns[:5])}{' など' if len(columns) > 5 else ''}）。"
                if columns[0]
                else "。"
            ),
            "`python -m include.skillreport attach` を実行してください。",
            table,
        )
        for table, privilege, columns in missing_privileges(connection, OWNER, variant, "", deletes=deletes)
    ]


def find_login_problems(connection: psycopg.Connection, role: str) -> list[Finding]:
    """A finding if this connection's login may not act as the batch role."""
    login, role_exists, may_act = _SQL.row(connection, "membership", role=role, act_as=_act_as(connection))
    if not role_exists:
        return [
            remark(
                "role-missing",
                f"ロール {role} はまだありません。",
                f'`python -m include.skillreport upgrade` を実行してから、`GRANT {role} TO "{login}"` を実行してください。',
                role,
            )
        ]
    return [] if may_act else [not_a_member(login, role)]


def find_backup_problems(connection: psycopg.Connection) -> list[Finding]:
    """Missing rights of this connection's login for BATCH-001 (errors) or a restore (remarks)."""
    login = _SQL.rows(connection, "backup_login")[0]
    name = str(login["rolname"])
    findings = []
    if hidden := _SQL.column(connection, "rows_hidden_from_login"):
        findings.append(
            error(
                "backup-rows",
                f'ログイン "{name}" には行レベルセキュリティで見えない行があります（{"、".join(hidden[:3])} など {len(hidden)} 表）。',
                "スーパーユーザーか BYPASSRLS のロールにしてください。",
                name,
            )
        )
    if not login["may_create_databases"]:
        findings.append(
            error(
                "backup-createdb",
                f'ログイン "{name}" は検証用や復元先のデータベースを作れません。',
                f'CREATEDB を与えてください（`ALTER ROLE "{name}" CREATEDB`）。',
                name,
            )
        )
    lacking = {
        f'テナントの比較（`GRANT CREATE ON DATABASE "{connection.info.dbname}" TO "{name}"`）': login[
            "may_create_schemas"
        ],
        f'テナントの反映（`GRANT pg_write_all_data TO "{name}"`）': login["may_write"],
    }
    if not all(lacking.values()):
        findings.append(
            remark(
                "restore-rights",
                f'ログイン "{name}" の権限では、できない復元があります。',
                f"使うなら権限を与えてください: {'、'.join(each for each, may in lacking.items() if not may)}。",
                name,
            )
        )
    elif not login["rolsuper"]:
        findings.append(
            remark(
                "restore-owners",
                f'ログイン "{name}" による新しいデータベースへの復元は、所有者と権限を戻しません。',
                "戻すなら、スーパーユーザーの接続で `python -m include.skillreport backup restore` を実行してください。",
                name,
            )
        )
    return findings


def not_a_member(login: str, role: str) -> Finding:
    """The finding about a login that may not act as its batch role."""
    return error(
        "login-not-member",
        f'ログイン "{login}" はロール {role} になれません。',
        f'管理者が `GRANT {role} TO "{login}"` を実行してください。',
        login,
    )


def may_act_as(connection: psycopg.Connection, role: str) -> bool:
    """True if this connection's login may ``SET ROLE`` to an existing role."""
    _, _, may_act = _SQL.row(connection, "membership", role=role, act_as=_act_as(connection))
    return bool(may_act)


def owner_uses_public(connection: psycopg.Connection) -> bool:
    """True if the views' owner may name tables of schema public."""
    return _SQL.row(connection, "role_uses_public", role=OWNER) == (True,)


def _find_missing_role_privileges(
    connection: psycopg.Connection,
    login: str,
    roles: Sequence[str],
    with_passwords: Collection[str],
    *,
    may_create: bool,
) -> list[Finding]:
    existing = {
        row["rolname"]: row
        for row in _SQL.rows(connection, "batch_roles", roles=list(roles), act_as=_act_as(connection))
    }
    is_granted = connection.info.server_version >= _GRANTED_ADMINISTRATION

    def may_administer(role: str) -> bool:
        return role not in existing or (bool(existing[role]["may_administer"]) if is_granted else may_create)

    findings = []
    if not may_create and (len(existing) < len(roles) or with_passwords):
        findings.append(
            error(
                "deployer-createrole",
                f'デプロイするロール "{login}" は、ロールの作成とパスワードの設定に必要な CREATEROLE を持っていません。',
                f'管理者が `ALTER ROLE "{login}" CREATEROLE` を実行してください。',
                login,
            )
        )
    may_act = OWNER not in existing or existing[OWNER]["may_act_as"] or may_administer(OWNER)
    if not may_act or not all(map(may_administer, with_passwords)):
        findings.append(
            error(
                "deployer-membership",
                f'デプロイするロール "{login}" は、別のロールが作った {OWNER} などを使えません。',
                f'管理者が `GRANT {", ".join(roles)} TO "{login}" WITH ADMIN OPTION` を実行してください。',
                login,
            )
        )
    return findings


def granted(connection: psycopg.Connection, schema: str) -> list[tuple[str, str, str | None]]:
    """Relation, its kind (``relkind``), and a role that has a privilege on it and does not own it (None: PUBLIC)."""
    return _SQL.execute(connection, "granted", schema=schema).fetchall()


def missing_privileges(
    connection: psycopg.Connection, role: str, variant: HostVariant, option: str, *, deletes: bool
) -> Sequence[tuple[str, str, list[str]]]:
    """Table, privilege and columns (empty name: the entire table) that the views need and the role lacks.

    ``option``: "" or " WITH GRANT OPTION".
    """
    wanted = [
        (table, column, privilege)
        for table, privilege, names in wanted_privileges(variant, host_columns(connection), deletes=deletes)
        for column in ([""] if names is None else names)
    ]
    names, columns, privileges = (list(values) for values in zip(*wanted, strict=True))
    return _SQL.execute(
        connection,
        "missing_privileges",
        role=role,
        option=option,
        tables=names,
        columns=columns,
        privileges=privileges,
    ).fetchall()


def _act_as(connection: psycopg.Connection) -> str:
    return "SET" if connection.info.server_version >= _GRANTED_ADMINISTRATION else "MEMBER"
