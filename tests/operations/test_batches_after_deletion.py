"""After a deletion all 14 batches run as before: the figures of the others are the same, and nothing of the tenant returns."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest

from include.skillreport.core.catalog import BATCHES
from include.skillreport.core.execution.object_store import tenant_folder
from include.skillreport.schema.deletion import Rule, deletion_list
from include.skillreport.schema.deploy import upgrade
from include.skillreport.schema.host_contract import HostVariant
from local_stack.data_management import plant_log_files
from local_stack.generator import DataShape, load_demo_data
from local_stack.stand_ins import Arrived, StandIns
from tests.chaos.normalisation import Names
from tests.conftest import Server, copied_database
from tests.worlds.batch_nights import (
    Nights,
    connect_slack,
    differences,
    files_with,
    plain,
    rows_of,
    tables_with,
)
from tests.worlds.leaving_tenants import Leaving

FIRST, SECOND = date(2026, 10, 1), date(2026, 11, 1)
COMPLETED = dict.fromkeys((spec.id for spec in BATCHES), "completed")
KEPT = {f"{table.schema}.{table.name}" for table in deletion_list() if table.rule is not Rule.DELETE}
# Folders of the store with what is kept of a deleted tenant. A backup from before the deletion has all of it.
KEPT_FOLDERS = ("invoices/", "accounting/", "backups/", "deleted_tenants/")
GONE, OTHERS = "TENANT000001", ("default-tenant", "TENANT000002")


@dataclass(frozen=True)
class Traces:
    """What only the tenant has: texts about its people, the tenant's addresses, and the keys of its people."""

    personal: set[str]
    addresses: set[str]
    keys: set[str]

    def require_none(self, host: psycopg.Connection, root: Path) -> None:
        """Neither a row nor a file has a trace of a person, and only what is kept has an address of the tenant."""
        assert self.personal
        assert tables_with(host, self.personal) == {}
        assert tables_with(host, self.addresses).keys() <= KEPT
        found = files_with(root, self.personal | self.addresses)
        assert [name for name in found if not name.startswith(KEPT_FOLDERS)] == []


def traces(host: psycopg.Connection, tenant_id: str, others: tuple[str, ...] = ()) -> Traces:
    """Of the tenant before it is deleted. Names that a person of the others has too do not count."""

    def of_people(tenant: str) -> set[str]:
        rows = host.execute(
            """
            SELECT email, full_name, phone FROM "MST_Employee" WHERE id IN (
                SELECT person_key FROM batch.all_person_key WHERE tenant_id = %s
            )
            """,
            [tenant],
        )
        return {text for row in rows for text in row if text}

    keys = host.execute("SELECT person_key FROM batch.all_person_key WHERE tenant_id = %s", [tenant_id])
    addresses = host.execute(
        'SELECT admin_email, contact_email, phone_number, domain_name FROM "MST_Tenant" WHERE tenant_id = %s',
        [tenant_id],
    )
    return Traces(
        of_people(tenant_id).difference(*map(of_people, others)),
        {text for row in addresses for text in row if text},
        {key for (key,) in keys},
    )


def shape(tenants: int) -> DataShape:
    """Activity up to both nights."""
    return DataShape(
        tenants=tenants,
        users_per_tenant=8,
        first_day=date(2026, 9, 29),
        days=33,
        requests_per_day=60 * tenants,
        odd_tenants=False,
    )


def end_contract(host: psycopg.Connection, tenant_id: str) -> None:
    host.execute(
        "UPDATE \"MST_Tenant\" SET status = 'INACTIVE', contract_end_date = '2026-09-30' WHERE tenant_id = %s",
        [tenant_id],
    )


def delete(leaving: Leaving, tenant_id: str) -> None:
    assert leaving.problems(leaving.answer(leaving.up_to_question(tenant_id))) == []


def messages(arrived: list[Arrived], names: Names) -> Counter[str]:
    return Counter(
        plain(names.normalise(f"{each.channel} {each.destination} {each.subject} {each.text}"))
        for each in arrived
    )


@pytest.mark.long
def test_the_figures_of_the_others_are_the_same(
    server: Server, templates: dict[HostVariant, str], services: StandIns, tmp_path: Path
) -> None:
    """The twin has the same rows, and the tenant has left, but is not deleted."""
    plant_log_files(tmp_path / "logs")
    with copied_database(server, templates[HostVariant.MULTI_TENANT], "twin of nights") as twin:
        with twin.connect() as host:
            load_demo_data(host, shape(3))
            for tenant_id in (GONE, *OTHERS):
                connect_slack(host, tenant_id, services)
            gone = traces(host, GONE, OTHERS)
        assert Nights(twin, tmp_path / "twin", tmp_path / "logs", services).run(FIRST) == COMPLETED
        upgrade(twin.dsn, with_deletion=True)
        with twin.connect() as host:
            assert {"batch.account_link", "batch.outbox"} <= tables_with(
                host, gone.keys | gone.addresses
            ).keys()
            end_contract(host, GONE)
        shutil.copytree(tmp_path / "twin", tmp_path / "deleted")
        with copied_database(server, twin.name, "nights after deletion") as deleted:
            delete(Leaving(deleted, tmp_path / "deleted"), GONE)
            since = datetime.now(UTC)
            rows, arrived = [], []
            for database, folder in ((twin, "twin"), (deleted, "deleted")):
                before = len(services.messages)
                assert (
                    Nights(database, tmp_path / folder, tmp_path / "logs", services).run(SECOND) == COMPLETED
                )
                with database.connect() as host:
                    names = Names.load(host, since)
                    rows.append(rows_of(host, OTHERS, names, gone.keys))
                    arrived.append(messages(services.messages[before:], names))
            assert differences(*rows) == {}
            assert arrived[0] == arrived[1] != Counter()
            for table in (
                "usage_day",
                "statistics_day",
                "invoice",
                "monthly_report",
                "outbox",
                "account_link",
            ):
                assert rows[0][f"batch.{table}"], table
            with deleted.connect() as host:
                gone.require_none(host, tmp_path / "deleted")
    reports = tmp_path / "deleted" / "reports"
    assert sorted(path.name for path in reports.iterdir()) == sorted(map(tenant_folder, OTHERS))


@pytest.mark.long
def test_no_batch_needs_a_tenant(
    server: Server, templates: dict[HostVariant, str], services: StandIns, tmp_path: Path
) -> None:
    """The only tenant of an application before its multi-tenant migration is deleted."""
    plant_log_files(tmp_path / "logs")
    with copied_database(server, templates[HostVariant.BASE], "nights without tenant") as database:
        with database.connect() as host:
            load_demo_data(host, shape(1), HostVariant.BASE)
            connect_slack(host, "default-tenant", services)
            gone = traces(host, "default-tenant")
        nights = Nights(database, tmp_path / "store", tmp_path / "logs", services)
        assert nights.run(FIRST) == COMPLETED
        upgrade(database.dsn, with_deletion=True)
        with database.connect() as host:
            end_contract(host, "default-tenant")
        delete(Leaving(database, tmp_path / "store"), "default-tenant")
        before = len(services.messages)
        assert nights.run(SECOND) == COMPLETED
        assert services.messages[before:] == []
        with database.connect() as host:
            gone.require_none(host, tmp_path / "store")
