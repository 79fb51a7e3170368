"""Held directory changes that a user approves in Airflow, and changes of the directory since the request."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

import psycopg
import pytest

from include.skillreport.approvals.requests import ApprovalRequest
from include.skillreport.batches.external_sync.settings import ExternalSyncSettings
from include.skillreport.core.execution.business_date import JAPAN
from include.skillreport.core.execution.run_log import RunResult
from include.skillreport.core.network import Network
from include.skillreport.core.operation_catalog import APPROVE_DIRECTORY_CHANGES
from include.skillreport.messaging.settings import NotificationSettings
from include.skillreport.operations.approve_directory_changes.batch import DirectoryApproval
from local_stack.stand_ins import StandInDirectory, StandIns
from tests.conftest import Database
from tests.worlds import host_rows
from tests.worlds.approval_rows import (
    ACCOUNTANT,
    APPROVE,
    HOLD,
    answer,
    asked,
    asked_about,
    items,
    requests,
    text_of,
)
from tests.worlds.billing_rows import outcomes, reasons
from tests.worlds.directory_rows import (
    AFTER,
    HASTY,
    LATER,
    NEXT,
    VANISHED,
    employees,
    links,
    member,
    run_sync,
    setting,
    slack,
)

NUMBERS = range(1, 6)


@pytest.fixture
def directory(database: Database, host: psycopg.Connection, services: StandIns) -> StandInDirectory:
    """A's five accounts were linked; then all but one, who is new, are gone."""
    host_rows.tenant(host, "A", tenant_code="HD001")
    employees(host, NUMBERS)
    directory = slack(host, services)
    directory.fill([member(number) for number in NUMBERS], 200)
    run_sync(database, services)
    directory.fill([member(9)], 200)
    return directory


@pytest.fixture
def request_(database: Database, directory: StandInDirectory, services: StandIns) -> ApprovalRequest:
    assert directory.pages
    return asked(database, run_sync(database, services, NEXT))


def approve(
    database: Database,
    services: StandIns,
    request: ApprovalRequest,
    option: str = APPROVE,
    *,
    day: date = LATER,
) -> RunResult:
    batch = DirectoryApproval(ExternalSyncSettings.load(), NotificationSettings.load(), HASTY)
    return answer(
        database,
        request,
        APPROVE_DIRECTORY_CHANGES,
        batch,
        option,
        at=datetime.combine(day, time(9), JAPAN),
        network=Network(allowed_hosts=services.allowed_hosts),
    )


def linked_directory_of_b(
    host: psycopg.Connection, database: Database, services: StandIns
) -> StandInDirectory:
    """B's five accounts are linked."""
    host_rows.tenant(host, "B", tenant_code="HD002")
    others = range(11, 16)
    employees(host, others, "B")
    of_b = slack(host, services, "B", "xoxb-other")
    of_b.fill([member(number, "B") for number in others], 200)
    run_sync(database, services, codes=["HD002"])
    return of_b


def kept(host: psycopg.Connection, request: ApprovalRequest) -> dict[str, Any]:
    return items(host, request)["A"]


def test_the_request_lists_the_service_the_counts_and_the_reason(
    database: Database, request_: ApprovalRequest
) -> None:
    subject, body = text_of(database, request_)

    assert subject == "保留中の名簿の変更 1 件の承認（2026-11-02）"
    (row,) = (line for line in body.splitlines() if line.startswith("| HD001 |"))
    assert "| Slack | 5 | 5 | 連携 5 件のうち 5 件のアカウントが名簿から消えています" in row


def test_an_approved_directory_is_read_again_and_its_links_end(
    database: Database, host: psycopg.Connection, services: StandIns, request_: ApprovalRequest
) -> None:
    result = approve(database, services, request_)

    assert reasons(result) == {}
    assert (result.status, result.total_tenants) == ("completed", 1)
    assert {status for *_, status in links(host)} == {"inactive"}
    assert (kept(host, request_)["answered_by"], kept(host, request_)["result"]) == (ACCOUNTANT, "approved")
    assert requests(host) == [(request_.request_id, "answered")]


