"""A channel is a folder and a line: the batches, the check and the board use one that no other product file knows."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.skillreport.core.catalog import (
    NOTIFICATION_RETRY,
    NOTIFICATION_SETTINGS_CHECK,
    SCHEDULED_NOTIFICATIONS,
)
from include.skillreport.core.errors import SchemaError
from include.skillreport.core.network import EmailConfig, Network
from include.skillreport.core.run_spec import BatchSpec
from include.skillreport.messaging.channels import CHANNELS
from include.skillreport.schema.checks.report import check_database
from include.skillreport.schema.deploy import upgrade
from include.skillreport.schema.deployment_check import check_deployment
from local_stack.stand_ins import StandIns
from tests.board.conftest import Board
from tests.conftest import PASSWORDS, Database
from tests.recipes.recipe import recipes
from tests.toy_channel import toy as toy_package
from tests.toy_channel.service import KEY, ToyService
from tests.worlds import host_rows
from tests.worlds.outbox_rows import make_due, run_notifications, statuses, waiting

pytestmark = pytest.mark.tenants("A", admin_email="admin@example.jp")


@pytest.fixture
def mail() -> Any:
    """The mail server of the installation."""
    with StandIns() as services:
        yield services


@pytest.fixture(autouse=True)
def credentials(host: psycopg.Connection, toy: ToyService) -> None:
    """The tenant's row of SYS_IntegrationConfig."""
    host_rows.insert(
        host,
        "SYS_IntegrationConfig",
        id="toy",
        tenant_id="A",
        integration_key="Toy-Chat",
        endpoint_url=f"http://{toy.host}",
        auth_config=f'{{"key": "{KEY}"}}',
        is_enabled=True,
        updated_at=datetime(2026, 10, 1),
    )


@pytest.fixture
def run(database: Database, mail: StandIns, toy: ToyService) -> Any:
    """A whole run of a batch."""

    def run_batch(spec: BatchSpec = SCHEDULED_NOTIFICATIONS) -> Any:
        email = EmailConfig("127.0.0.1", mail.smtp_port, "no-reply@example.jp", security="none")
        network = Network(email, mail.allowed_hosts | {toy.host})
        return run_notifications(database, mail, spec=spec, through=network)

    return run_batch


def set_key(host: psycopg.Connection, key: str) -> None:
    host.execute(
        "UPDATE \"SYS_IntegrationConfig\" SET auth_config = jsonb_build_object('key', %s::text)::text", [key]
    )


def row(host: psycopg.Connection) -> dict[str, Any]:
    """The tenant's message."""
    columns = "channel, status, attempts, provider_message_id, error_code"
    found = host.execute(f"SELECT {columns} FROM batch.outbox WHERE channel = 'toy'").fetchone()
    assert found is not None
    return dict(zip(columns.split(", "), found, strict=True))


def test_a_notification_is_sent_as_the_channel_renders_it(
    host: psycopg.Connection, toy: ToyService, run: Any
) -> None:
    log_id = waiting(host, "A", "TOY_CHAT", recipient_address="lobby", subject="件名", message_body="本文")
    run()
    assert toy.messages == [{"room": "lobby", "text": "[件名] 本文"}]
    assert row(host) == {
        "channel": "toy",
        "status": "sent",
        "attempts": 1,
        "provider_message_id": "1",
        "error_code": None,
    }
    shown = host.execute('SELECT send_status FROM "HIS_NotificationLog" WHERE id = %s', [log_id]).fetchone()
    assert shown == ("SUCCESS",)


def test_a_transient_failure_is_retried_as_often_as_the_channel_allows(
    host: psycopg.Connection, toy: ToyService, run: Any
) -> None:
    waiting(host, "A", "toy", recipient_address="lobby")
    toy.failures = [503, 503]
    run()
    assert (row(host)["status"], row(host)["error_code"]) == ("retry", "http_503")
    make_due(host)
    run(NOTIFICATION_RETRY)
    assert (row(host)["status"], row(host)["attempts"]) == ("dead", 2)
    assert toy.messages == []


