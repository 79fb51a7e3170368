"""Kill a process before each act by which it is seen outside: a commit, a file of its folders, a connection to a service."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import pq
from typing_extensions import override

from local_stack.local_run import KilledError
from tests.worlds.shared_database import SharedDatabase

_WRITES = re.compile(
    r"\b(?:INSERT|UPDATE|DELETE|TRUNCATE|MERGE|CREATE|DROP|ALTER|CALL)\b|\bSELECT\s+batch\.", re.I
)

# Events of sys.audit that change a folder, with the positions of their paths.
_FILE_EVENTS = {
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.link": (1,),
    "shutil.rmtree": (0,),
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass
class Process:
    """The process of a task. It counts its acts, and dies before the act with number ``dies_at``; a dead process does nothing more.

    ``acts`` has what it did, in order: ``commit``, ``rename a.csv``, ``connect 1025``.
    """

    folder: Path
    ports: Sequence[int] = ()
    dies_at: int | None = None
    acts: list[str] = field(default_factory=list)
    is_dead: bool = False

    def act(self, what: str) -> None:
        """Do something that is seen outside. :raises KilledError: the process is killed before."""
        if self.is_dead or len(self.acts) == self.dies_at:
            self.is_dead = True
            raise KilledError(what)
        self.acts.append(what)

    @contextmanager
    def living(self) -> Iterator[Self]:
        """In the block, this process does what the test's process does."""
        global _living  # an audit hook is one for all, and stays
        if not _hooked:
            sys.addaudithook(_audit)
            _hooked.append(True)
        assert _living is None
        _living = self
        try:
            yield self
        finally:
            _living = None


_living: Process | None = None
_hooked: list[bool] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    process = _living
    if process is None:
        return
    if event == "open":
        path, _, flags = arguments
        if flags & _WRITING and _is_in(process.folder, path):
            process.act(f"write {Path(os.fsdecode(path)).name}")
    elif event in _FILE_EVENTS:
        paths = [arguments[position] for position in _FILE_EVENTS[event]]
        if any(_is_in(process.folder, path) for path in paths):
            process.act(f"{event.partition('.')[2]} {Path(os.fsdecode(paths[-1])).name}")
    elif event == "socket.connect":
        address = arguments[1]
        if isinstance(address, tuple) and address[1] in process.ports:
            process.act(f"connect {address[1]}")


def _is_in(folder: Path, path: object) -> bool:
    return isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(f"{folder}{os.sep}")


class MortalDatabase(SharedDatabase):
    """The database whose connections belong to the living process."""

    @override
    def connect(self, role: str | None = None) -> psycopg.Connection:
        connection = super().connect(role)
        if _living:
            _make_mortal(connection, _living)
        return connection


def _make_mortal(connection: psycopg.Connection, process: Process) -> None:
    execute = connection._exec_command

    def exec_command(command: Any, *arguments: Any, **options: Any) -> Any:
        if command == b"COMMIT" and (yield from _has_written(connection, execute)):
            process.act("commit")
        return (yield from execute(command, *arguments, **options))

    class Mortal(psycopg.Cursor[Any]):
        @override
        def execute(self, query: Any, *arguments: Any, **options: Any) -> Self:
            _before(connection, process, query)
            return super().execute(query, *arguments, **options)

        @override
        def executemany(self, query: Any, *arguments: Any, **options: Any) -> None:
            _before(connection, process, query)
            super().executemany(query, *arguments, **options)

    connection._exec_command = exec_command  # type: ignore[method-assign]
    connection.cursor_factory = Mortal


def _has_written(connection: psycopg.Connection, execute: Callable[..., Any]) -> Any:
    """Whether the transaction has written: only then its commit is seen. A pipeline cannot be asked."""
    if connection._pipeline:
        return True
    if connection.pgconn.transaction_status != pq.TransactionStatus.INTRANS:
        return False
    result = yield from execute(b"SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
    return result.get_value(0, 0) == b"t"


def _before(connection: psycopg.Connection, process: Process, query: Any) -> None:
    """A statement outside of a transaction is a transaction."""
    if process.is_dead:
        raise KilledError
    if connection.pgconn.transaction_status == pq.TransactionStatus.IDLE:
        text = query if isinstance(query, str) else query.as_string(connection)
        if _WRITES.search(text):
            process.act("commit")
