"""The PostgreSQL server for pg_dump and pg_restore, and the content of its tables."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from include.data_management.data_backup.files import TableContent
from include.database import Statements
from include.errors import BatchError, DatabaseUnavailableError, SettingsError, reason_of

_SQL = Statements(Path(__file__).parent)

CONNECTION = "batch_backup_db"
BIN_VARIABLE = "batch_postgres_bin"

# Databases in which a backup is restored to verify it; see DatabaseServer.scratch_database.
_SCRATCH_PREFIX = "batch_backup_check_"

_SPOOL_PREFIX = "batch-backup-"
_SPOOL_MAX_AGE_SECONDS = 24 * 3600


class BackupError(BatchError):
    """The backup cannot be taken, or is not usable."""


@dataclass(frozen=True)
class Table:
    """A table of the database; ``has_tenant``: its rows have a tenant_id."""

    schema: str
    name: str
    has_tenant: bool

    @property
    def identifier(self) -> sql.Identifier:
        """The quoted name with the schema."""
        return sql.Identifier(self.schema, self.name)


class DatabaseServer:
    """``dsn`` is the database to back up, with a login that sees all rows; ``bin_dir`` contains the tools (empty: use the PATH)."""

    def __init__(self, dsn: str, bin_dir: str = "") -> None:
        self._dsn = dsn
        self._bin_dir = bin_dir

    def __repr__(self) -> str:
        return "DatabaseServer()"  # the connection string contains a password

    def connect(self, database: str | None = None) -> psycopg.Connection:
        """In autocommit mode, with a fixed output format of values. :raises DatabaseUnavailableError: the server does not answer."""
        try:
            return psycopg.connect(
                make_conninfo(self._dsn, **({"dbname": database} if database else {})),
                autocommit=True,
                options="-c timezone=UTC -c datestyle=ISO -c extra_float_digits=1 -c row_security=off",
            )
        except psycopg.OperationalError as error:
            raise DatabaseUnavailableError(
                f"バックアップ用の接続 '{CONNECTION}' で PostgreSQL に接続できません: {reason_of(error)}"
            ) from None

    @property
    def scratch_prefix(self) -> str:
        """The prefix of this database's scratch databases. Another installation on the same server has another prefix."""
        name = str(conninfo_to_dict(self._dsn).get("dbname") or "")
        return f"{_SCRATCH_PREFIX}{hashlib.sha256(name.encode()).hexdigest()[:8]}_"

    def scratch_database(self, backup_id: str) -> str:
        """The database into which this backup is restored to verify it; a database with this name may be dropped."""
        return f"{self.scratch_prefix}{backup_id.lower()}"

    def check(self) -> int:
        """Check that this login and these tools can take a whole backup; returns the database's size in bytes.

        :raises SettingsError: the login cannot see all rows or cannot create databases. :raises BackupError: pg_dump is missing or too old.
        """
        with self.connect() as connection:
            hidden = _SQL.column(connection, "hidden_tables")
            if hidden:
                raise SettingsError(
                    f"接続 '{CONNECTION}' のログインには行レベルセキュリティで見えない行があります"
                    f"（{'、'.join(hidden[:3])} など {len(hidden)} 表）。スーパーユーザーか BYPASSRLS のロールにしてください。"
                )
            if _SQL.row(connection, "may_create_databases") != (True,):
                raise SettingsError(
                    f"接続 '{CONNECTION}' のログインは検証用のデータベースを作れません。CREATEDB を与えてください。"
                )
            size = int(_SQL.row(connection, "database_bytes")[0])
            server_version = connection.info.server_version // 10_000
        for tool in ("pg_dump", "pg_restore"):
            version = self._version(tool)
            if version < server_version:
                raise BackupError(
                    f"{tool} {version} はサーバー（PostgreSQL {server_version}）より古いため使えません。"
                    f"{server_version} 以上を入れ、その場所を Variable '{BIN_VARIABLE}' に設定してください。"
                )
        return size

    def dump(self, snapshot: str, folder: Path, jobs: int) -> None:
        """``pg_dump -Fd`` of the whole database in the exported snapshot, uncompressed. :raises BackupError: pg_dump fails."""
        options = ["--format=directory", f"--jobs={jobs}", "--compress=0", f"--snapshot={snapshot}"]
        self._run("pg_dump", [*options, f"--file={folder}"])

    def restore(self, folder: Path, database: str, jobs: int, *, with_owners: bool) -> None:
        """Create the database and restore a dump into it.

        ``with_owners`` needs the roles and a superuser; without it neither is needed. :raises BackupError: the database exists, or the
        restore fails.
        """
        with self.connect() as connection:
            try:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(database))
                )
            except psycopg.errors.DuplicateDatabase:
                raise BackupError(
                    f"データベース '{database}' は既にあります。別の名前を指定してください（上書きはしません）。"
                ) from None
        options = ["--exit-on-error", f"--jobs={jobs}"]
        if not with_owners:
            options += ["--no-owner", "--no-privileges"]
        try:
            self._run("pg_restore", [*options, str(folder)], database)
        except BackupError as error:
            if not with_owners or self.is_superuser():
                raise
            raise BackupError(
                f"{error}。スーパーユーザーの接続で実行するか、--no-owners で所有者と権限なしに復元してください。"
            ) from error

    def is_superuser(self) -> bool:
        """Whether the login can restore owners and privileges."""
        with self.connect() as connection:
            return _SQL.row(connection, "is_superuser") == (True,)

    def databases(self, prefix: str) -> list[str]:
        """The names of the databases with this prefix."""
        with self.connect() as connection:
            return _SQL.column(connection, "list_databases", prefix=prefix)

    def drop(self, database: str) -> None:
        """Drop the database, even if there are connections to it."""
        with self.connect() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
            )

    def _version(self, tool: str) -> int:
        """The tool's major version."""
        done = self._start(tool, ["--version"])
        text = done.communicate()[0]
        found = re.search(r"\(PostgreSQL\) (\d+)", text)
        if done.returncode or not found:
            raise BackupError(f"{tool} --version の結果が読めません: {text.strip()[:200]}")
        return int(found[1])

    def _run(self, tool: str, options: Sequence[str], database: str | None = None) -> None:
        """:raises BackupError: the tool fails or is killed; the text has its first error or its last line."""
        process = self._start(tool, options, database)
        try:
            text = process.communicate()[0]
        except BaseException:
            # The task is ending (time limit, SIGTERM), so the tool must stop too.
            process.terminate()
            process.wait()
            raise
        if process.returncode:
            lines = text.strip().splitlines() or ["（出力なし）"]
            reason = next((line for line in lines if "error:" in line), lines[-1])
            how = (
                f"シグナル {-process.returncode} で強制終了されました"
                if process.returncode < 0
                else f"終了コード {process.returncode} で失敗しました"
            )
            raise BackupError(f"{tool} が{how}: {reason}")

    def _start(self, tool: str, options: Sequence[str], database: str | None = None) -> subprocess.Popen[str]:
        path = shutil.which(tool, path=self._bin_dir or None)
        if path is None:
            raise BackupError(
                f"{tool} が見つかりません。PostgreSQL のクライアントを入れ、その場所を Variable '{BIN_VARIABLE}' に設定してください。"
            )
        parts = {key: str(value) for key, value in conninfo_to_dict(self._dsn).items() if value is not None}
        # All users of the machine can read command lines; only this user can read the environment.
        password = parts.pop("password", None)
        if database:
            parts["dbname"] = database
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        environment |= {"LC_ALL": "C"} | ({"PGPASSWORD": password} if password else {})
        return subprocess.Popen(
            [path, *options, *([] if options == ["--version"] else [f"--dbname={make_conninfo(**parts)}"])],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )


