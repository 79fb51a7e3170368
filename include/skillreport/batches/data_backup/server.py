"""The PostgreSQL server for pg_dump and pg_restore, and the content of its tables."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from include.skillreport.batches.data_backup.archive import ArchiveEntry, entries_of_superuser, parse_entries
from include.skillreport.batches.data_backup.database_properties import create_database, refused_if_it_exists
from include.skillreport.batches.data_backup.postgres_tools import (
    BackupError,
    PostgresTools,
    SchemaChangingError,
)
from include.skillreport.batches.data_backup.spool import DatabaseSize
from include.skillreport.batches.data_backup.tables import table_sizes
from include.skillreport.core.database import (
    SESSION_LIMITS,
    Statements,
    read_conninfo,
    session_of,
    set_up_session,
)
from include.skillreport.core.errors import DatabaseUnavailableError, SettingsError, reason_of
from include.skillreport.core.postgres_programs import find_programs
from include.skillreport.schema.checks.findings import Finding, FindingSeverity
from include.skillreport.schema.checks.privileges import find_backup_problems
from include.skillreport.schema.checks.sessions import connect
from include.skillreport.schema.checks.superuser_objects import (
    is_superuser,
    superuser_objects,
    unreadable_large_objects,
)

_SQL = Statements(Path(__file__).parent)

CONNECTION = "skill_batch_backup_db"

# Databases for verifying backups; see DatabaseServer.scratch_database.
_SCRATCH_PREFIX = "batch_backup_check_"
# Incomplete databases; see DatabaseServer.run_database.
_RUN_PREFIX = "batch_incomplete_"
_LONGEST_NAME = 63

# pg_dump announces finished files only if it has workers.
_LEAST_PROCESSES = 2
# Each process writes the program's name before the message, so another process may write in between.
_FINISHED = re.compile(r"^(?:[\w.-]+:| )*finished item (\d+) TABLE DATA ")

# The time that pg_dump waits for a lock at its start. Its other processes do not wait at all.
_LOCK_WAIT_MILLISECONDS = 2_000
# pg_dump's own words about a table that another session waits to alter: at its start, and in its processes. The server's words depend on
# its language.
_AWAITED = re.compile("could not obtain lock on relation|Query was: LOCK TABLE")
# The C library's words for pg_dump with LC_ALL=C.
_DISK_FULL = "No space left on device"

# pg_restore's words about a newer pg_dump's table of contents.
_NEWER_FORMAT = "unsupported version ("
# The dump's server version, in the comments of pg_restore --list.
_SOURCE = re.compile(r"^;\s+Dumped from database version: (\d+)", re.MULTILINE)


class DatabaseServer:
    """The server of a database. ``dsn`` has a login that sees all rows. ``bin_dir``: see ``find_programs``."""

    def __init__(self, dsn: str, bin_dir: str = "") -> None:
        self._dsn = dsn
        self._bin_dir = bin_dir

    def __repr__(self) -> str:
        return "DatabaseServer()"  # the connection string contains a password

    def connect(self, database: str | None = None) -> psycopg.Connection:
        """Connect in autocommit mode, with a fixed output format of values.

        No limit of the server applies, because a snapshot is idle while pg_dump works.
        :raises DatabaseUnavailableError: the server does not answer.
        """
        try:
            connection = psycopg.connect(
                make_conninfo(**read_conninfo(self._dsn) | ({"dbname": database} if database else {})),
                autocommit=True,
            )
            set_up_session(connection, extra_float_digits="1", row_security="off")
        except psycopg.OperationalError as error:
            raise _unavailable(error) from None
        _SQL.execute(connection, "speak_english")
        return connection

    @cached_property
    def programs(self) -> PostgresTools:
        """The programs that fit the server. :raises UnsuitableProgramsError: they are not installed."""
        with self.connect() as connection:
            may_choose = _SQL.execute(connection, "speak_english").rowcount > 0
            # The programs themselves remove some limits only, and no idle_session_timeout.
            options = [f"-c {limit}=0" for limit in SESSION_LIMITS if limit in session_of(connection)]
        if may_choose:
            options.append("-c lc_messages=C")
        programs = find_programs(self._bin_dir, self.major_version)
        return PostgresTools(self._dsn, programs, " ".join(options))

    @cached_property
    def major_version(self) -> int:
        """The server's major version."""
        with self.connect() as connection:
            return connection.info.server_version // 10_000

    @property
    def scratch_prefix(self) -> str:
        """The prefix of this database's scratch databases. Other installations on the server have other prefixes."""
        return f"{_SCRATCH_PREFIX}{self._own_hash}_"

    @property
    def _own_hash(self) -> str:
        name = str(read_conninfo(self._dsn).get("dbname") or "")
        return hashlib.sha256(name.encode()).hexdigest()[:8]

    def scratch_database(self, backup_id: str) -> str:
        """The database for verifying this backup. A database with this name may be dropped."""
        return f"{self.scratch_prefix}{backup_id.lower()}"

    @property
    def run_prefix(self) -> str:
        """The prefix of databases that a restore or a proof creates for its run, and renames or drops at its end."""
        return f"{_RUN_PREFIX}{self._own_hash}_"

    def run_database(self, owner: str) -> str:
        """The database of a run, or of its work on one tenant. It may be dropped, because only one attempt is active at a time."""
        return f"{self.run_prefix}{owner.lower()}"[:_LONGEST_NAME]

    def check(self) -> None:
        """Check that this login and these tools can take a complete backup.

        :raises UnsuitableProgramsError: no installed pg_dump and pg_restore fit the server.
        :raises SettingsError: a connection pooler answers, or the login cannot see all rows or cannot create databases.
        """
        self._refuse_pooler()
        with self.connect() as connection:
            _refuse(find_backup_problems(connection))
        find_programs(self._bin_dir, self.major_version)

    def _refuse_pooler(self) -> None:
        try:
            connection, findings = connect(self._dsn)
        except psycopg.OperationalError as error:
            raise _unavailable(error) from None
        connection.close()
        _refuse(findings)

    def dump(self, snapshot: str, folder: Path, jobs: int) -> Generator[Path | None, None, None]:
        """``pg_dump -Fd`` of the entire database in the exported snapshot, uncompressed, with at least two processes.

        Yields the file of each complete table, and None at intervals. pg_dump begins no other table before the caller takes the next value.
        Close the generator to end pg_dump. :raises BackupError: pg_dump fails.
        """
        options = [
            "--format=directory",
            f"--jobs={dump_processes(jobs)}",
            "--compress=0",
            "--verbose",
            f"--snapshot={snapshot}",
            f"--lock-wait-timeout={_LOCK_WAIT_MILLISECONDS}",
            f"--file={folder}",
        ]
        if self.unreadable_large_objects():
            # All versions know this name of the option.
            options.append("--no-blobs")
        try:
            with closing(self.programs.lines("pg_dump", options)) as lines:
                for line in lines:
                    finished = _FINISHED.match(line) if line else None
                    yield folder / f"{finished[1]}.dat" if finished else None
        except BackupError as error:
            if _AWAITED.search(str(error)) or self._has_changed_since(snapshot):
                raise SchemaChangingError(
                    f"データベースの構造を変える処理（移行など）と重なり、ダンプを取れません（{error}）"
                ) from None
            if _DISK_FULL not in str(error):
                raise
            # pg_dump does not name its file. The server names its own files.
            raise BackupError(
                f"{error}。一時フォルダー {folder} かサーバーの空き容量がなくなりました。"
                "空けるか、一時フォルダーの置き場所（TMPDIR）を広げてください。"
            ) from None

    def _has_changed_since(self, snapshot: str) -> bool:
        """True if tables, views, functions or types differ from the exported snapshot, for example because of a migration.

        False if the snapshot is gone, because then pg_dump's own reason counts.
        """
        try:
            with self.connect() as connection:
                now = _SQL.row(connection, "structure")
                with connection.transaction():
                    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
                    return now != _SQL.row(connection, "structure")
        except (psycopg.Error, DatabaseUnavailableError):
            return False

    @contextmanager
    def new_database(self, database: str, properties: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Create an empty database, with the encoding of ``properties``, and their locale if the server has it. Drop it if the block fails.

        A signal during its creation drops it too.
        :raises BackupError: it exists. Then it stays, because it may be another run's.
        """
        with refused_if_it_exists(database):
            connection = self.connect()
            try:
                with connection:
                    create_database(connection, database, properties or {})
                yield
            except psycopg.errors.DuplicateDatabase:
                raise
            except BaseException:
                self.drop(database)
                raise

    def rename(self, database: str, name: str) -> None:
        """Rename a database. :raises BackupError: there is a database with this name."""
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        with self.connect() as connection, refused_if_it_exists(name):
            connection.execute(rename.format(sql.Identifier(database), sql.Identifier(name)))

    def refuse_existing(self, database: str) -> None:
        """Check the name. :raises BackupError: there is a database with this name."""
        with refused_if_it_exists(database):
            if database in self.databases(database):
                raise psycopg.errors.DuplicateDatabase

    def copy_structure(self, folder: Path, database: str) -> None:
        """Create a database with all tables of this one, without rows, keys and indexes. ``folder`` must not exist.

        :raises BackupError: the database exists, or a tool fails; then there is no database.
        """
        options = ["--format=directory", "--schema-only", "--no-privileges", "--no-comments"]
        self.programs.run("pg_dump", [*options, f"--file={folder}"])
        left_out = (
            set() if self.is_superuser() else {each.entry_id for each in self.entries_of_superuser(folder)}
        )
        kept = [each.entry_id for each in self.entries(folder, "pre-data") if each.entry_id not in left_out]
        with self.new_database(database):
            self.restore(folder, database, "pre-data", entries=kept, with_owners=False)

    @contextmanager
    def dropped_after_error(self, database: str) -> Iterator[None]:
        """Drop the database if the block fails. Enter it only after ``new_database``, so that it drops no other run's database."""
        try:
            yield
        except BaseException:
            self.drop(database)
            raise

    def entries(self, folder: Path, section: str = "") -> list[ArchiveEntry]:
        """The entries of a dump's section, or of all sections with their dependencies. Only the table of contents needs to be local.

        :raises BackupError: this server's programs cannot read the dump, because it is of a newer version.
        """
        return parse_entries(self._listing(folder, f"--section={section}" if section else "--verbose"))

    def entries_of_superuser(self, folder: Path) -> list[ArchiveEntry]:
        """The entries of this database's dump that only a superuser can restore, with dependent ones."""
        with self.connect() as connection:
            return entries_of_superuser(self.entries(folder), superuser_objects(connection))

    def _listing(self, folder: Path, option: str) -> str:
        try:
            return self.programs.listing("pg_restore", ["--list", option, str(folder)])
        except BackupError as error:
            if _NEWER_FORMAT not in str(error):
                raise
            raise BackupError(
                f"このバックアップは新しい版の pg_dump で取られたため、PostgreSQL {self.major_version} に使える pg_restore では"
                "読めません。取得元と同じか、それより新しい版のサーバーに復元してください。"
            ) from None

    def restore(
        self,
        folder: Path,
        database: str,
        section: str,
        *,
        jobs: int = 1,
        entries: Iterable[int] | None = None,
        with_owners: bool,
    ) -> None:
        """Restore a section of a dump (``pre-data``, ``data``, ``post-data``), or only its entries with these numbers.

        Tables go to the database's default tablespace. ``with_owners`` needs the roles and a superuser. :raises BackupError: the restore
        fails.
        """
        options = ["--exit-on-error", "--no-tablespaces", f"--section={section}", f"--jobs={jobs}"]
        if not with_owners:
            # A database with a subscription cannot be dropped.
            options += ["--no-owner", "--no-privileges", "--no-subscriptions"]
        if entries is not None:
            listed = folder / "entries"
            listed.write_text("".join(f"{entry};\n" for entry in entries), encoding="ascii")
            options.append(f"--use-list={listed}")
        try:
            self.programs.run("pg_restore", [*options, str(folder)], database)
        except BackupError as error:
            source = _SOURCE.search(self._listing(folder, "--section=data"))
            if source and int(source[1]) > self.major_version:
                raise BackupError(
                    f"{error}。このバックアップは PostgreSQL {source[1]} のもので、復元先の PostgreSQL {self.major_version} にない機能を"
                    f"使っている可能性があります。PostgreSQL {source[1]} 以上のサーバーに復元してください。"
                ) from error
            if not with_owners or self.is_superuser():
                raise
            raise BackupError(
                f"{error}。スーパーユーザーの接続で実行するか、--no-owners で所有者と権限なしに復元してください。"
            ) from error

    def sizes(self, lock_wait: timedelta = timedelta(seconds=10)) -> DatabaseSize:
        """The sizes of the tables for the dump.

        :raises psycopg.errors.LockNotAvailable: a table stays locked for longer than ``lock_wait``.
        """
        with self.connect() as connection:
            _SQL.execute(connection, "limit_lock_waits", milliseconds=lock_wait // timedelta(milliseconds=1))
            return DatabaseSize(
                table_sizes(connection),
                large_object_bytes=int(_SQL.row(connection, "large_object_bytes")[0]),
                database_bytes=int(_SQL.row(connection, "database_bytes")[0]),
            )

    def is_superuser(self) -> bool:
        """True if the login can restore owners and privileges."""
        with self.connect() as connection:
            return is_superuser(connection)

    def unreadable_large_objects(self) -> int:
        """The number of large objects that the login cannot read. If there is one, a dump contains no large objects."""
        with self.connect() as connection:
            return unreadable_large_objects(connection)

    def databases(self, prefix: str) -> list[str]:
        """The names of the databases with this prefix."""
        with self.connect() as connection:
            return _SQL.column(connection, "list_databases", prefix=prefix)

    def drop(self, database: str) -> None:
        """Drop the database, even if there are connections to it."""
        drop = sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(database))
        with self.connect() as connection:
            try:
                connection.execute(drop + sql.SQL(" WITH (FORCE)"))
            except psycopg.errors.InsufficientPrivilege:
                # FORCE fails during autovacuum if the login is no superuser. Without it, PostgreSQL ends autovacuum first.
                connection.execute(drop)


def _refuse(findings: Sequence[Finding]) -> None:
    """Check the findings. :raises SettingsError: a finding is an error."""
    for finding in findings:
        if finding.severity is FindingSeverity.ERROR:
            raise SettingsError(f"接続 '{CONNECTION}': {finding.text}")


def dump_processes(jobs: int) -> int:
    """The number of pg_dump's processes that write files."""
    return max(jobs, _LEAST_PROCESSES)


def _unavailable(error: psycopg.OperationalError) -> DatabaseUnavailableError:
    return DatabaseUnavailableError(
        f"バックアップ用の接続 '{CONNECTION}' で PostgreSQL に接続できません: {reason_of(error)}"
    )