def test_a_rejected_directory_keeps_its_links(
    database: Database, host: psycopg.Connection, services: StandIns, request_: ApprovalRequest
) -> None:
    result = approve(database, services, request_, HOLD)

    assert (result.status, result.total_tenants) == ("completed", 0)
    assert {status for *_, status in links(host)} == {"active"}
    assert (kept(host, request_)["answer"], kept(host, request_)["result"]) == ("hold", "held")


@pytest.mark.parametrize("there", [[1], list(NUMBERS)])
def test_a_directory_that_has_changed_since_the_request_is_not_applied(
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    directory: StandInDirectory,
    request_: ApprovalRequest,
    there: list[int],
) -> None:
    """Neither if fewer accounts are gone, nor if all are back."""
    directory.fill([member(number) for number in (*there, 9)], 200)

    result = approve(database, services, request_)

    assert "承認できません: この承認依頼を出した後に、名簿か連携が変わっています" in reasons(result)["HD001"]
    assert outcomes(host, result)["A"]["error_code"] == "REQUEST_OUT_OF_DATE"
    assert {status for *_, status in links(host)} == {"active"}
    assert kept(host, request_)["result"] == "out_of_date"


def test_links_do_not_end_on_the_day_on_which_their_accounts_vanished(
    database: Database, host: psycopg.Connection, services: StandIns, request_: ApprovalRequest
) -> None:
    result = approve(database, services, request_, day=VANISHED)

    assert "2 日続けて名簿にないアカウントだけ" in reasons(result)["HD001"]
    assert {status for *_, status in links(host)} == {"active"}
    assert kept(host, request_)["result"] == "failed"
    newer = asked(database, run_sync(database, services, AFTER))
    assert newer.request_id != request_.request_id
    assert approve(database, services, newer).status == "completed"
    assert {status for *_, status in links(host)} == {"inactive"}


def test_the_same_hold_on_the_next_day_is_not_asked_about_twice(
    database: Database, host: psycopg.Connection, services: StandIns, request_: ApprovalRequest
) -> None:
    assert asked(database, run_sync(database, services, AFTER)).request_id == request_.request_id
    assert requests(host) == [(request_.request_id, None)]


def test_a_request_about_one_tenant_leaves_that_of_another_open(
    database: Database,
    host: psycopg.Connection,
    services: StandIns,
    directory: StandInDirectory,
    request_: ApprovalRequest,
) -> None:
    assert directory.pages
    of_b = linked_directory_of_b(host, database, services)
    of_b.fill([member(19, "B")], 200)

    newer = asked(database, run_sync(database, services, NEXT, codes=["HD002"]))

    assert list(items(host, newer)) == ["B"]
    assert kept(host, request_)["superseded_by"] is None
    assert requests(host) == [(request_.request_id, None), (newer.request_id, None)]


def test_a_request_about_two_tenants_counts_the_absent_accounts_of_each(
    database: Database, host: psycopg.Connection, services: StandIns, directory: StandInDirectory
) -> None:
    assert directory.pages
    of_b = linked_directory_of_b(host, database, services)
    of_b.fill([member(19, "B")], 200)
    both = asked(database, run_sync(database, services, NEXT))

    result = approve(database, services, both)

    assert reasons(result) == {}
    assert {item["result"] for item in items(host, both).values()} == {"approved"}
    assert {status for *_, status in links(host)} == {"inactive"}


def test_a_held_directory_that_cannot_be_allowed_is_in_no_request(
    database: Database, services: StandIns, directory: StandInDirectory
) -> None:
    directory.pages = [[]]
    result = run_sync(database, services, NEXT)
    assert asked_about(database, result) is None


@pytest.fixture
def channels(database: Database, host: psycopg.Connection, services: StandIns) -> StandInDirectory:
    """Both channels that A's notification settings name were listed; then only a third one is."""
    host_rows.tenant(host, "A", tenant_code="HD001")
    employees(host, NUMBERS)
    directory = slack(host, services)
    directory.fill([member(number) for number in NUMBERS], 200)
    directory.channels = [{"id": f"C{number}", "name": f"c{number}"} for number in (1, 2, 3)]
    for number in (1, 2):
        setting(host, f"s{number}", "SLACK", f'{{"channel": "C{number}"}}')
    run_sync(database, services)
    del directory.channels[:2]
    return directory


