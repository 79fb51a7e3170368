"""The properties of a database beside its objects: encoding, locale, owner, settings, comment, and privileges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from include.skillreport.batches.data_backup.postgres_tools import BackupError
from include.skillreport.core.database import Statements

_SQL = Statements(Path(__file__).parent)

# By the letter of pg_database.
_PROVIDERS = {"i": "ICU", "c": "LIBC", "b": "BUILTIN"}

# The server's errors for an unknown locale, locale provider or option.
_NO_SUCH_LOCALE = (
    psycopg.errors.WrongObjectType,
    psycopg.errors.InvalidParameterValue,
    psycopg.errors.InvalidObjectDefinition,
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.SyntaxError,
)

_NAMED = 5

_LABELS = {
    "encoding": "文字コード",
    "collation": "ロケール",
    "character_type": "ロケール",
    "provider": "ロケール",
    "provider_locale": "ロケール",
    "rules": "ロケール",
    "owner": "所有者",
    "connection_limit": "接続数の上限",
    "comment": "コメント",
    "privileges": "接続などの権限",
    "settings": "ALTER DATABASE の設定",
}


def read_properties(connection: psycopg.Connection) -> dict[str, Any]:
    """The database's properties for a manifest, the ``roles`` that a restore with owners needs, and what is in ``tablespaces``."""
    return _SQL.rows(connection, "database_properties")[0]


def create_database(connection: psycopg.Connection, database: str, properties: Mapping[str, Any]) -> None:
    """Create an empty database with this encoding, and this locale if the server has it. A backup may contain neither.

    :raises psycopg.errors.DuplicateDatabase: it exists.
    """
    create = sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(database))
    if properties:
        create += sql.SQL(" ENCODING {}").format(sql.Literal(properties["encoding"]))
        provider = _PROVIDERS[properties["provider"]]
        locale = {
            "LC_COLLATE": properties["collation"],
            "LC_CTYPE": properties["character_type"],
            "LOCALE_PROVIDER": provider.lower(),
            f"{provider}_LOCALE": properties["provider_locale"],
            "ICU_RULES": properties["rules"],
        }
        options = [
            sql.SQL(" {} {}").format(sql.SQL(name), sql.Literal(value))
            for name, value in locale.items()
            if value is not None
        ]
        with suppress(*_NO_SUCH_LOCALE):
            connection.execute(sql.Composed([create, *options]))
            return
    connection.execute(create)


@contextmanager
def refused_if_it_exists(database: str) -> Iterator[None]:
    """Convert the error of the block. :raises BackupError: there is a database with this name."""
    try:
        yield
    except psycopg.errors.DuplicateDatabase:
        raise BackupError(
            f"データベース '{database}' は既にあります。別の名前を指定してください（上書きはしません）。"
        ) from None


def apply_properties(
    connection: psycopg.Connection, database: str, properties: Mapping[str, Any], *, with_owner: bool
) -> None:
    """Set a restored database's comment, privileges, settings and owner. Skips properties that the login or the server does not support.

    ``connection`` is to another database, in autocommit mode.
    """
    for statements in _changes(sql.Identifier(database), properties, with_owner=with_owner):
        with suppress(psycopg.Error), connection.transaction():
            for statement in statements:
                connection.execute(statement)


def _changes(
    name: sql.Identifier, properties: Mapping[str, Any], *, with_owner: bool
) -> Iterator[list[sql.Composed]]:
    """Statements that succeed or fail together."""
    yield [sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(properties["comment"]))]
    yield [
        sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(
            name, sql.Literal(properties["connection_limit"])
        )
    ]
    yield [sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name)]
    for role, privilege, is_grantable in properties["privileges"]:
        yield [
            sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
                sql.SQL(privilege),
                name,
                sql.Identifier(role) if role else sql.SQL("PUBLIC"),
                sql.SQL(" WITH GRANT OPTION" if is_grantable else ""),
            )
        ]
    for role, assignment in properties["settings"]:
        setting, _, value = assignment.partition("=")
        whose = (
            sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), name)
            if role
            else sql.SQL("DATABASE {}").format(name)
        )
        alter = sql.SQL("ALTER {} SET {}").format(whose, sql.Identifier(*setting.split(".")))
        if {",", '"'}.isdisjoint(value):
            yield [sql.SQL("{} TO {}").format(alter, sql.Literal(value))]
        else:
            # SET … TO would convert a list such as search_path into one name.
            current = sql.SQL("SELECT set_config({}, {}, true)").format(
                sql.Literal(setting), sql.Literal(value)
            )
            yield [current, sql.SQL("{} FROM CURRENT").format(alter)]
    if with_owner:
        yield [sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, sql.Identifier(properties["owner"]))]


def tablespaces_sentence(properties: Mapping[str, Any]) -> str | None:
    """A sentence about what a restore moves to the default tablespace, or None. Older backups do not contain this property."""
    stored = [
        f"{place} の{f' {name}' if name else 'データベース全体'}"
        for place, name in properties.get("tablespaces", ())
    ]
    if not stored:
        return None
    more = f" など {len(stored)} 個" if len(stored) > _NAMED else ""
    return f"表領域 {'、'.join(stored[:_NAMED])}{more}は、復元すると既定の表領域に入ります"


def lost_properties(
    connection: psycopg.Connection, properties: Mapping[str, Any], *, with_owner: bool
) -> str | None:
    """A sentence about the properties that the restored database (``connection``) lost, or None."""
    found = read_properties(connection)
    lost = dict.fromkeys(
        label
        for name, label in _LABELS.items()
        if properties and found[name] != properties[name] and (with_owner or name != "owner")
    )
    return (
        f"このサーバーか接続のログインでは、データベースの{'、'.join(lost)}を元のとおりにできません"
        if lost
        else None
    )
