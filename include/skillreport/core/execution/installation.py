"""The interface between a run's flow and its environment (Airflow or the local stack)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import psycopg

from include.skillreport.core.execution.digest import Digest
from include.skillreport.core.execution.object_store import ObjectStore
from include.skillreport.core.network import MailboxConfig, Network

if TYPE_CHECKING:
    from include.skillreport.core.execution.run_log import RunResult


class Installation(Protocol):
    """Implemented with Airflow's connections, Variables and API, and by the local stack for the demo, tests and benchmarks."""

    def platform(self, time_limit: timedelta) -> AbstractContextManager[psycopg.Connection]:
        """A connection in autocommit mode as ``batch_platform``; ``time_limit`` is its statement timeout."""

    def tenants(self, time_limit: timedelta) -> AbstractContextManager[psycopg.Connection]:
        """Like ``platform``, as ``batch_tenant``, which sees only rows of the transaction's tenants."""

    def cleanup(self, time_limit: timedelta) -> AbstractContextManager[psycopg.Connection]:
        """Like ``platform``, as ``batch_cleanup``, which deletes application rows of the transaction's tenants through views.

        :raises SchemaError: the installation may not delete. :raises ConnectionMissingError: it has no such connection.
        """

    def check_logins(self, *, with_tenants: bool) -> None:
        """Check the connections of ``platform`` and, with ``with_tenants``, of ``tenants``.

        :raises SchemaError: a login may not act as its role, cannot write, or does not keep its session.
        """

    def check_deployment(self, platform: psycopg.Connection) -> None:
        """Check that schema ``batch`` matches this code. :raises SchemaError: contains the command to run."""

    def database(self, name: str) -> str:
        """A connection's libpq connection string with the password. :raises ConnectionMissingError: it is not defined."""

    def secret(self, name: str) -> str:
        """A connection's password. :raises ConnectionMissingError: the connection or its password is missing."""

    def keys(self, name: str) -> list[str]:
        """A connection's password and its earlier ones (the list ``earlier`` in its extra); empty if it is not defined.

        :raises ConnectionMissingError: it has no password. :raises ConnectionInvalidError: its extra cannot be used.
        """

    def variable(self, name: str) -> str:
        """The stripped value of a Variable; empty if it is not set."""

    def store(self) -> ObjectStore | None:
        """The object store. None: this installation writes no files (local runs). :raises SettingsError: no store is configured."""

    def network(self, *, with_mail: bool) -> Network | None:
        """The network for requests and messages. :raises ConnectionMissingError: ``with_mail`` is set and no mail server is defined."""

    def mailbox(self) -> MailboxConfig | None:
        """The mailbox for bounces, or None. :raises ConnectionInvalidError: it is defined but cannot be used."""

    def now(self) -> datetime:
        """The current time (aware)."""

    def is_alive(self, dag_id: str, run_id: str) -> bool:
        """True if the run exists and has not ended."""

    def report(self, digest: Digest, result: RunResult) -> bool:
        """Send a run's digest to the operators; returns True if it was sent or queued."""