def enabled(host: psycopg.Connection) -> list[str]:
    query = 'SELECT setting_key FROM "MST_NotificationSettings" WHERE is_enabled ORDER BY 1'
    return [key for (key,) in host.execute(query)]


def test_approved_channels_are_gone_on_the_day_after_they_vanished(
    database: Database, host: psycopg.Connection, services: StandIns, channels: StandInDirectory
) -> None:
    assert len(channels.channels) == 1
    request = asked(database, run_sync(database, services, NEXT))

    result = approve(database, services, request)

    assert (reasons(result), enabled(host)) == ({}, [])
    assert kept(host, request)["result"] == "approved"


def test_channels_are_not_gone_on_the_day_on_which_they_vanished(
    database: Database, host: psycopg.Connection, services: StandIns, channels: StandInDirectory
) -> None:
    # A link may end on that day: its account was missing on the day before.
    channels.fill([member(number) for number in NUMBERS[1:]], 200)
    channels.channels += [{"id": f"C{number}", "name": f"c{number}"} for number in (1, 2)]
    run_sync(database, services, NEXT - timedelta(days=1))
    del channels.channels[1:]
    request = asked(database, run_sync(database, services, NEXT))

    result = approve(database, services, request, day=VANISHED)

    assert "2 日続けて一覧にないチャンネルだけ" in reasons(result)["HD001"]
    assert enabled(host) == ["s1", "s2"]
    assert {status for *_, status in links(host)} == {"active"}
    assert kept(host, request)["result"] == "failed"
    # The same request is made again, and answered on the next day.
    assert (
        approve(database, services, asked(database, run_sync(database, services, AFTER))).status
        == "completed"
    )
    assert enabled(host) == []
    assert [status for *_, status in links(host)].count("inactive") == 1


def test_channels_that_are_back_are_not_approved(
    database: Database, host: psycopg.Connection, services: StandIns, channels: StandInDirectory
) -> None:
    request = asked(database, run_sync(database, services, NEXT))
    channels.channels.append({"id": "C1", "name": "c1"})

    result = approve(database, services, request)

    assert outcomes(host, result)["A"]["error_code"] == "REQUEST_OUT_OF_DATE"
    assert enabled(host) == ["s1", "s2"]


def test_one_answer_permits_both_exceeded_limits(
    database: Database, host: psycopg.Connection, services: StandIns, channels: StandInDirectory
) -> None:
    channels.fill([member(9)], 200)
    request = asked(database, run_sync(database, services, NEXT))
    (row,) = (line for line in text_of(database, request)[1].splitlines() if line.startswith("| HD001 |"))

    result = approve(database, services, request)

    assert "連携 5 件のうち 5 件" in row
    assert "通知設定の宛先のチャンネル 2 件のうち 2 件" in row
    assert (reasons(result), enabled(host)) == ({}, [])
    assert {status for *_, status in links(host)} == {"inactive"}


def test_an_answer_does_all_that_its_request_names_or_nothing(
    database: Database, host: psycopg.Connection, services: StandIns, channels: StandInDirectory
) -> None:
    """The accounts are gone since the day before, the channels since today."""
    channels.fill([member(9)], 200)
    channels.channels += [{"id": f"C{number}", "name": f"c{number}"} for number in (1, 2)]
    run_sync(database, services, NEXT)
    del channels.channels[1:]
    request = asked(database, run_sync(database, services, AFTER))

    result = approve(database, services, request, day=LATER)

    assert reasons(result) == {
        "HD001": "slack: 通知設定を無効にするのは、2 日続けて一覧にないチャンネルだけです"
    }
    assert enabled(host) == ["s1", "s2"]
    assert {status for *_, status in links(host)} == {"active"}
