"""LINE WORKS' users, groups and its bot's talk rooms. The API cannot list talk rooms, so each known room is requested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from yarl import URL

from include.skillreport.messaging.channels.access_token import TokenFailedError
from include.skillreport.messaging.channels.channel import Integration
from include.skillreport.messaging.channels.directory import (
    LONGEST_PAGE,
    Access,
    Account,
    AccountKind,
    AccountState,
    CredentialsRefusedError,
    ListedChannel,
    ListingError,
    Pace,
    Page,
    Position,
    RetryableError,
    ServiceDirectory,
    address,
    call_with_retries,
    following,
    identity,
    items,
    one_line,
    refused_for_now,
)
from include.skillreport.messaging.channels.exchange import Answer, safe_code
from include.skillreport.messaging.channels.line_works import LINE_WORKS, LineWorksConfig
from include.skillreport.messaging.channels.line_works.client import ServiceAccountToken, stated_limit

_SERVICE = "LINE WORKS"
_SCOPE = "user.read group.read bot.read"

_PAGE_SIZE = "100"
_ROOMS_PER_PAGE = 50
# For each API separately: the limit of the free plan. Each answer states that of the domain.
_FIRST_CALLS_PER_MINUTE = 60

_USERS = Position("users")
_GROUPS = Position("groups")
_ROOMS = Position("rooms")


class Directory(ServiceDirectory):
    """Users, groups, and the known talk rooms (``channelId``) that still exist."""

    credentials = "bot_id、client_id、client_secret、service_account、private_key"
    room_prefix = "channels/"
    start = beginning = _USERS

    def __init__(self, config: LineWorksConfig, access: Access) -> None:
        urls = {config.auth_url: ["worksmobile.com"], config.base_url: ["worksapis.com"]}
        super().__init__(config, access, urls)
        self._paces = {step.step: Pace(_FIRST_CALLS_PER_MINUTE) for step in (_USERS, _GROUPS, _ROOMS)}
        self._rooms = sorted(access.rooms)
        self._token = ServiceAccountToken(replace(config, scope=_SCOPE), access.session)

    @staticmethod
    def config_of(row: Integration) -> LineWorksConfig | None:
        return LINE_WORKS.config_of(row)

    @staticmethod
    def spellings(listed: ListedChannel) -> frozenset[str]:
        return frozenset({f"{Directory.room_prefix}{listed.external_id}"})

    async def page(self, at: Position) -> Page:
        if at.step == _ROOMS.step:
            return await self._rooms_after(at)
        query = {"count": _PAGE_SIZE}
        if at.cursor:
            query["cursor"] = at.cursor
        if self._config.domain_id:
            query["domainId"] = self._config.domain_id
        body = await self._get(at.step, (at.step,), query)
        if at.step == _USERS.step:
            accounts = [_account(user) for user in items(body, "users", _SERVICE)]
            return Page(accounts=accounts, next=following(at, _next_cursor(body), _GROUPS))
        groups = [_group(group) for group in items(body, "groups", _SERVICE)]
        return Page(channels=groups, next=following(at, _next_cursor(body), _ROOMS))

    async def _rooms_after(self, at: Position) -> Page:
        due = [room for room in self._rooms if room > at.cursor][:_ROOMS_PER_PAGE]
        found = []
        for room in due:
            body = await self._get(
                at.step, ("bots", self._config.bot_id, "channels", room), {}, missing_ok=True
            )
            if body:
                found.append(ListedChannel(room, name=one_line(body.get("title")), kind="room"))
        return Page(channels=found, next=Position(at.step, due[-1]) if due else None)

    async def _get(
        self, api: str, path: Sequence[str], query: Mapping[str, str], *, missing_ok: bool = False
    ) -> Mapping[str, Any]:
        pace = self._paces[api]
        quoted = [quote(segment, safe="") for segment in path]
        url = URL(self._config.base_url).joinpath(*quoted, encoded=True).with_query(query)

        async def call() -> Mapping[str, Any]:
            answer = await self._answer(url)
            if stated := stated_limit(answer):
                pace.calls = stated
            if answer.ok:
                return answer.fields
            if answer.status in (404, 410) and missing_ok:
                return {}
            code = safe_code(answer.fields.get("code"))
            raise refused_for_now(answer.status, answer.headers, _SERVICE, "rateLimit-reset") or _refused(
                answer.status, code
            )

        return await call_with_retries(call, pace, self._patience)

    async def _answer(self, url: URL) -> Answer:
        try:
            return await self._token.request(self._session, "GET", url, longest=LONGEST_PAGE)
        except TokenFailedError as error:
            if not error.recoverable:
                raise CredentialsRefusedError(str(error)) from None
            asked, is_rate = error.result.retry_after, error.result.is_refused_for_rate
            wait = asked.total_seconds() if asked else None
            raise RetryableError(str(error), wait=wait, is_rate=is_rate) from None


def _next_cursor(body: Mapping[str, Any]) -> object:
    metadata = body.get("responseMetaData")
    return metadata.get("nextCursor") if isinstance(metadata, dict) else None


def _refused(status: int, code: str) -> ListingError:
    shown = f"（HTTP {status} {code}".rstrip() + "）"
    if status in (401, 403):
        return CredentialsRefusedError(f"アプリに権限がありません。スコープ {_SCOPE} を付けてください{shown}")
    return ListingError(f"{_SERVICE} が一覧を返しません{shown}")


def _account(user: Mapping[str, Any]) -> Account:
    state = AccountState.ACTIVE
    if user.get("isDeleted"):
        state = AccountState.DELETED
    elif user.get("isSuspended"):
        state = AccountState.SUSPENDED
    elif user.get("isPending") or user.get("isAwaiting"):
        state = AccountState.PENDING
    elif _is_on_leave(user.get("leaveOfAbsence")):
        state = AccountState.ON_LEAVE
    return Account(
        identity(user.get("userId"), "利用者"),
        # The administrator of the company's directory sets it.
        email=address(user.get("email")),
        is_email_verified=True,
        employee_code=one_line(user.get("employeeNumber")) or one_line(user.get("userExternalKey")),
        display_name=_name(user.get("userName")),
        kind=AccountKind.MEMBER,
        state=state,
    )


def _name(value: object) -> str | None:
    if not isinstance(value, dict):
        return None
    return one_line(
        " ".join(part for name in ("lastName", "firstName") if (part := one_line(value.get(name))))
    )


def _is_on_leave(value: object) -> bool:
    if isinstance(value, dict) and "isLeaveOfAbsence" in value:
        return value["isLeaveOfAbsence"] is True
    return bool(value)


def _group(group: Mapping[str, Any]) -> ListedChannel:
    return ListedChannel(
        identity(group.get("groupId"), "グループ"), name=one_line(group.get("groupName")), kind="group"
    )