def test_a_message_without_an_answer_waits_for_an_operator(
    host: psycopg.Connection, toy: ToyService, run: Any
) -> None:
    waiting(host, "A", "toy", recipient_address="lobby")
    toy.failures = [500]
    run()
    assert row(host)["status"] == "ambiguous"


def test_the_daily_check_finds_a_wrong_key_and_reopens_the_channel(
    host: psycopg.Connection, toy: ToyService, run: Any
) -> None:
    set_key(host, "wrong")
    waiting(host, "A", "toy", recipient_address="lobby")
    run()
    closed = "SELECT channel, error_code FROM batch.channel_circuit"
    assert host.execute(closed).fetchall() == [("toy", "http_401")]
    run(NOTIFICATION_SETTINGS_CHECK)
    finding = "SELECT subject, code, detail FROM batch.setting_finding"
    assert host.execute(finding).fetchall() == [
        ("接続先 Toy Chat", "http_401", "キーが正しくありません。認証情報か権限を直してください")
    ]
    set_key(host, KEY)
    run(NOTIFICATION_SETTINGS_CHECK)
    assert host.execute(closed).fetchall() == host.execute(finding).fetchall() == []
    make_due(host)
    run(NOTIFICATION_RETRY)
    assert len(toy.messages) == 1


def test_the_board_filters_by_the_channel_and_names_it(
    board: Board, host: psycopg.Connection, toy: ToyService, run: Any
) -> None:
    waiting(host, "A", "toy", recipient_address="lobby")
    waiting(host, "A", "EMAIL", recipient_address="nobody")
    toy.failures = [500]
    run()
    assert statuses(host) == {("toy", "ambiguous"): 1, ("email", "dead"): 1}
    page = board.get("/messages", params={"channel": "toy"})
    assert page.status_code == 200
    assert '<option value="toy" selected>Toy Chat</option>' in page.text
    assert "<td>Toy Chat</td>" in page.text
    assert "メールアドレスの形式" not in page.text


def test_the_recipe_for_a_channel_is_this_channel() -> None:
    (recipe,) = [each for each in recipes() if each.title == "Add a channel"]
    of_recipe = {
        Path(step.path or "").name: step.text for step in recipe.steps if "/toy/" in (step.path or "")
    }
    here = {
        file.name: file.read_text(encoding="utf-8") for file in Path(toy_package.__file__).parent.glob("*.*")
    }
    assert of_recipe.keys() == here.keys()
    for name, text in here.items():
        moved = text.replace("tests.toy_channel.toy", "include.skillreport.messaging.channels.toy")
        # Imports are sorted by the name of the package.
        assert sorted(moved.splitlines()) == sorted(of_recipe[name].splitlines()), name


@pytest.mark.own_database
def test_a_deployment_without_the_channel_refuses_to_run(
    database: Database, monkeypatch: pytest.MonkeyPatch, toy: ToyService, host: psycopg.Connection, run: Any
) -> None:
    upgrade(database.dsn, passwords=PASSWORDS)
    waiting(host, "A", "toy", recipient_address="lobby")
    toy.failures = [503]
    run()
    monkeypatch.delitem(CHANNELS, "toy")
    with database.connect("batch_platform") as platform, pytest.raises(SchemaError, match="upgrade"):
        check_deployment(platform)
    (found,) = [each for each in check_database(database.dsn).findings if each.subject == "batch.channel"]
    assert found.code == "outdated"

    upgrade(database.dsn, passwords=PASSWORDS)
    with database.connect("batch_platform") as platform:
        check_deployment(platform)
    # The row of the message keeps the channel, whose name now means nothing to the batches.
    make_due(host)
    run(NOTIFICATION_RETRY)
    assert (row(host)["status"], toy.messages) == ("retry", [])
