"""Hostile texts of tenants, hostile answers of services, and leftovers of crashes: none of them stops other tenants."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from datetime import datetime, timedelta

import psycopg
import pytest

from include.skillreport.core.catalog import NOTIFICATION_RETRY
from include.skillreport.messaging.channels.channel import Channel, json_object
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.line_works import LINE_WORKS
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.integrations import config_of
from include.skillreport.messaging.outbox import Lane
from include.skillreport.messaging.templates import TemplateRefusedError, literal
from local_stack.local_run import KilledError
from local_stack.stand_ins import StandIns
from tests.conftest import Database
from tests.messaging.sending import Tenant, key_pair, message, row, sections, written
from tests.worlds.outbox_drafts import NOW, claim, draft, park, put, state
from tests.worlds.outbox_rows import (
    integration,
    lose_senders,
    make_due,
    run_notifications,
    slack,
    statuses,
    waiting,
)

pytestmark = pytest.mark.tenants("A", "B")

DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "body",
    [
        "{{ name|truncate(2) }}",
        "{{ " + "(" * 5_000 + "name" + ")" * 5_000 + " }}",
        "{{ " + "not " * 4_000 + "name }}",
        "{% if 1 %}" * 200 + "{% endif %}" * 200,
        "{{ name" + "|upper" * 300 + " }}",
        "{{ name" + "|upper" * 3_000 + " }}",
    ],
    ids=lambda body: body[:30],
)
def test_templates_too_deep_for_python_are_refused(body: str) -> None:
    with pytest.raises(TemplateRefusedError):
        written(body, name="a")


@pytest.mark.parametrize("body", ['a{{ "\\x00" }}b', 'a{{ "\\ud800" }}b'])
def test_no_character_comes_out_that_the_database_refuses(body: str) -> None:
    assert written(body).text == "ab"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>こちら</p>see Q&A", "こちら\nsee Q&A"),
        ("<style>p { color: red }</style><p>本文</p><script>x()</script>", "本文"),
        ("<p>a</p><![x[ b ><p>c</p>", "a\nc"),
    ],
)
def test_plain_text_of_a_page_is_what_a_reader_sees(page: str, text: str) -> None:
    assert written(page, is_html=True).text == text


def test_a_long_subject_is_cut_and_an_empty_one_omitted() -> None:
    blocks = literal(SLACK, "あ" * 200, "本文").rich
    assert isinstance(blocks, list)
    assert blocks[0]["text"]["text"] == "あ" * 149 + "…"
    blocks = literal(SLACK, "", "本文").rich
    assert isinstance(blocks, list)
    assert [block["type"] for block in blocks] == ["section"]


@pytest.mark.parametrize("character", ["あ", "&"])
def test_a_long_text_fits_into_slacks_blocks(character: str) -> None:
    post = literal(SLACK, "件名", character * 10_999 if character != "&" else "&" * 2_199)
    assert isinstance(post.rich, list)
    assert len(post.rich) <= 50
    assert f"件名\n{sections(post)}" == html.unescape(post.text)
    assert all(len(block["text"]["text"]) <= 3_000 for block in post.rich)


def test_json_that_is_too_deep_is_no_configuration() -> None:
    assert config_of(SLACK, row(DEEP, DEEP)) is None
    assert json_object(DEEP) is None


@pytest.mark.parametrize(
    "auth",
    [
        DEEP,
        json.dumps(
            {
                "client_id": "\ud800",
                "client_secret": "x",
                "service_account": "x",
                "private_key": key_pair()[0],
                "bot_id": "1",
            }
        ),
    ],
    ids=["deep", "surrogate"],
)
def test_one_tenants_broken_settings_stop_no_other_tenant(
    shared_database: Database, host: psycopg.Connection, auth: str
) -> None:
    with StandIns() as services:
        integration(
            host,
            "A",
            "line_works",
            auth={},
            connection={"auth_url": services.line_works_auth_url, "base_url": services.line_works_base_url},
        )
        host.execute('UPDATE "SYS_IntegrationConfig" SET auth_config = %s', [auth])
        slack(host, "B", services)
        waiting(host, "A", "LINE", recipient_address="users/u")
        waiting(host, "B", "SLACK", recipient_address="C1")

        run_notifications(shared_database, services)

    assert statuses(host) == {("line_works", "retry"): 1, ("slack", "sent"): 1}


def test_a_letter_whose_sender_is_lost_again_and_again_is_parked(
    shared_database: Database, host: psycopg.Connection
) -> None:
    letter, now = Lane("A", EMAIL), NOW
    with shared_database.connect("batch_tenant") as connection:
        put(connection, draft("k1", letter))
        for _ in range(5):
            claim(connection, letter, now=now)
            now += timedelta(minutes=6)
            lose_senders(host)
            park(connection, now)
    assert state(host, "k1")[:2] == ("ambiguous", 3)


def test_claimed_messages_come_in_their_order(shared_database: Database, host: psycopg.Connection) -> None:
    with shared_database.connect("batch_tenant") as connection:
        put(
            connection,
            *(draft(f"k{n}", priority=1 + n % 3, due_at=NOW - timedelta(minutes=n)) for n in range(600)),
        )
        host.execute("ANALYZE batch.outbox")
        claimed = [entry for _ in range(60) for entry in claim(connection, count=10)]
    names: dict[str, str] = dict(host.execute("SELECT message_id, dedupe_key FROM batch.outbox").fetchall())
    expected = host.execute(
        "SELECT dedupe_key FROM batch.outbox ORDER BY priority, due_at, message_id"
    ).fetchall()
    assert [(names[entry.message.message_id],) for entry in claimed] == expected


def test_a_channel_that_only_the_type_names_opens_again(
    shared_database: Database, host: psycopg.Connection
) -> None:
    with StandIns() as services:
        integration(host, "A", "notify-1", auth={"bot_token": "revoked"},
                    connection={"base_url": services.slack_base_url})  # fmt: skip
        host.execute("UPDATE \"SYS_IntegrationConfig\" SET integration_type = 'SLACK'")
        waiting(host, "A", "SLACK", recipient_address="C1")
        run_notifications(shared_database, services)
        assert statuses(host) == {("slack", "retry"): 1}
        host.execute(
            'UPDATE "SYS_IntegrationConfig" SET auth_config = \'{"bot_token": "xoxb-a"}\','
            " updated_at = now() AT TIME ZONE 'UTC' + interval '1 minute'"
        )
        from include.skillreport.core.catalog import NOTIFICATION_RETRY
        from tests.worlds.outbox_rows import make_due

        make_due(host)
        run_notifications(shared_database, services, spec=NOTIFICATION_RETRY)
    assert statuses(host) == {("slack", "sent"): 1}


def test_messages_waiting_in_the_outbox_are_not_shown_as_expired(
    shared_database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with StandIns() as services:
        for number in range(8):
            waiting(host, "A", "SLACK", recipient_address=f"C{number}")
        run_notifications(shared_database, services)
        monkeypatch.setattr("tests.worlds.outbox_rows.TODAY", datetime(2026, 11, 3).date())
        run_notifications(shared_database, services)
    shown = host.execute('SELECT DISTINCT send_status FROM "HIS_NotificationLog" ORDER BY 1').fetchall()
    assert shown == [("PENDING",), ("RETRY",)]


@pytest.mark.parametrize("kind", ["MS Teams", "Microsoft Teams"])
def test_a_notification_by_teams_is_known_however_it_is_spelled(
    shared_database: Database, host: psycopg.Connection, kind: str
) -> None:
    with StandIns() as services:
        integration(host, "A", "teams", auth={"webhook_url": services.teams_webhook_url})
        waiting(host, "A", kind, recipient_address="")
        run_notifications(shared_database, services)
    assert statuses(host) == {("teams", "sent"): 1}


def test_a_row_that_the_application_has_locked_delays_no_other(
    shared_database: Database, host: psycopg.Connection
) -> None:
    with StandIns() as services, shared_database.connect() as application:
        held = waiting(host, "A", recipient_address="a@example.jp")
        free = waiting(host, "B", recipient_address="b@example.jp")
        with application.transaction():
            application.execute('SELECT FROM "HIS_NotificationLog" WHERE id = %s FOR UPDATE', [held])
            run_notifications(shared_database, services)
            # Somebody may be withdrawing the locked one.
            assert [arrived.destination for arrived in services.messages] == ["b@example.jp"]
            assert send_status(host, free) == "SUCCESS"
        assert send_status(host, held) == "PENDING"

        make_due(host)
        run_notifications(shared_database, services, spec=NOTIFICATION_RETRY)

    assert send_status(host, held) == "SUCCESS"
    assert len(services.messages) == 2


def send_status(host: psycopg.Connection, log_id: str) -> str:
    row = host.execute('SELECT send_status FROM "HIS_NotificationLog" WHERE id = %s', [log_id]).fetchone()
    assert row is not None
    return str(row[0])


def test_a_service_that_takes_nothing_is_left_alone_until_the_next_run(
    shared_database: Database, host: psycopg.Connection
) -> None:
    with StandIns() as services:
        slack(host, "A", services)
        for number in range(30):
            waiting(host, "A", "SLACK", recipient_address=f"C{number}")
        services.fail_next("slack", "ratelimited", times=30, retry_after=3600)

        run_notifications(shared_database, services)

        assert statuses(host) == {("slack", "pending"): 30}
        # One message to each of five Slack channels was offered.
        assert host.execute(
            "SELECT count(*) FROM batch.outbox WHERE error_code = 'ratelimited'"
        ).fetchone() == (5,)


def test_a_worker_that_dies_while_it_sends_leaves_no_success_behind(
    shared_database: Database, host: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting(host, "A")

    def die(*_: object, **__: object) -> None:
        raise KilledError

    monkeypatch.setattr("include.skillreport.messaging.service.Notifications.send_due", die)
    with StandIns() as services, pytest.raises(KilledError):
        run_notifications(shared_database, services)

    assert host.execute("SELECT DISTINCT status FROM batch.tenant_outcome").fetchall() == [("pending",)]


def test_round_takes_no_more_digits_than_a_number_has() -> None:
    assert written("{{ x|round(1) }}", x=1.25).text == "1.2"
    for digits in ("10000000", "-1"):
        with pytest.raises(TemplateRefusedError):
            written("{{ 1|round(" + digits + ") }}")


@pytest.mark.parametrize("channel", [SLACK, LINE_WORKS])
def test_credentials_are_only_shown_to_the_service_itself(channel: Channel) -> None:
    tenant = Tenant(StandIns())
    elsewhere = {"base_url": "https://example.com/api/"}
    config = replace(tenant.config(channel), **elsewhere)

    result = tenant.send(config, message(channel))

    assert result.error is not None
    assert result.error.code == "refused_address"


@pytest.mark.slow("waits for slow or throttling services")
def test_a_recipient_that_is_put_off_does_not_keep_the_others_waiting(
    shared_database: Database, host: psycopg.Connection
) -> None:
    with StandIns() as services:
        services.refuse_recipient("a0@example.jp", "450 4.7.1 Greylisted")
        for tenant_id in ("A", "B"):
            for number in range(20):
                waiting(host, tenant_id, recipient_address=f"{tenant_id.lower()}{number}@example.jp")

        run_notifications(shared_database, services)

        assert statuses(host) == {("email", "pending"): 1, ("email", "sent"): 39}