@contextmanager
def exported_snapshot(connection: psycopg.Connection) -> Iterator[str]:
    """An exported snapshot that other connections can use until the block ends; this connection uses it too."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield str(_SQL.row(connection, "export_snapshot")[0])


def list_tables(connection: psycopg.Connection) -> list[Table]:
    """All tables, by schema and name."""
    return [Table(*row) for row in _SQL.execute(connection, "list_tables")]


def table_contents(
    connection: psycopg.Connection, tables: Sequence[Table], conditions: Sequence[sql.Composable] = ()
) -> list[TableContent]:
    """The number of rows and the content hash of each table, or of the rows ``content`` that fulfil the table's condition."""
    if not tables:
        return []
    parts = [
        sql.SQL(
            "SELECT {schema}::text, {name}::text, count(*),"
            " coalesce(sum(hashtextextended(content::text, 0)::numeric), 0)::text FROM {table} AS content WHERE {condition}"
        ).format(
            schema=table.schema,
            name=table.name,
            table=table.identifier,
            condition=conditions[index] if conditions else sql.SQL("true"),
        )
        for index, table in enumerate(tables)
    ]
    # One statement for all tables, because a round trip per table takes longer than the counting.
    found = [TableContent(*row) for row in connection.execute(sql.SQL(" UNION ALL ").join(parts))]
    by_name = {(content.schema, content.name): content for content in found}
    return [by_name[table.schema, table.name] for table in tables]


def spool_folder() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder for a dump. Folders that killed processes have left are deleted first."""
    for left in Path(tempfile.gettempdir()).glob(f"{_SPOOL_PREFIX}*"):
        with suppress(FileNotFoundError):  # another process has deleted it
            status = left.lstat()
            if status.st_uid == os.geteuid() and time.time() - status.st_mtime > _SPOOL_MAX_AGE_SECONDS:
                shutil.rmtree(left)
    return tempfile.TemporaryDirectory(prefix=_SPOOL_PREFIX)
