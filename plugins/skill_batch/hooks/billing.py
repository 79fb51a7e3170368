"""A hook to price, finalise, void, credit and read invoices, for the DAGs of all teams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import psycopg
from airflow.sdk import BaseHook

from skill_batch.hooks.tenant_db import PlatformDbHook, TenantDbHook
from include.skillreport.billing.service import Billing
from include.skillreport.core.execution.sharding import Unit
from include.skillreport.core.execution.tenant_selection import select_tenants


class BillingHook(BaseHook, Billing):
    """``Billing`` with Airflow's connections. BATCH-018-02 and the operations on invoices call the same methods.

    ``transaction`` opens a transaction of one tenant with row-level security. The methods of ``Billing`` work in it.

    .. code-block:: python

        hook = BillingHook()
        with hook.transaction("T1") as connection:
            (settlement,) = hook.price(connection, date(2026, 10, 1))
        print(settlement.total, settlement.currency)

    :param tenant_db_conn_id: Postgres connection that acts as ``batch_tenant``.
    :param platform_db_conn_id: Postgres connection that acts as ``batch_platform``; only to find tenants.
    """

    conn_name_attr = "tenant_db_conn_id"
    default_conn_name = TenantDbHook.default_conn_name
    conn_type = "postgres"
    hook_name = "Billing"

    def __init__(
        self,
        tenant_db_conn_id: str = TenantDbHook.default_conn_name,
        platform_db_conn_id: str = PlatformDbHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tenant_db_conn_id = tenant_db_conn_id
        self.platform_db_conn_id = platform_db_conn_id
        self._tenant_db = TenantDbHook(tenant_db_conn_id)
        self._platform_db = PlatformDbHook(platform_db_conn_id)

    def get_conn(self) -> psycopg.Connection:
        """A connection that acts as ``batch_tenant``."""
        return self._tenant_db.get_conn()

    def test_connection(self) -> tuple[bool, str]:
        """Check both connections. The message is for the connection form."""
        answers = [hook.test_connection() for hook in (self._tenant_db, self._platform_db)]
        return min(answers, key=lambda answer: answer[0])

    @contextmanager
    def transaction(self, tenant_id: str) -> Iterator[psycopg.Connection]:
        """One connection with one transaction of the tenant. :raises BillingError: there is no such tenant."""
        with self._tenant_db.transaction([tenant_id]) as connection:
            self.require_tenant(connection, tenant_id)
            yield connection

    def tenant_id_of(self, code: str) -> str:
        """The id of the tenant with this code (or id), regardless of its status. :raises BillingError: there is no such tenant."""
        with self._platform_db.connect() as platform:
            return self.find_tenant_id(platform, code)

    def billable_tenants(self, month: date) -> list[Unit]:
        """The tenants to bill for a month: active tenants, and tenants that left in the month or later and must pay for it.

        :param month: any day of the month (Asia/Tokyo).
        """
        with self._platform_db.connect() as platform:
            return select_tenants(platform, [], self.former_tenants(platform, month)).tenants
