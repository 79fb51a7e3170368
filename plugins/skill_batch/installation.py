"""The production ``Installation``, with Airflow's connections, Variables and API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow.sdk import get_current_context
from airflow.sdk.log import mask_secret

from skill_batch.connections import conninfo_of, required_connection, valid_extra
from skill_batch.lookup import find_connection, find_variable
from skill_batch.object_storage import object_store
from include.skillreport.core.errors import ConnectionInvalidError, ConnectionMissingError

if TYPE_CHECKING:
    import psycopg

    from include.skillreport.billing.service import Billing
    from include.skillreport.core.execution.digest import Digest
    from include.skillreport.core.execution.object_store import ObjectStore
    from include.skillreport.core.execution.run_log import RunResult
    from include.skillreport.core.network import MailboxConfig, Network
    from include.skillreport.messaging.service import Notifications


class AirflowInstallation:
    """Implements ``Installation`` with the hooks. Looks up each value when a step needs it."""

    def platform(self, time_limit: timedelta) -> AbstractContextManager[psycopg.Connection]:
        """A connection as ``batch_platform``."""
        from skill_batch.hooks.tenant_db import PlatformDbHook

        return PlatformDbHook(statement_timeout=time_limit).connect()

    def tenants(self, time_limit: timedelta) -> AbstractContextManager[psycopg.Connection]:
        """A connection as ``batch_tenant``."""
        from skill_batch.hooks.tenant_db import TenantDbHook

        return TenantDbHook(statement_timeout=time_limit).connect()

    @contextmanager
    def cleanup(self, time_limit: timedelta) -> Iterator[psycopg.Connection]:
        """A connection as ``batch_cleanup``. The role itself cannot read whether the installation may delete."""
        from skill_batch.hooks.tenant_db import CleanupDbHook
        from include.skillreport.schema.deletion import require_deletion

        with self.platform(time_limit) as platform:
            require_deletion(platform)
        with CleanupDbHook(statement_timeout=time_limit).connect() as connection:
            yield connection

    def check_logins(self, *, with_tenants: bool) -> None:
        """Connect twice as each role."""
        from skill_batch.hooks.tenant_db import PlatformDbHook, TenantDbHook

        PlatformDbHook().check_login()
        if with_tenants:
            TenantDbHook().check_login()

    def check_deployment(self, platform: psycopg.Connection) -> None:
        """Compare the database with this code."""
        from include.skillreport.schema.deployment_check import check_deployment

        check_deployment(platform)

    def database(self, name: str) -> str:
        """The libpq string of a Postgres connection, with its extra."""
        return conninfo_of(required_connection(name, "Postgres"))

    def secret(self, name: str) -> str:
        """The password of a connection of any type."""
        password = required_connection(name, "Generic").password
        if not password:
            raise ConnectionMissingError(f"Airflow の接続 '{name}' にパスワード（鍵）がありません。")
        mask_secret(password)
        return password

    def keys(self, name: str) -> list[str]:
        """The password of a connection of any type, and the earlier passwords in its extra."""
        connection = find_connection(name)
        if connection is None:
            return []
        earlier = valid_extra(connection).get("earlier", [])
        if not isinstance(earlier, list) or not all(isinstance(each, str) for each in earlier):
            raise ConnectionInvalidError(
                f"Airflow の接続 '{name}' の Extra の earlier は、前の鍵のリスト（[\"…\"]）にしてください。"
            )
        for each in earlier:
            mask_secret(each)
        return [self.secret(name), *earlier]

    def variable(self, name: str) -> str:
        """An Airflow Variable."""
        return (find_variable(name) or "").strip()

    def store(self) -> ObjectStore:
        """The store of the Variable ``skill_batch_storage_url``."""
        return object_store()

    def network(self, *, with_mail: bool) -> Network:
        """The hosts of the Variable ``skill_batch_allowed_hosts``, and the mail server of ``skill_batch_smtp``."""
        from skill_batch.network import network

        return network(with_mail=with_mail)

    def mailbox(self) -> MailboxConfig | None:
        """The mailbox of the connection ``skill_batch_mailbox``."""
        from skill_batch.network import mailbox

        return mailbox()

    def billing(self) -> Billing:
        """The billing hook."""
        from skill_batch.hooks.billing import BillingHook

        return BillingHook()

    def notifications(self) -> Notifications:
        """The notification hook."""
        from skill_batch.hooks.notification import NotificationHook

        return NotificationHook()

    def now(self) -> datetime:
        """The current time, in UTC."""
        return datetime.now(UTC)

    def is_alive(self, dag_id: str, run_id: str) -> bool:
        """True if the run exists in Airflow and has not ended."""
        ti = get_current_context()["ti"]
        return ti.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=["queued", "running"]) > 0

    def report(self, digest: Digest, result: RunResult) -> bool:
        """Send a digest to the operators' channels. Only for tasks."""
        from skill_batch.closing import report_digest

        return report_digest(digest, result, get_current_context()["ti"])
