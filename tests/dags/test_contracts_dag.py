"""A whole Airflow that changes contracts: the second person is asked, and Airflow keeps nothing personal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg import sql

from include.skillreport.approvals import APPROVE
from include.skillreport.core.operation_catalog import (
    APPROVE_CONTRACTS,
    OPERATE_CONTRACTS,
)
from local_stack.stand_ins import StandIns
from tests.airflow_installation import connect_metadata
from tests.conftest import Database
from tests.dags.dag_runs import DagRuns
from tests.dags.running_airflow import ADMIN, NO_SCHEDULE, Api, StartAirflow, answer_request, open_request
from tests.worlds.billing_rows import customer
from tests.worlds.contract_entries import changes, enter, profile

SECRETS = ("himitsu@kyaku.example", "株式会社ヒミツ", "ﾋﾐﾂ")


def mentions(metadata_url: str, folder: Path, secrets: tuple[str, ...]) -> list[str]:
    """The tables of Airflow's database and the files below the folder that contain one of the texts, as such or as JSON escapes."""
    texts = [form for each in secrets for form in (each, each.encode("unicode_escape").decode())]
    found = []
    with connect_metadata(metadata_url, autocommit=True) as metadata:
        tables = metadata.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert ("dag_run",) in tables
        for (table,) in tables:
            query = sql.SQL(
                "SELECT count(*) FROM {} AS t, unnest(%s::text[]) AS s (secret) WHERE strpos(t::text, s.secret) > 0"
            )
            row = metadata.execute(query.format(sql.Identifier(table)), [texts]).fetchone()
            found += [table] if row != (0,) else []
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    found += [str(path) for path in files if any(text.encode() in path.read_bytes() for text in texts)]
    return found


@pytest.mark.slow("runs whole DAGs")
def test_a_discount_is_entered_with_airflows_own_form(
    runs: DagRuns, database: Database, slack: StandIns
) -> None:
    with database.connect() as host:
        customer(host, "A")
    given = {
        "operation": "set_discount",
        "tenants": ["A"],
        "discount_name": "年間契約割引",
        "discount_kind": "percentage",
        "value": "10",
        "valid_from": "2026-11-01",
        "reason": "契約書",
    }
    done = runs.test(OPERATE_CONTRACTS.dag_id, "2026-11-10", **given)

    assert done.state == "success", done.log
    assert slack.messages == []
    with database.connect() as host:
        assert [each[:3] for each in changes(host)] == [("A", "discount", "applied")]
    refused = runs.test(OPERATE_CONTRACTS.dag_id, "2026-11-11", **(given | {"email": SECRETS[0]}))
    assert refused.state == "failed"


@pytest.fixture
def api(start_airflow: StartAirflow) -> Iterator[Api]:
    with start_airflow(NO_SCHEDULE) as api:
        yield api


@pytest.mark.exclusive
@pytest.mark.long
def test_airflow_keeps_nothing_personal_and_nobody_approves_alone(
    api: Api, database: Database, migrated_metadata: str, tmp_path: Path
) -> None:
    contracts = replace(api, dag_id=OPERATE_CONTRACTS.dag_id)
    approval = replace(api, dag_id=APPROVE_CONTRACTS.dag_id)
    for each in (contracts, approval):
        each.unpause()
    with database.connect() as host:
        customer(host, "A")
    values = {"email": SECRETS[0], "recipient_name": SECRETS[1], "reason": f"契約書 {SECRETS[2]}"}
    token = enter(database, "set_profile", values, person=ADMIN)

    run_id = contracts.trigger(operation="set_profile", tenants=["A"], entry=token)

    assert contracts.wait(run_id) == "success", contracts.states(run_id)
    (waiting,) = approval.call("GET", f"/api/v2/dags/{APPROVE_CONTRACTS.dag_id}/dagRuns")["dag_runs"]
    asked = waiting["dag_run_id"]
    shown = open_request(approval, asked)
    assert "請求先: 宛名、送付先" in shown["body"]
    answer_request(approval, asked, APPROVE, note="確認済み")
    assert approval.wait(asked) == "failed"
    with database.connect() as host:
        assert changes(host) == [("A", "profile", "waiting", ADMIN, None)]
        assert profile(host) == {}
        assert host.execute("SELECT form_values FROM batch.entered_values").fetchall() == [(None,)]
    assert mentions(migrated_metadata, tmp_path, (token,)) != []
    assert mentions(migrated_metadata, tmp_path, SECRETS) == []
    contracts.clear_task(run_id, "open_run")
    assert contracts.wait(run_id) == "failed", contracts.states(run_id)
    with database.connect() as host:
        assert changes(host) == [("A", "profile", "waiting", ADMIN, None)]
