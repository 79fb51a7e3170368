"""The login of a PostgreSQL program (pg_dump, pg_restore, psql), without a secret in its command line, which every local user can read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from psycopg import pq
from psycopg.conninfo import make_conninfo

from include.skillreport.core.database import read_conninfo
from include.skillreport.core.errors import ConnectionInvalidError
from include.skillreport.core.execution.temporary_files import temporary_file

_SERVICE = "skill-batch"

# libpq marks its password fields with an asterisk, but not the keys that replace a password.
_SECRETS = {
    *(option.keyword.decode() for option in pq.Conninfo.get_defaults() if option.dispchar == b"*"),
    "scram_client_key",
    "scram_server_key",
}


@dataclass(frozen=True)
class ProgramLogin:
    """What the program gets: ``conninfo`` as argument, ``environment``, and the open ``files`` (``pass_fds``)."""

    conninfo: str
    environment: Mapping[str, str]
    files: Sequence[int] = ()


@contextmanager
def program_login(dsn: str, **parts: str) -> Iterator[ProgramLogin]:
    """The login with the connection string. ``parts`` replace its values. The program must not outlive the block.

    libpq reads the password from the environment, and other secrets only from a service file. The file has no name, and is gone with its
    process. :raises ConnectionInvalidError: a service file cannot contain the secrets.
    """
    given = {name: str(value) for name, value in read_conninfo(dsn).items() if value is not None} | parts
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    if password := given.pop("password", None):
        environment["PGPASSWORD"] = password
    secrets = {name: given.pop(name) for name in sorted(given) if name in _SECRETS}
    _refuse_unfit(secrets, given)
    with temporary_file() if secrets else nullcontext() as file:
        if file is None:
            yield ProgramLogin(make_conninfo(**given), environment)
            return
        lines = (f"[{_SERVICE}]", *(f"{name}={value}" for name, value in secrets.items()))
        file.write("".join(f"{line}\n" for line in lines).encode())
        file.flush()
        environment["PGSERVICEFILE"] = f"/dev/fd/{file.fileno()}"
        yield ProgramLogin(make_conninfo(**given, service=_SERVICE), environment, [file.fileno()])


def _refuse_unfit(secrets: Mapping[str, str], given: Mapping[str, str]) -> None:
    if secrets and "service" in given:
        raise ConnectionInvalidError(
            f"接続に service と {'、'.join(secrets)} を同時に指定できません。{'、'.join(secrets)} をサービスファイルに書いてください。"
        )
    for name, value in secrets.items():
        # libpq ends a value at the line's end, without its blanks.
        if value != value.rstrip() or len(value.splitlines()) > 1:
            raise ConnectionInvalidError(
                f"接続の {name} は、改行を含まず、空白で終わらない値にしてください。"
            )
