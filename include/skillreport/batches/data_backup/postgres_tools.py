"""Runs pg_dump and pg_restore, without secrets in the command line. No process outlives the task."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from include.skillreport.core.database import read_conninfo
from include.skillreport.core.errors import BatchError
from include.skillreport.core.execution.program_login import ProgramLogin, program_login

_TICK_SECONDS = 1.0
_END_SECONDS = 10.0

# Kills the process group $0 if its standard input ends without a line, because then the task was killed.
_WATCH = 'read -r line || kill -s TERM -- "-$0"'


# A tool writes an error in parts, so a worker's output may replace the last part.
_SPLIT_ERROR = re.compile(r"error: (?:[\w.-]+:| )*(?:dumping contents of|finished item) .*")


class BackupError(BatchError):
    """The backup cannot be taken or used. ``code`` selects the ``FailureKind``."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class SchemaChangingError(BackupError):
    """Another session alters, creates or drops tables, for example a migration."""

    recoverable = True


class PostgresTools:
    """The PostgreSQL programs in ``bin_dir``, for the database of ``dsn``. ``session_options`` are server options."""

    def __init__(self, dsn: str, bin_dir: str, session_options: str = "") -> None:
        self._dsn = dsn
        self._bin_dir = bin_dir
        self._session_options = session_options

    def __repr__(self) -> str:
        return "PostgresTools()"  # the connection string contains a password

    def run(self, tool: str, options: Sequence[str], database: str | None = None) -> None:
        """Run the tool on the database. :raises BackupError: the tool fails or is killed, with its first error."""
        with closing(self.lines(tool, options, database)) as lines:
            for _ in lines:
                pass

    def lines(
        self, tool: str, options: Sequence[str], database: str | None = None
    ) -> Generator[str | None, None, None]:
        """Run the tool. Yield each line of its output as it arrives, and None after a second without one.

        The tool waits for the reader before it writes its next line. Close the generator to end the tool.
        :raises BackupError: as ``run``.
        """
        parts = {"dbname": database} if database else {}
        if self._session_options:
            own = read_conninfo(self._dsn).get("options") or ""
            parts["options"] = f"{own} {self._session_options}".strip()
        reason = _Reason()
        with (
            program_login(self._dsn, **parts) as login,
            _started([str(Path(self._bin_dir, tool)), *options], login) as (process, output),
        ):
            for line in _lines(process, output):
                if line is not None:
                    reason.read(line)
                yield line
        if process.returncode:
            how = (
                f"シグナル {-process.returncode} で強制終了されました"
                if process.returncode < 0
                else f"終了コード {process.returncode} で失敗しました"
            )
            raise BackupError(f"{tool} が{how}: {reason}")

    def listing(self, tool: str, options: Sequence[str]) -> str:
        """The output of a tool that reads only local files. :raises BackupError: the tool fails."""
        done = subprocess.run(
            [str(Path(self._bin_dir, tool)), *options],
            env=os.environ | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
        )
        if done.returncode:
            raise BackupError(
                f"{tool} が終了コード {done.returncode} で失敗しました: {done.stderr.strip()[:500]}"
            )
        return done.stdout


class _Reason:
    """A tool's first error with the detail, otherwise its last line."""

    def __init__(self) -> None:
        self._last = "（出力なし）"
        self._error = self._detail = ""

    def read(self, line: str) -> None:
        if "error:" in line and not self._error:
            self._error = line
        elif _SPLIT_ERROR.search(self._error):
            self._error = _SPLIT_ERROR.sub(lambda _: f"error: {line}", self._error)
        elif "detail:" in line and self._error and not self._detail:
            self._detail = line
        elif line.strip():
            self._last = line

    def __str__(self) -> str:
        return " ".join(filter(None, (self._error, self._detail))) or self._last


@contextmanager
def _started(command: Sequence[str], login: ProgramLogin) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The running tool in its own process group, and its output. After the block, no process of the group runs."""
    output, writer = _narrow_pipe()
    try:
        process = subprocess.Popen(
            [*command, f"--dbname={login.conninfo}"],
            env={**login.environment, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=writer,
            pass_fds=login.files,
            process_group=0,
        )
    except BaseException:
        os.close(output)
        raise
    finally:
        os.close(writer)
    watch = None
    try:
        watch = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, str(process.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        yield process, output
    finally:
        # First, because a tool that still writes would wait for a reader.
        os.close(output)
        _end(process)
        if watch:
            watch.communicate(b"ended\n")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the group's remaining processes. SIGTERM first, so that pg_dump also cancels its statements on the server."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _narrow_pipe() -> tuple[int, int]:
    """A pipe that holds one write, if the system supports that, so that a tool waits for its reader."""
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox without packet pipes
            reader, writer = os.pipe2(os.O_CLOEXEC | os.O_DIRECT)
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
            return reader, writer
    return os.pipe()


def _lines(process: subprocess.Popen[bytes], output: int) -> Iterator[str | None]:
    """The lines of the output until its end, or until the process has ended. None for a second without a line."""
    rest = b""
    while True:
        if not select.select([output], [], [], _TICK_SECONDS)[0]:
            if process.poll() is not None:  # a worker that outlives it keeps the pipe open
                break
            yield None
            continue
        block = os.read(output, 1 << 16)
        if not block:
            break
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")
    # The process may outlive its output.
    while process.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_TICK_SECONDS)
        yield None
