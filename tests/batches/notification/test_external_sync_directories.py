"""The directories' clients against stand-ins: whole listings or a reason, within the services' rates, and nowhere else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientTimeout, test_utils, web

from include.skillreport.core.errors import code_of
from include.skillreport.messaging.address_guard import guarded_session
from include.skillreport.messaging.channels import directory as calls
from include.skillreport.messaging.channels.channel import ChannelConfig
from include.skillreport.messaging.channels.directory import (
    Account,
    ListedChannel,
    ListingError,
    Pace,
    Page,
    Patience,
    Position,
    StartOverError,
    following,
)
from include.skillreport.messaging.channels.slack import SLACK, SlackConfig
from include.skillreport.messaging.channels.teams.directory import GraphConfig
from include.skillreport.messaging.integrations import config_of
from local_stack.stand_ins import StandInDirectory, StandIns
from tests.messaging.sending import Tenant
from tests.virtual_time import VirtualTime
from tests.waiting import LIMIT_SECONDS
from tests.worlds.directory_rows import (
    HASTY,
    graph_user,
    line_works_user,
    member,
    open_directory,
)


def graph_config(services: StandIns) -> GraphConfig:
    return GraphConfig(
        "entra-1", "app-1", "graph-very-secret", services.graph_auth_url, services.graph_base_url
    )


def shown(services: StandIns, service: str, **fields: Any) -> StandInDirectory:
    """The directory of the one tenant of these tests."""
    accounts = {"slack": "xoxb-very-secret", "teams": "entra-1", "line_works": "client-1"}
    directory = StandInDirectory(**fields)
    services.show_directory(service, accounts[service], directory)
    return directory


def listing(
    services: StandIns,
    config: ChannelConfig,
    *,
    patience: Patience = HASTY,
    start: Position | None = None,
    **options: Any,
) -> list[Page]:
    """All pages, from the start."""

    async def read() -> list[Page]:
        pages = []
        async with guarded_session(
            services.allowed_hosts, timeout=ClientTimeout(total=LIMIT_SECONDS)
        ) as session:
            directory = open_directory(config, session, services.allowed_hosts, patience, **options)
            at: Position | None = start or directory.start
            while at is not None:
                pages.append(await directory.page(at))
                at = pages[-1].next
        return pages

    return asyncio.run(read())


def accounts(pages: list[Page]) -> list[Account]:
    return [account for page in pages for account in page.accounts]


def channels(pages: list[Page]) -> list[ListedChannel]:
    return [channel for page in pages for channel in page.channels]


def test_archived_channels_are_listed_too(tenant: Tenant) -> None:
    shown(
        tenant.services,
        "slack",
        pages=[[member(1)]],
        channels=[
            {"id": "C1", "name": "a", "is_archived": True},
            {"id": "C2", "name": "b", "is_private": True},
        ],
    )

    assert channels(listing(tenant.services, tenant.slack)) == [
        ListedChannel("C1", "a", "public", is_archived=True),
        ListedChannel("C2", "b", "private"),
    ]


def test_an_organisations_token_names_its_workspace(tenant: Tenant) -> None:
    shown(
        tenant.services, "slack", pages=[[member(1)]], channels=[{"id": "C1", "name": "a"}], team_id="T012345"
    )

    pages = listing(tenant.services, replace(tenant.slack, team_id="T012345"))

    assert (len(accounts(pages)), len(channels(pages))) == (1, 1)
    for team_id, code in (("", "missing_argument"), ("T999", "team_access_not_granted")):
        with pytest.raises(ListingError, match=rf"connection_config .*team_id.*（{code}）"):
            listing(tenant.services, replace(tenant.slack, team_id=team_id))


def test_a_row_of_the_application_names_the_workspace() -> None:
    row = {
        "auth_config": '{"bot_token": "xoxb-1"}',
        "connection_config": '{"team_id": " T012345 "}',
        "endpoint_url": "",
    }

    config = config_of(SLACK, {"id": "1", "integration_key": "slack", "integration_type": None, **row})

    assert isinstance(config, SlackConfig)
    assert config.team_id == "T012345"


def test_a_listing_stays_within_the_services_rates(tenant: Tenant) -> None:
    services = tenant.services
    services.limit_rates(True)
    directory = shown(services, "line_works")
    directory.fill([line_works_user(number) for number in range(23_900)], 100)

    assert len(accounts(listing(services, tenant.line_works))) == 23_900
    assert services.refused_for_rate == 0


def test_calls_beyond_the_pace_wait_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    time = VirtualTime()
    time.replace_clock(monkeypatch, calls)

    async def moments() -> list[float]:
        pace, called_at = Pace(3, seconds=60), []
        for _ in range(7):
            await pace.turn()
            called_at.append(time.now)
        return called_at

    assert asyncio.run(moments()) == pytest.approx([0, 0, 0, 60.6, 60.6, 60.6, 121.2])


@pytest.mark.parametrize(("stated", "pauses"), [(None, [60.6]), ("240", []), ("30", [60.6, 60.6])])
def test_line_works_is_asked_at_the_rate_that_it_states(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, stated: str | None, pauses: list[float]
) -> None:
    time = VirtualTime()
    time.replace_clock(monkeypatch, calls)

    async def answer(request: web.BaseRequest) -> web.Response:
        if request.path.endswith("/token"):
            return web.json_response({"access_token": "t", "token_type": "Bearer", "expires_in": "86400"})
        headers = {"rateLimit-limit": stated} if stated else {}
        return web.json_response({"title": request.path}, headers=headers)

    async def read() -> int:
        async with test_utils.RawTestServer(answer) as server:
            allowed = {f"{server.host}:{server.port}"}
            async with guarded_session(allowed) as session:
                config = replace(
                    tenant.line_works,
                    base_url=str(server.make_url("/")),
                    auth_url=str(server.make_url("/token")),
                )
                rooms = [f"R{number:03}" for number in range(61)]
                directory = open_directory(config, session, allowed, HASTY, rooms=rooms)
                first = await directory.page(Position("rooms"))
                assert first.next is not None
                return len(first.channels) + len((await directory.page(first.next)).channels)

    assert asyncio.run(read()) == 61
    assert time.pauses == pytest.approx(pauses)


@pytest.mark.parametrize(
    ("asked", "ends"), [(0, False), ("Sun, 01 Nov 2020 00:00:00 GMT", False), (3600, True)]
)
def test_a_client_waits_as_long_as_asked_up_to_a_limit(tenant: Tenant, asked: int | str, ends: bool) -> None:
    shown(tenant.services, "slack", pages=[[member(1)]])
    tenant.services.fail_next("slack", "ratelimited", times=2, retry_after=asked)

    if ends:
        with pytest.raises(ListingError, match="3,600 秒後まで待つよう") as refused:
            listing(tenant.services, tenant.slack)
        # The next run is soon enough.
        assert not refused.value.recoverable
    else:
        assert len(accounts(listing(tenant.services, tenant.slack))) == 1


def test_a_service_that_only_ever_says_wait_is_given_up(tenant: Tenant) -> None:
    shown(tenant.services, "teams", pages=[[graph_user(1)]])
    tenant.services.fail_next("graph", 429, times=HASTY.waits, retry_after=0)

    with pytest.raises(ListingError, match="上限に達しました") as refused:
        listing(tenant.services, graph_config(tenant.services))
    assert refused.value.recoverable


@pytest.mark.parametrize("status", [500, 503])
def test_a_passing_server_error_is_retried(tenant: Tenant, status: int) -> None:
    services = tenant.services
    shown(services, "slack", pages=[[member(1)]])
    shown(services, "teams", pages=[[graph_user(1)]])
    shown(services, "line_works", pages=[[line_works_user(1)]])
    configs: dict[str, ChannelConfig] = {
        "slack": tenant.slack,
        "graph": graph_config(services),
        "graph_auth": graph_config(services),
        "line_works": tenant.line_works,
        "line_works_auth": tenant.line_works,
    }
    for service, config in configs.items():
        services.fail_next(service, status)
        assert len(accounts(listing(services, config))) == 1, service


@pytest.mark.parametrize(
    ("service", "code", "reason"),
    [
        ("slack", "missing_scope", "users:read.email"),
        ("slack", "token_revoked", "bot_token を更新してください（token_revoked）"),
        ("slack", "some_new_code", "Slack が一覧を返しません（some_new_code）"),
        ("slack", 302, "別の URL へ転送しようとしました"),
        ("graph", 403, "User.Read.All"),
        ("graph", 400, "一覧を返しません（HTTP 400 Refused）"),
        ("graph_auth", 400, "tenant_id、client_id、client_secret を確認してください"),
        ("line_works", "FORBIDDEN", "スコープ user.read group.read bot.read"),
        ("line_works_auth", "invalid_client", "トークンを取得できません"),
    ],
)
def test_a_permanent_listing_error_is_reported_without_retry_or_secrets(
    tenant: Tenant, service: str, code: str | int, reason: str
) -> None:
    configs: dict[str, ChannelConfig] = {
        "slack": tenant.slack,
        "graph": graph_config(tenant.services),
        "line_works": tenant.line_works,
    }
    config = configs[service.removesuffix("_auth")]
    tenant.services.fail_next(service, code)

    with pytest.raises(ListingError, match=reason) as refused:
        listing(tenant.services, config)
    assert not refused.value.recoverable
    is_about_the_token = not any(text in reason for text in ("一覧を返しません", "別の URL"))
    assert (code_of(refused.value) == "CREDENTIALS_REFUSED") == is_about_the_token
    assert "very-secret" not in f"{refused.value!r}{config!r}"


def test_a_token_that_is_not_taken_any_more_is_replaced(tenant: Tenant) -> None:
    services = tenant.services
    shown(services, "teams", pages=[[graph_user(1)]])
    shown(services, "line_works", pages=[[line_works_user(1)]])
    services.fail_next("graph", 401)
    services.fail_next("line_works", "UNAUTHORIZED")

    assert len(accounts(listing(services, graph_config(services)))) == 1
    assert len(accounts(listing(services, tenant.line_works))) == 1
    services.fail_next("graph", 401, times=2)
    with pytest.raises(ListingError, match="HTTP 401"):
        listing(services, graph_config(services))


def test_a_directory_inside_our_network_is_not_asked(tenant: Tenant) -> None:
    services = tenant.services
    for config in (
        replace(tenant.slack, base_url="https://169.254.169.254/"),
        replace(tenant.slack, base_url="https://evil.example/"),
        replace(graph_config(services), base_url="https://10.0.0.1/v1.0/"),
        replace(graph_config(services), auth_url="https://login.evil.example/"),
        replace(tenant.line_works, auth_url="http://auth.worksmobile.com/"),
    ):
        with pytest.raises(ListingError):
            listing(services, config)


@pytest.mark.parametrize(
    "link", ["https://evil.example/v1.0/users?$skiptoken=2", "//evil.example/", "users", "http://[", ""]
)
def test_graphs_token_goes_nowhere_else(tenant: Tenant, link: str) -> None:
    with pytest.raises(ListingError, match="続きのリンクが Microsoft Graph のものではありません"):
        listing(tenant.services, graph_config(tenant.services), start=Position("changes", link))


def test_graphs_teams_and_changes_are_read_to_their_end(tenant: Tenant) -> None:
    services = tenant.services
    directory = shown(
        services,
        "teams",
        pages=[[graph_user(1)], [graph_user(2)]],
        channels=[
            {
                "id": "T1",
                "displayName": "t",
                "channels": [{"id": "19:a", "displayName": "c", "isArchived": True}],
            }
        ],
    )
    first = listing(services, graph_config(services))
    assert [account.external_id for account in accounts(first)] == ["G0001", "G0002"]
    assert channels(first) == [ListedChannel("19:a", "c", "standard", is_archived=True, parent_id="T1")]
    link = next(page.delta_link for page in first if page.delta_link)

    directory.change(graph_user(1, accountEnabled=False))
    directory.changes.append({"id": "GONE", "displayName": "it was deleted afterwards"})
    directory.change({"id": "G0002", "@removed": {"reason": "deleted"}})
    pages = listing(services, graph_config(services), delta_link=link)
    assert [account.state for account in accounts(pages)] == ["suspended"]
    # An account that is not found is not removed: Graph reports removals itself.
    assert pages[0].removed == ["G0002"]

    # A mark that is too old, or another directory's.
    directory.expire_deltas()
    with pytest.raises(StartOverError):
        listing(services, graph_config(services), delta_link=link)
    services.fail_next("graph", 400)
    with pytest.raises(StartOverError):
        listing(services, graph_config(services), delta_link=link)
    # One from elsewhere is none at all.
    assert len(accounts(listing(services, graph_config(services), delta_link="https://evil.example/"))) == 1


def test_of_two_changes_of_one_user_on_a_page_the_later_counts(tenant: Tenant) -> None:
    services = tenant.services
    directory = shown(services, "teams", pages=[[graph_user(1), graph_user(2)]])
    link = next(page.delta_link for page in listing(services, graph_config(services)) if page.delta_link)
    gone = {"@removed": {"reason": "changed"}}
    directory.change({"id": "G0001", **gone})
    directory.change(graph_user(2, accountEnabled=False))
    directory.change(graph_user(1))
    directory.change({"id": "G0002", **gone})

    page = listing(services, graph_config(services), delta_link=link)[0]

    assert [account.external_id for account in page.accounts] == ["G0001"]
    assert page.removed == ["G0002"]


def test_a_graph_listing_without_the_field_for_suspended_users_is_refused(tenant: Tenant) -> None:
    shown(tenant.services, "teams", pages=[[graph_user(1, accountEnabled=None)]])

    with pytest.raises(ListingError, match="accountEnabled"):
        listing(tenant.services, graph_config(tenant.services))


def test_line_works_rooms_are_asked_for_one_by_one(tenant: Tenant) -> None:
    directory = shown(
        tenant.services,
        "line_works",
        pages=[[line_works_user(1)]],
        rooms={f"R{number:03}": {"title": f"{number}"} for number in range(0, 120, 2)},
    )
    rooms = [f"R{number:03}" for number in range(120)]
    tenant.services.refuse_recipient("R999", "410 DELETED")
    listed = [*rooms, "R999"]

    found = channels(listing(tenant.services, replace(tenant.line_works, domain_id="10001"), rooms=listed))

    assert [room.external_id for room in found] == rooms[::2]
    assert [call for call in directory.calls if call.startswith("rooms")] == [
        f"rooms {room}" for room in rooms
    ]


@pytest.mark.parametrize(
    "body", [b"<html>login</html>", b"[]", b'{"ok": true}', b'{"ok": true, "members": [1]}', b"{" * 5_000]
)
def test_an_answer_that_is_none_makes_the_listing_incomplete(tenant: Tenant, body: bytes) -> None:
    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    async def read() -> None:
        async with test_utils.RawTestServer(answer) as server:
            allowed = {f"{server.host}:{server.port}"}
            async with guarded_session(allowed) as session:
                config = replace(tenant.slack, base_url=str(server.make_url("/")))
                directory = open_directory(config, session, allowed, HASTY)
                await directory.page(directory.start)

    with pytest.raises(ListingError):
        asyncio.run(read())


def test_a_cycle_in_the_pages_of_team_channels_fails_the_listing(tenant: Tenant) -> None:
    team = {"id": "T1", "displayName": "チーム", "channels": [], "is_endless": True}
    shown(tenant.services, "teams", pages=[[graph_user(1)]], channels=[team])

    with pytest.raises(ListingError, match="すでに読んだページに戻りました"):
        listing(tenant.services, graph_config(tenant.services))


def test_a_listing_that_goes_in_a_circle_ends() -> None:
    at = Position("users", "page-2")

    with pytest.raises(ListingError, match="進みません"):
        following(at, "page-2", None)
    with pytest.raises(ListingError, match="進みません"):
        following(at, 7, None)
    assert following(at, "page-3", None) == Position("users", "page-3")
    assert following(at, None, Position("groups")) == Position("groups")
