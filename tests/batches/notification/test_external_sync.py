"""BATCH-019-03 against stand-ins: links that begin and end. Uncertain data change nothing."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from itertools import count

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.skillreport.batches.external_sync.listing import ListedDirectory
from include.skillreport.batches.external_sync.sync import apply_plan, load_plan
from include.skillreport.core.catalog import EXTERNAL_SYNC
from include.skillreport.core.database import tenant_transaction
from include.skillreport.core.errors import ParameterError
from include.skillreport.core.execution.batch import UnitFailure, UnitResult, Work
from include.skillreport.core.execution.settings import ExecutionSettings
from include.skillreport.core.network import Network
from include.skillreport.messaging.channels.slack import SLACK
from include.skillreport.messaging.settings import NotificationSettings
from local_stack.batch_runs import open_run, process_tenants
from local_stack.stand_ins import MISSING, StandInDirectory, StandIns
from tests.conftest import Database, wait_for_blocked_statement
from tests.worlds import host_rows
from tests.worlds.directory_rows import (
    DAY,
    batch,
    changes,
    employees,
    everything,
    graph_user,
    line_works,
    line_works_user,
    links,
    member,
    outcome,
    run_sync,
    setting,
    slack,
    teams,
)
from tests.worlds.outbox_rows import integration

pytestmark = pytest.mark.tenants("A", admin_email="admin@a.example.jp")

NEXT = DAY + timedelta(days=1)
AFTER = DAY + timedelta(days=2)

_numbers = count(1)


def test_a_listing_continues_past_an_empty_page_to_an_empty_cursor(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, range(1, 4))
    directory = slack(host, services)
    directory.pages = [[member(1), member(2)], [], [member(3)]]

    result = run_sync(database, services)

    assert result.status == "completed"
    assert [call for call in directory.calls if call.startswith("users.list")] == [
        "users.list",
        "users.list page-2",
        "users.list page-3",
    ]
    assert links(host) == [
        ("U0001", "A-E1", "active"),
        ("U0002", "A-E2", "active"),
        ("U0003", "A-E3", "active"),
    ]


@pytest.mark.parametrize("end", [None, MISSING])
def test_a_missing_or_null_cursor_is_the_end_as_well(
    database: Database, host: psycopg.Connection, services: StandIns, end: str | None
) -> None:
    employees(host, [1])
    directory = slack(host, services)
    directory.pages, directory.last_cursor = [[member(1)]], end

    assert run_sync(database, services).status == "completed"
    assert len(links(host)) == 1


def test_all_three_services_are_read_each_on_its_own(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, range(1, 4))
    slack(host, services).pages = [[member(1)]]
    graph = teams(host, services)
    graph.pages = [[graph_user(1)], [graph_user(2, mail=None, employeeId="000002")]]
    graph.channels = [
        {"id": "T1", "displayName": "開発", "channels": [{"id": "19:x@thread.tacv2", "displayName": "一般"}]},
        {"id": "T2", "displayName": "総務", "channels": []},
    ]
    works = line_works(host, services)
    works.pages = [[line_works_user(1), line_works_user(3, email=None, userExternalKey="000003")]]
    works.channels = [{"groupId": "GR1", "groupName": "全員"}]
    works.rooms = {"R1": {"channelId": "R1", "title": "連絡"}}
    setting(host, "line", "line-works", '{"destinations": ["channels/R1", "channels/GONE"]}')

    result = run_sync(database, services)

    assert (result.status, result.total_tenants) == ("completed", 1)
    assert host.execute(
        "SELECT provider, external_id, employee_id, matched_by FROM batch.account_link ORDER BY provider, external_id"
    ).fetchall() == [
        ("line_works", "L0001", "A-E1", "email"),
        ("line_works", "L0003", "A-E3", "employee_code"),
        ("slack", "U0001", "A-E1", "email"),
        ("teams", "G0001", "A-E1", "email"),
        ("teams", "G0002", "A-E2", "employee_code"),
    ]
    assert host.execute(
        "SELECT provider, external_id, parent_id, name, kind FROM batch.directory_channel ORDER BY provider, external_id"
    ).fetchall() == [
        ("line_works", "GR1", None, "全員", "group"),
        ("line_works", "R1", None, "連絡", "room"),
        ("teams", "19:x@thread.tacv2", "T1", "一般", "standard"),
    ]


def test_one_service_failing_never_stops_the_others_and_the_run_says_which(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, [1])
    slack(host, services).failing = {1: "missing_scope"}
    teams(host, services).pages = [[graph_user(1)]]

    result = run_sync(database, services)

    assert (result.status, result.total_tenants, result.error_count) == ("failed", 1, 1)
    assert result.failed_tenants[0].reason.startswith("slack: トークンに権限がありません。users:read、")
    assert outcome(host, "teams")["status"] == "success"
    assert links(host) == [("G0001", "A-E1", "active")]


def test_a_tenant_without_services_or_without_credentials_for_a_directory_succeeds(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "B")
    integration(host, "A", "teams", auth={"webhook_url": services.teams_webhook_url})
    integration(host, "A", "slack", auth={"bot_token": "x"}, connection={"directory_sync": False})

    assert run_sync(database, services).status == "completed"
    assert outcome(host, "teams")["details"] == {"provider": "teams", "skipped": 1}
    assert outcome(host, "slack")["details"] == {"provider": "slack", "skipped": 1}
    assert outcome(host, "", "B")["details"] == {"directories": 0}
    assert host.execute("SELECT reason FROM batch.sync_plan ORDER BY provider").fetchall() == [
        ("設定（directory_sync）により対象外です",),
        ("名簿を読む認証情報（tenant_id、client_id、client_secret）がないため対象外です",),
    ]


def test_kinds_of_accounts_are_distinguished_and_only_reachable_members_are_linked(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, range(1, 10))
    slack(host, services).pages = [
        [
            member(1),
            member(2, is_restricted=True),
            member(3, is_bot=True),
            member(4, deleted=True),
            member(5, is_invited_user=True),
            member(6, is_email_confirmed=False),
            member(7, id="USLACKBOT"),
        ]
    ]
    teams(host, services).pages = [
        [graph_user(1), graph_user(2, accountEnabled=False), graph_user(3, userType="Guest")]
    ]
    line_works(host, services).pages = [
        [
            line_works_user(1, leaveOfAbsence={"isLeaveOfAbsence": True}),
            line_works_user(2, isSuspended=True),
            line_works_user(3, isPending=True),
            line_works_user(4, isAwaiting=True),
            line_works_user(5, isDeleted=True),
        ]
    ]

    run_sync(database, services)

    assert [account for account, *_ in links(host)] == ["L0001", "U0001", "G0001"]
    told = outcome(host)["details"]
    assert (told["guests"], told["bots"], told["pending"]) == (1, 2, 1)
    told = outcome(host, "line_works")["details"]
    assert (told["onLeave"], told["suspended"], told["pending"]) == (1, 1, 2)
    assert outcome(host, "teams")["details"]["suspended"] == 1


def test_a_changed_address_of_an_account_updates_its_link(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, [1, 2])
    directory = slack(host, services)
    directory.pages = [[member(1)]]
    run_sync(database, services)
    directory.pages = [[member(1, email="e2@a.example.jp")]]

    run_sync(database, services, NEXT)

    assert links(host) == [("U0001", "A-E1", "active")]
    assert host.execute(
        "SELECT kind, before, after FROM batch.directory_change ORDER BY change_id DESC LIMIT 1"
    ).fetchone() == ("update", {"email": "e1@a.example.jp"}, {"email": "e2@a.example.jp"})


def test_two_employees_with_one_address_are_reported_and_not_linked(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, [1, 2])
    employees(host, [3], email="E1@a.example.jp")
    slack(host, services).pages = [[member(1), member(2)]]

    result = run_sync(database, services)

    assert result.status == "completed"
    assert links(host) == [("U0002", "A-E2", "active")]
    assert outcome(host)["notes"] == [
        "アカウント U0001 は連携しません: メールアドレスが同じ社員かアカウントが複数あります（社員 A-E1、A-E3）"
    ]


@pytest.mark.parametrize(
    ("failing", "recoverable", "error"),
    [
        (500, True, "Slack が一時的に使えません（HTTP 500）"),
        ("fatal_error", True, "Slack が一時的に使えません（fatal_error）"),
        (
            "not_authed",
            False,
            "トークンが使えません。Slack アプリを再インストールし、bot_token を更新してください（not_authed）",
        ),
        (404, False, "Slack が一覧を返しません（HTTP 404）"),
    ],
)
def test_a_page_that_fails_leaves_everything_as_it_was(
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    failing: str | int,
    recoverable: bool,
    error: str,
) -> None:
    employees(host, range(1, 11))
    directory = slack(host, services)
    directory.fill([member(number) for number in range(1, 11)], 2)
    run_sync(database, services)
    run_sync(database, services, NEXT)
    before = everything(host)
    directory.pages[0] = []
    directory.failing = {3: failing}

    results = [run_sync(database, services, day) for day in (AFTER, AFTER + timedelta(days=1))]

    assert [result.status for result in results] == ["failed", "failed"]
    assert everything(host) == before
    assert outcome(host)["error"] == error
    assert host.execute("SELECT count(*) FROM batch.account_link WHERE absent_on IS NOT NULL").fetchone() == (
        0,
    )
    assert host.execute("SELECT count(*) FROM batch.listed_account").fetchone() == (0,)
    # A transient error was retried.
    asked = [call for call in directory.calls if call == "users.list page-3"]
    assert len(asked) - 2 == 2 * (2 if recoverable else 1)


@pytest.mark.parametrize(
    ("pages", "reason"),
    [
        ([[]], "名簿に利用者が 1 人もいません"),
        ([[member(1, email=None), member(2, email=None)]], "名簿にメールアドレスが 1 件もありません"),
    ],
)
def test_an_implausible_listing_changes_nothing_and_is_reported(
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    pages: list[list[dict[str, object]]],
    reason: str,
) -> None:
    employees(host, range(1, 4))
    directory = slack(host, services)
    directory.pages = [[member(number) for number in range(1, 4)]]
    run_sync(database, services)
    before = everything(host)
    directory.pages = pages

    for day in (NEXT, AFTER):
        assert run_sync(database, services, day).status == "completed"

    assert everything(host) == before
    assert outcome(host)["details"]["held"] == 1
    assert outcome(host)["notes"][0].startswith(f"適用を保留しました: {reason}")
    assert host.execute("SELECT count(*) FROM batch.account_link WHERE absent_on IS NOT NULL").fetchone() == (
        0,
    )


@pytest.mark.parametrize(
    ("linked", "absent", "held"), [(200, 41, True), (200, 40, False), (40, 26, True), (40, 25, False)]
)
def test_many_links_never_end_at_once(
    database: Database, host: psycopg.Connection, services: StandIns, linked: int, absent: int, held: bool
) -> None:
    employees(host, range(linked))
    directory = slack(host, services)
    directory.fill([member(number) for number in range(linked)], 50)
    run_sync(database, services)
    directory.fill([member(number) for number in range(absent, linked)], 50)
    before = everything(host)

    run_sync(database, services, NEXT)
    assert [status for *_, status in links(host)].count("inactive") == 0
    run_sync(database, services, AFTER)

    assert [status for *_, status in links(host)].count("inactive") == (0 if held else absent)
    assert outcome(host)["details"]["held"] == held
    if held:
        assert everything(host) == before
        # An operator has checked it. The earlier listings count, and this run alone ends them.
        run_sync(database, services, AFTER + timedelta(days=1), codes=["A"], allow_many=True)
        assert [status for *_, status in links(host)].count("inactive") == absent


def test_an_account_that_returns_keeps_or_regains_its_link(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, [1, 2])
    directory = slack(host, services)
    both, one = [[member(1), member(2)]], [[member(1), member(2, deleted=True)]]

    statuses = []
    for number, pages in enumerate([both, one, both, one, one, both]):
        directory.pages = pages
        run_sync(database, services, DAY + timedelta(days=number))
        statuses.append(links(host)[1][2])

    assert statuses == ["active", "active", "active", "active", "inactive", "active"]
    kinds = [kind for kind, subject in changes(host) if subject == "U0002"]
    assert [kind for kind in kinds if kind != "update"] == ["deactivate", "link", "relink"]


def test_a_run_that_is_repeated_has_seen_one_listing_and_not_two(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, [1, 2])
    directory = slack(host, services)
    directory.pages = [[member(1), member(2)]]
    run_sync(database, services)
    directory.pages = [[member(1)]]
    with database.working() as (platform, connection):
        run = replace(open_run(platform, EXTERNAL_SYNC, batch(), NEXT)[0], part="slack")
        network = Network(allowed_hosts=services.allowed_hosts)
        for _ in range(2):
            process_tenants(connection, platform, batch(), run, ["A"], network=network)
            # As if the first try had been held back, or the rows had been touched: the listing is read again.
            host.execute("UPDATE batch.sync_plan SET status = 'held'")

    assert [status for *_, status in links(host)] == ["active", "active"]


def test_an_expired_delta_token_starts_over_ends_no_link_and_is_reported(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, range(1, 5))
    directory = teams(host, services)
    directory.fill([graph_user(number) for number in range(1, 4)], 2)
    run_sync(database, services)

    # Changes only, one of them without the unchanged fields.
    directory.change({"id": "G0002", "displayName": "改名"})
    directory.change(graph_user(4))
    directory.change({"id": "G0003", "@removed": {"reason": "changed"}})
    directory.calls.clear()
    run_sync(database, services, NEXT)
    assert [call.partition("?")[0] for call in directory.calls] == ["users/delta", "users/G0002", "groups"]
    assert [account for account, *_ in links(host)] == ["G0001", "G0002", "G0003", "G0004"]
    assert host.execute(
        "SELECT external_id, display_name FROM batch.directory_account ORDER BY external_id"
    ).fetchall() == [("G0001", "社員 1"), ("G0002", "改名"), ("G0004", "社員 4")]

    directory.expire_deltas()
    run_sync(database, services, AFTER)
    assert {status for *_, status in links(host)} == {"active"}
    assert outcome(host, "teams")["notes"] == [
        "前回からの変更の記録（差分トークン）が使えなくなったため、名簿を最初から読み直しました。この実行では連携を解除せず、消えたチャンネルも判断しません"
    ]

    run_sync(database, services, AFTER + timedelta(days=1))
    assert ("G0003", "A-E3", "inactive") in links(host)


def test_removals_in_a_held_listing_of_changes_are_read_again(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, range(1, 4))
    directory = teams(host, services)
    directory.pages = [[graph_user(number) for number in range(1, 5)]]
    run_sync(database, services)
    for number in range(1, 4):
        directory.change({"id": f"G000{number}", "@removed": {"reason": "deleted"}})

    run_sync(database, services, NEXT)
    assert outcome(host, "teams")["details"]["held"] == 1
    assert {status for *_, status in links(host)} == {"active"}

    # Graph lists a removal once for each delta link.
    run_sync(database, services, AFTER, codes=["A"], allow_many=True)
    assert [status for *_, status in links(host)] == ["inactive"] * 3


def test_an_account_that_one_page_of_changes_removes_and_restores_stays(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, [1, 2])
    directory = teams(host, services)
    directory.fill([graph_user(1), graph_user(2)], 2)
    run_sync(database, services)
    directory.change({"id": "G0001", "@removed": {"reason": "changed"}})
    directory.change(graph_user(1, displayName="復元"))

    for day in (NEXT, AFTER):
        run_sync(database, services, day)

    assert {status for *_, status in links(host)} == {"active"}
    assert host.execute(
        "SELECT display_name FROM batch.directory_account ORDER BY external_id"
    ).fetchall() == [
        ("復元",),
        ("社員 2",),
    ]


def test_a_renamed_channel_stays_and_an_archived_one_disables_its_setting(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, [1])
    directory = slack(host, services)
    directory.pages = [[member(1)]]
    directory.channels = [
        {"id": "C1", "name": "general"},
        {"id": "C2", "name": "sales"},
        {"id": "C3", "name": "ops"},
    ]
    setting(host, "one", "SLACK", '{"channel": "C1"}')
    setting(host, "two", "SLACK", '{"channels": ["C1", "C2"]}')
    setting(host, "mail", "EMAIL", '{"recipients": ["C1"]}')
    run_sync(database, services)
    directory.channels[0] |= {"name": "<b>全社</b>", "is_archived": True}

    run_sync(database, services, NEXT)
    run_sync(database, services, AFTER)

    assert host.execute(
        'SELECT setting_key FROM "MST_NotificationSettings" WHERE is_enabled ORDER BY 1'
    ).fetchall() == [
        ("mail",),
        ("two",),
    ]
    assert changes(host)[:3] == [
        ("channel_archived", "C1"),
        ("channel_renamed", "C1"),
        ("disable_setting", "setting_one"),
    ]
    letters = host.execute(
        "SELECT destination, subject, body FROM batch.outbox ORDER BY created_at"
    ).fetchall()
    # The administrator gets one letter about a disabled setting.
    assert [(to, subject) for to, subject, _ in letters] == [
        (
            "admin@a.example.jp",
            f"【お知らせ】Slack のチャンネルがなくなり、通知の設定 {affected} 件に影響します",
        )
        for affected in (2, 1)
    ]
    assert "・通知設定「one」の宛先「<b>全社</b>」。ほかに宛先がないため" in letters[0][2]
    assert "ほかの宛先への通知は続けます" in letters[1][2]
    # Nothing has changed, so nothing is reported.
    run_sync(database, services, AFTER + timedelta(days=1))
    assert host.execute("SELECT count(*) FROM batch.outbox").fetchone() == (2,)


def test_a_channel_is_gone_after_two_listings_without_it(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, [1])
    directory = line_works(host, services)
    directory.pages = [[line_works_user(1)]]
    setting(host, "room", "line", '{"destination": "channels/R1"}')
    setting(host, "other", "line", '{"destination": "channels/R2"}')
    other, both = {"R2": {"title": "他"}}, {"R1": {"title": "連絡"}, "R2": {"title": "他"}}
    enabled = []
    for number, rooms in enumerate([both, other, both, other, other, other]):
        directory.rooms = rooms
        run_sync(database, services, DAY + timedelta(days=number))
        enabled.append(
            host.execute(
                """SELECT is_enabled FROM "MST_NotificationSettings" WHERE setting_key = 'room'"""
            ).fetchone()
        )

    assert enabled == [(True,)] * 4 + [(False,)] * 2
    assert [kind for kind, _ in changes(host)] == ["channel_vanished", "disable_setting", "link"]


def test_a_dry_run_shows_and_keeps_the_plan_and_changes_nothing(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, [1])
    slack(host, services).pages = [[member(1)]]

    result = run_sync(database, services, dry_run=True)

    assert result.status == "completed"
    assert everything(host) == []
    assert host.execute(
        "SELECT status, entries #>> '{0,kind}', entries #>> '{0,reason}' FROM batch.sync_plan"
    ).fetchone() == ("planned", "link", "メールアドレスが一致しました")
    assert host.execute("SELECT count(*) FROM batch.listed_account").fetchone() == (0,)


def test_applying_twice_changes_nothing_and_a_plan_of_another_world_is_refused(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, [1, 2])
    slack(host, services).pages = [[member(1), member(2)]]
    with database.working() as (platform, connection):
        run = replace(open_run(platform, EXTERNAL_SYNC, batch(), DAY)[0], part="slack")
        unit = ListedDirectory("A", SLACK, run.execution_id, DAY)
        network = Network(allowed_hosts=services.allowed_hosts)
        assert batch().fetch(Work(run, connection, ["A"], network=network)) == {}

        # An employee has left since.
        host.execute("""UPDATE "MST_Employee" SET employment_status = 'RETIRED' WHERE id = 'A-E2'""")
        with tenant_transaction(connection, ["A"]):
            (refused,) = batch().process(Work(run, connection, ["A"]))
        assert isinstance(refused, UnitFailure)
        assert (refused.code, refused.recoverable) == ("WORLD_CHANGED", True)
        assert everything(host) == []

        # Another try plans anew, without listing again.
        report = process_tenants(connection, platform, batch(), run, ["A"], network=network)
        assert (report.failures, links(host)) == ([], [("U0001", "A-E1", "active")])
        before = everything(host)
        with tenant_transaction(connection, ["A"]):
            plan = load_plan(connection, unit)
            assert plan is not None
            assert apply_plan(connection, unit, plan, NotificationSettings.load())
        assert process_tenants(connection, platform, batch(), run, ["A"], network=network).failures == []
        # The same plan again, as if its application had not been recorded.
        host.execute("UPDATE batch.sync_plan SET status = 'planned'")
        with tenant_transaction(connection, ["A"]):
            assert not apply_plan(
                connection, unit, replace(plan, status="planned"), NotificationSettings.load()
            )
    assert everything(host) == before


def test_of_two_runs_at_once_one_applies_and_the_other_is_refused(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, [1])
    slack(host, services).pages = [[member(1)]]
    network = Network(allowed_hosts=services.allowed_hosts)
    outcomes: list[UnitResult | UnitFailure] = []
    with (
        database.working() as (platform, one),
        database.connect("batch_tenant") as other,
    ):
        runs = [replace(open_run(platform, EXTERNAL_SYNC, batch(), DAY)[0], part="slack") for _ in range(2)]
        for run, connection in zip(runs, (one, other), strict=True):
            assert batch().fetch(Work(run, connection, ["A"], network=network)) == {}

        def second() -> None:
            with tenant_transaction(other, ["A"]):
                outcomes.extend(batch().process(Work(runs[1], other, ["A"])))

        waiting = threading.Thread(target=second)
        with tenant_transaction(one, ["A"]):
            outcomes.extend(batch().process(Work(runs[0], one, ["A"])))
            waiting.start()
            wait_for_blocked_statement(database)
        waiting.join()

    assert [getattr(outcome, "code", "done") for outcome in outcomes] == ["done", "WORLD_CHANGED"]
    assert changes(host) == [("link", "U0001")]


def test_a_setting_that_changes_while_its_plan_is_applied_stays_enabled(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, [1])
    directory = slack(host, services)
    directory.pages = [[member(1)]]
    directory.channels = [{"id": "C1", "name": "former"}, {"id": "C2", "name": "general"}]
    setting(host, "one", "SLACK", '{"channel": "C1"}')
    run_sync(database, services)
    directory.channels[0]["is_archived"] = True
    outcomes: list[UnitResult | UnitFailure] = []
    with database.working() as (platform, connection):
        run = replace(open_run(platform, EXTERNAL_SYNC, batch(), NEXT)[0], part="slack")
        network = Network(allowed_hosts=services.allowed_hosts)
        assert batch().fetch(Work(run, connection, ["A"], network=network)) == {}
        with tenant_transaction(connection, ["A"]):
            plan = load_plan(connection, ListedDirectory("A", SLACK, run.execution_id, NEXT))
        assert plan is not None
        assert "disable_setting" in [entry.kind for entry in plan.entries]

        def apply() -> None:
            with tenant_transaction(connection, ["A"]):
                outcomes.extend(batch().process(Work(run, connection, ["A"])))

        applying = threading.Thread(target=apply)
        with host.transaction():
            # An administrator chooses a channel that exists.
            host.execute("""UPDATE "MST_NotificationSettings" SET channel_config = '{"channel": "C2"}'""")
            applying.start()
            wait_for_blocked_statement(database)
        applying.join()

    assert [getattr(outcome, "code", "done") for outcome in outcomes] == ["WORLD_CHANGED"]
    assert host.execute('SELECT is_enabled FROM "MST_NotificationSettings"').fetchall() == [(True,)]


def test_a_killed_listing_goes_on_where_it_was(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, range(6))
    directory = slack(host, services)
    directory.fill([member(number) for number in range(6)], 2)
    directory.failing = {3: 500}
    network = Network(allowed_hosts=services.allowed_hosts)
    with database.working() as (platform, connection):
        run = replace(open_run(platform, EXTERNAL_SYNC, batch(), DAY)[0], part="slack")
        report = process_tenants(connection, platform, batch(), run, ["A"], network=network)
        assert [failure.recoverable for failure in report.failures] == [True]
        assert host.execute("SELECT step, cursor, pages FROM batch.directory_listing").fetchone() == (
            "members",
            "page-3",
            2,
        )

        directory.failing, directory.calls = {}, []
        assert process_tenants(connection, platform, batch(), run, ["A"], network=network).failures == []

    assert directory.calls == ["users.list page-3", "conversations.list"]
    assert len(links(host)) == 6


def test_a_worker_that_is_killed_while_it_applies_leaves_nothing_half_done(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, range(3))
    directory = slack(host, services)
    directory.pages = [[member(number) for number in range(3)]]
    network = Network(allowed_hosts=services.allowed_hosts)
    with database.connect("batch_platform") as platform:
        run = replace(open_run(platform, EXTERNAL_SYNC, batch(), DAY)[0], part="slack")
        with database.connect("batch_tenant") as killed:
            assert batch().fetch(Work(run, killed, ["A"], network=network)) == {}

            def apply_and_die() -> None:
                with tenant_transaction(killed, ["A"]):
                    assert isinstance(batch().process(Work(run, killed, ["A"]))[0], UnitResult)
                    host.execute("SELECT pg_terminate_backend(%s, 5000)", [killed.info.backend_pid])

            with pytest.raises(psycopg.OperationalError):
                apply_and_die()
        assert everything(host) == []

        directory.calls.clear()
        with database.connect("batch_tenant") as connection:
            assert process_tenants(connection, platform, batch(), run, ["A"], network=network).failures == []
    assert (directory.calls, len(links(host))) == ([], 3)


def test_a_listing_starts_again_when_the_service_has_forgotten_its_cursor(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, [1, 2])
    directory = slack(host, services)
    directory.pages, directory.failing = [[member(1)], [member(2)]], {2: 500}
    network = Network(allowed_hosts=services.allowed_hosts)
    with database.working() as (platform, connection):
        run = replace(open_run(platform, EXTERNAL_SYNC, batch(), DAY)[0], part="slack")
        process_tenants(connection, platform, batch(), run, ["A"], network=network)
        host.execute("UPDATE batch.directory_listing SET cursor = 'forgotten'")
        directory.failing = {}
        assert process_tenants(connection, platform, batch(), run, ["A"], network=network).failures == []

    assert len(links(host)) == 2
    assert "一覧を最初から読み直しました" in outcome(host)["notes"][0]


def test_another_tenants_people_stay_out_and_its_failure_too(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "B")
    employees(host, [1])
    employees(host, [2], "B")
    # Both services list both people.
    slack(host, services).pages = [[member(1), member(2, "B")]]
    slack(host, services, "B", "xoxb-other").pages = [
        [member(8, email="e1@a.example.jp"), member(9, email="e2@b.example.jp")]
    ]

    run_sync(
        database,
        services,
        sharding=ExecutionSettings(
            max_mapped_tenants=1, shards=1, tenants_per_shard=1000, seconds_per_shard=5
        ),
    )

    assert (links(host), links(host, "B")) == ([("U0001", "A-E1", "active")], [("U0009", "B-E2", "active")])
    services.show_directory("slack", "xoxb-other", StandInDirectory(failing={1: "fatal_error"}))
    result = run_sync(
        database,
        services,
        NEXT,
        sharding=ExecutionSettings(
            max_mapped_tenants=1, shards=1, tenants_per_shard=1000, seconds_per_shard=5
        ),
    )
    assert (result.status, [tenant.code for tenant in result.failed_tenants]) == ("partial", ["B"])


def test_hostile_text_is_data_wherever_it_appears(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    employees(host, [1, 2])
    hostile = '<script>alert(1)</script>\n=cmd|" /C calc"!A0 ../../etc \0 <!channel>' + "x" * 500
    directory = slack(host, services)
    directory.pages = [
        [
            member(1, profile={"email": "e1@a.example.jp", "real_name": hostile}),
            member(2, id="../../etc"),
            member(3, profile={"email": "a@b\nBcc: c@d", "real_name": {"x": 1}}),
        ]
    ]
    directory.channels = [{"id": "=1+1", "name": hostile, "is_archived": True}]
    setting(host, "k\n<!channel>", "SLACK", '{"channel": "=1+1"}')

    result = run_sync(database, services)

    assert result.status == "completed"
    seen = host.execute(
        "SELECT external_id, email, display_name FROM batch.directory_account ORDER BY external_id"
    ).fetchall()
    assert seen == [
        ("../../etc", "e2@a.example.jp", "社員 2"),
        ("U0001", "e1@a.example.jp", " ".join(hostile.replace("\0", "").split())[:200]),
        ("U0003", None, None),
    ]
    assert links(host) == [("../../etc", "A-E2", "active"), ("U0001", "A-E1", "active")]
    (body,) = host.execute("SELECT body FROM batch.outbox").fetchone() or ("",)
    assert "通知設定「k <!channel>」" in body


@pytest.mark.parametrize("bad", ["", "..", "a b", "日本", "x" * 201, None, 5])
def test_an_account_without_a_usable_id_makes_the_listing_incomplete(
    database: Database, host: psycopg.Connection, services: StandIns, bad: object
) -> None:
    employees(host, [1])
    slack(host, services).pages = [[member(1), member(2, id=bad)]]

    assert run_sync(database, services).status == "failed"
    assert (links(host), outcome(host)["error"]) == ([], "ID の正しくない利用者が一覧にあります")


def test_a_run_reports_no_address_no_name_and_no_secret(
    database: Database, host: psycopg.Connection, services: StandIns, caplog: pytest.LogCaptureFixture
) -> None:
    employees(host, [1, 2])
    employees(host, [3], email="E1@a.example.jp")
    slack(host, services).pages = [[member(1), member(2)]]
    network = Network(allowed_hosts=services.allowed_hosts)
    with database.working() as (platform, connection):
        run = replace(open_run(platform, EXTERNAL_SYNC, batch(), DAY)[0], part="slack")
        report = process_tenants(connection, platform, batch(), run, ["A"], network=network)

    said = f"{report.results}{caplog.text}"
    assert "U0002" in said
    assert [word for word in ("example.jp", "社員 1", "xoxb") if word in said] == []


def test_the_operators_read_what_was_held_back_and_what_to_do(
    database: Database, host: psycopg.Connection, services: StandIns
) -> None:
    host_rows.tenant(host, "B", tenant_name="B\n<!channel> 社")
    slack(host, services, "B", "xoxb-b").pages = [[]]
    network = Network(allowed_hosts=services.allowed_hosts)
    with database.working() as (platform, connection):
        run = open_run(platform, EXTERNAL_SYNC, batch(), DAY)[0]
        assert not batch().digest(Work(run, platform)).lines
        process_tenants(connection, platform, batch(), replace(run, part="slack"), ["B"], network=network)
        digest = batch().digest(Work(run, platform))

    assert digest.lines == [
        "外部システム連携（2026-11-01）: 適用を保留した名簿 1 件",
        "・B B <!channel> 社（Slack）: 名簿に利用者が 1 人もいません。サービスの管理画面と、トークンの権限を確認してください",
    ]


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("value", "codes", "problem"), [("yes", ["A"], "真偽値では"), (True, [], "tenants に指定")]
)
def test_the_override_is_a_flag_for_tenants_that_are_named(
    database: Database,
    services: StandIns,
    value: object,
    codes: list[str],
    problem: str,
) -> None:
    with pytest.raises(ParameterError, match=problem):
        run_sync(database, services, codes=codes, allow_many=value)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    listings=st.lists(
        st.lists(
            st.builds(
                member,
                st.integers(1, 5),
                deleted=st.booleans(),
                email=st.integers(1, 5).map(lambda number: f"e{number}@example.jp") | st.none(),
            ),
            unique_by=lambda account: str(account["id"]),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_the_same_listing_repeated_changes_nothing_after_any_earlier_listings(
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    listings: list[list[dict[str, object]]],
) -> None:
    tenant_id = host_rows.tenant(host, f"T{next(_numbers)}")
    host.execute('DELETE FROM "MST_Employee"')  # codes and addresses are unique over all tenants
    for number in range(1, 6):
        employees(host, [number], tenant_id, email=f"e{number}@example.jp")
    directory = slack(host, services, tenant_id, f"xoxb-{tenant_id}")

    seen = []
    for number, listing in enumerate([*listings, *[listings[-1]] * 3]):
        directory.pages = [listing]
        result = run_sync(database, services, DAY + timedelta(days=number), codes=[tenant_id])
        assert result.status == "completed"
        seen.append(everything(host))

    assert seen[-1] == seen[-2]
    active = [employee for _, employee, status in links(host, tenant_id) if status == "active"]
    assert len(active) == len(set(active))
