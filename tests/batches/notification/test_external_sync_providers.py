"""BATCH-019-03: two services of a tenant that use the same ids. A sync of one changes no row of the other."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from include.skillreport.core.catalog import EXTERNAL_SYNC
from include.skillreport.core.execution.batch import Work
from include.skillreport.core.network import Network
from local_stack.batch_runs import open_run, process_tenants
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.worlds.directory_rows import (
    DAY,
    batch,
    employees,
    line_works,
    line_works_user,
    member,
    run_sync,
    slack,
)

pytestmark = pytest.mark.tenants("A")

TABLES = (
    "account_link",
    "directory_account",
    "directory_channel",
    "directory_listing",
    "listed_account",
    "listed_channel",
)


def rows_of(host: psycopg.Connection, provider: str) -> dict[str, list[Any]]:
    """The rows of the provider by table."""
    return {
        name: host.execute(
            sql.SQL("SELECT to_jsonb(row) FROM {} AS row WHERE provider = %s ORDER BY 1::text").format(
                sql.Identifier("batch", name)
            ),
            [provider],
        ).fetchall()
        for name in TABLES
    }


def test_a_sync_changes_only_the_rows_of_its_service(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, [1, 2])
    chat, works = slack(host, services), line_works(host, services)
    members = [member(number, id=f"X{number}") for number in (1, 2)]
    channels = [{"id": name, "name": name} for name in ("C1", "C2")]
    works.pages = [[line_works_user(1, userId="X1"), line_works_user(2, userId="X2")]]
    works.channels = [{"groupId": name, "groupName": name} for name in ("C1", "C2")]
    chat.pages, chat.channels = [members], channels
    run_sync(database, services)
    links = []
    # Each day LINE WORKS is listed, not yet applied, while Slack's account and channel are gone or back.
    for number, listed in enumerate([1, 1, 1, 2], start=1):
        chat.pages, chat.channels = [members[:listed]], channels[:listed]
        with database.working() as (platform, connection):
            run, _ = open_run(platform, EXTERNAL_SYNC, batch(), DAY + timedelta(days=number))
            network = Network(allowed_hosts=services.allowed_hosts)
            batch().fetch(Work(replace(run, part="line_works"), connection, ["A"], network=network))
            before = rows_of(host, "line_works")
            process_tenants(connection, platform, batch(), replace(run, part="slack"), ["A"], network=network)
        assert rows_of(host, "line_works") == before
        assert all(before.values()), {name: len(rows) for name, rows in before.items()}
        links.append([row["status"] for (row,) in rows_of(host, "slack")["account_link"]])

    assert links == [["active"] * 2, *([["active", "inactive"]] * 2), ["active"] * 2]
    for name in ("account_link", "directory_channel"):
        ids = [
            {row["external_id"] for (row,) in rows_of(host, provider)[name]}
            for provider in ("slack", "line_works")
        ]
        assert ids[0] == ids[1]
