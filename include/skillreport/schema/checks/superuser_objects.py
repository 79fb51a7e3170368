"""Database objects that the backup's login cannot restore for the comparison, or cannot dump."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psycopg

from include.skillreport.core.database import Statements
from include.skillreport.schema.checks.findings import Finding, remark

_SQL = Statements(Path(__file__).parent)

# PostgreSQL's own objects have smaller numbers (FirstNormalObjectId).
_FIRST_OID = 16_384

_NAMED_CHARACTERS = 300


@dataclass(frozen=True)
class SuperuserObject:
    """An object that only a superuser can create. ``class_id`` is its catalogue as in an archive's list, 0 for a table's rows."""

    class_id: int
    object_id: int
    kind: str
    name: str


def is_superuser(connection: psycopg.Connection) -> bool:
    """True if the login can create everything, and set owners and privileges."""
    return _SQL.row(connection, "is_superuser") == (True,)


def superuser_objects(connection: psycopg.Connection) -> list[SuperuserObject]:
    """Objects that another database's owner cannot create there, without dependent objects."""
    rows = _SQL.execute(connection, "superuser_objects", first_oid=_FIRST_OID)
    return [SuperuserObject(*row) for row in rows]


def unreadable_large_objects(connection: psycopg.Connection) -> int:
    """The number of large objects that the login cannot read."""
    return int(_SQL.row(connection, "unreadable_large_objects")[0])


def find_left_out(connection: psycopg.Connection) -> list[Finding]:
    """Objects that BATCH-001 cannot restore for its comparison with this login, and large objects that it cannot dump."""
    findings, login = [], connection.info.user
    objects = [] if is_superuser(connection) else superuser_objects(connection)
    if named := "、".join(f"{each.kind} {each.name}" for each in objects if each.class_id):
        more = "…" if len(named) > _NAMED_CHARACTERS else ""
        findings.append(
            remark(
                "backup-left-out",
                f'ログイン "{login}" には作れないため、検証用の復元に入らないものがあります'
                f"（依存するものも）: {named[:_NAMED_CHARACTERS]}{more}。",
                "バックアップには入ります。戻すときは、スーパーユーザーの接続で復元してください。",
                login,
            )
        )
    if unreadable := unreadable_large_objects(connection):
        findings.append(
            remark(
                "backup-large-objects",
                f'ログイン "{login}" に読めないラージオブジェクトが {unreadable} 件あり、バックアップにラージオブジェクトは入りません。',
                f'入れるなら、`GRANT SELECT ON LARGE OBJECT … TO "{login}"` を実行してください。',
                login,
            )
        )
    return findings
