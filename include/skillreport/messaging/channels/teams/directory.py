"""Microsoft Teams' users and channels, from Microsoft Graph with an application's own credentials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp
from typing_extensions import override
from yarl import URL

from include.skillreport.messaging.channels.access_token import AccessToken
from include.skillreport.messaging.channels.channel import Integration
from include.skillreport.messaging.channels.directory import (
    LONGEST_PAGE,
    REPEATED_CURSOR,
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
    ServiceDirectory,
    StartOverError,
    address,
    call_with_retries,
    identity,
    items,
    one_line,
    refused_for_now,
)
from include.skillreport.messaging.channels.exchange import Answer, request, safe_code

_SERVICE = "Microsoft Graph"

# Graph returns accountEnabled only on request.
_FIELDS = ("id", "displayName", "mail", "userPrincipalName", "accountEnabled", "userType", "employeeId")
_SELECT = ",".join(_FIELDS)
_USERS_PER_PAGE = "999"
# The channels of all teams of a page are read with the page.
_TEAMS_PER_PAGE = "50"
_IS_TEAM = "resourceProvisioningOptions/Any(x:x eq 'Team')"

# Far below Graph's limit for an application, whatever the size of the directory.
_CALLS_PER_MINUTE = 600

_BASELINE, _USERS, _CHANGES, _TEAMS = "baseline", "users", "changes", "teams"

_EXPIRED = "前回からの変更の記録（差分トークン）が使えなくなったため、名簿を最初から読み直しました"


@dataclass(frozen=True)
class GraphConfig:
    """The tenant's own application, registered in Microsoft Entra ID; ``directory_id`` is Microsoft's id of the tenant."""

    directory_id: str
    client_id: str
    client_secret: str = field(repr=False)
    auth_url: str = "https://login.microsoftonline.com/"
    base_url: str = "https://graph.microsoft.com/v1.0/"


class Directory(ServiceDirectory):
    """All users, or the changes since ``delta_link``; then the teams and their channels.

    The start of the next changes is requested before the users are listed, so that no change is lost.
    """

    credentials = "tenant_id、client_id、client_secret"
    reads_changes = True
    beginning = Position(_BASELINE)

    def __init__(self, config: GraphConfig, access: Access) -> None:
        urls = {config.auth_url: ["microsoftonline.com"], config.base_url: ["graph.microsoft.com"]}
        super().__init__(config, access, urls)
        self._base = URL(config.base_url)
        self.start = (
            Position(_CHANGES, access.delta_link) if self._is_own(access.delta_link) else self.beginning
        )
        self._pace = Pace(_CALLS_PER_MINUTE)
        self._token = _Token(config, access.session)

    @staticmethod
    def config_of(row: Integration) -> GraphConfig | None:
        needed = [row.credential(name) for name in ("tenant_id", "client_id", "client_secret")]
        urls = {name: value for name in ("auth_url", "base_url") if (value := row.option(f"graph_{name}"))}
        return GraphConfig(*needed, **urls) if all(needed) else None

    @staticmethod
    def spellings(listed: ListedChannel) -> frozenset[str]:
        return frozenset({listed.external_id, f"{listed.parent_id}/{listed.external_id}"})

    async def page(self, at: Position) -> Page:
        if at.step == _BASELINE:
            body = await self._get(
                self._url("users", "delta", **{"$deltatoken": "latest", "$select": _SELECT})
            )
            # Without it the next listing is a full listing.
            return Page(next=Position(_USERS), delta_link=_link(body, "deltaLink"))
        if at.step == _USERS:
            first = self._url("users", **{"$select": _SELECT, "$top": _USERS_PER_PAGE})
            body = await self._get(self._checked_link(at.cursor) if at.cursor else first)
            accounts = [_account(user) for user in items(body, "value", _SERVICE)]
            return Page(accounts=accounts, next=_following(at, body))
        return await (self._changes(at) if at.step == _CHANGES else self._teams(at))

    async def _changes(self, at: Position) -> Page:
        body = await self._get(self._checked_link(at.cursor), may_expire=True)
        # By id; None: removed. A user can be on the page several times, and the last entry counts.
        last: dict[str, Account | None] = {}
        for user in items(body, "value", _SERVICE):
            user_id = identity(user.get("id"), "利用者")
            whole: Mapping[str, Any] = user
            if "@removed" in user:
                last[user_id] = None
                continue
            if not user.keys() >= set(_FIELDS):
                # The entry may contain only the changed fields.
                url = self._url("users", user_id, **{"$select": _SELECT})
                whole = await self._get(url, missing_ok=True)
                # Not yet known to all of Graph's servers, or removed since: the next changes will list it.
                if not whole:
                    continue
            last[user_id] = _account(whole)
        delta_link = _link(body, "deltaLink")
        if not delta_link and not _link(body, "nextLink"):
            raise ListingError("変更の一覧が最後まで返されませんでした")
        accounts = [account for account in last.values() if account]
        removed = [user_id for user_id, account in last.items() if account is None]
        return Page(
            accounts, removed, next=_following(at, body), delta_link=delta_link or None, is_changes=True
        )

    async def _teams(self, at: Position) -> Page:
        first = self._url(
            "groups", **{"$filter": _IS_TEAM, "$select": "id,displayName", "$top": _TEAMS_PER_PAGE}
        )
        body = await self._get(self._checked_link(at.cursor) if at.cursor else first)
        channels: list[ListedChannel] = []
        for team in items(body, "value", _SERVICE):
            channels += await self._channels_of(identity(team.get("id"), "チーム"))
        return Page(channels=channels, next=_following(at, body))

    async def _channels_of(self, team_id: str) -> list[ListedChannel]:
        channels: list[ListedChannel] = []
        url: URL | None = self._url("teams", team_id, "channels")
        read: set[URL] = set()
        while url is not None:
            if url in read:
                raise ListingError(REPEATED_CURSOR)
            read.add(url)
            body = await self._get(url, missing_ok=True)
            if not body:  # a group that is no longer a team
                break
            channels += [_channel(channel, team_id) for channel in items(body, "value", _SERVICE)]
            after = _following(Position(_TEAMS, str(url)), body)
            url = self._checked_link(after.cursor) if after else None
        return channels

    def _url(self, *segments: str, **query: str) -> URL:
        quoted = [quote(segment, safe="") for segment in segments]
        return self._base.joinpath(*quoted, encoded=True).with_query(query)

    def _checked_link(self, link: str) -> URL:
        """A link from Graph, checked. The token is sent with it, so it must not lead to another host."""
        if not self._is_own(link):
            raise ListingError("続きのリンクが Microsoft Graph のものではありません")
        return URL(link, encoded=True)

    def _is_own(self, link: str) -> bool:
        try:
            return URL(link, encoded=True).origin() == self._base.origin()
        except ValueError:  # not an absolute URL
            return False

    async def _get(
        self, url: URL, *, missing_ok: bool = False, may_expire: bool = False
    ) -> Mapping[str, Any]:
        """The answer; empty if nothing is found and ``missing_ok``. ``may_expire``: the URL is a cursor of an earlier listing."""

        async def call() -> Mapping[str, Any]:
            answer = await self._token.request(self._session, "GET", url, longest=LONGEST_PAGE)
            if answer.ok:
                return answer.fields
            problem = answer.fields.get("error")
            code = safe_code(problem.get("code")) if isinstance(problem, dict) else ""
            # 410 if the cursor has expired; the others if it belongs to another directory, because the credentials have changed.
            if may_expire and answer.status in (400, 404, 410):
                raise StartOverError(_EXPIRED)
            if answer.status == 404 and missing_ok:
                return {}
            raise refused_for_now(answer.status, answer.headers, _SERVICE) or _refused(answer.status, code)

        return await call_with_retries(call, self._pace, self._patience)


class _Token(AccessToken):
    def __init__(self, config: GraphConfig, session: aiohttp.ClientSession) -> None:
        super().__init__()
        self._config = config
        self._session = session

    @override
    async def _fetch(self) -> Answer:
        path = (quote(self._config.directory_id, safe=""), "oauth2", "v2.0", "token")
        return await request(
            self._session,
            "POST",
            URL(self._config.auth_url).joinpath(*path, encoded=True),
            data={
                "grant_type": "client_credentials",
                "client_id": self._config.client_id,
                "client_secret": self._config.client_secret,
                "scope": "https://graph.microsoft.com/.default",
            },
        )

    @override
    def _refusal(self, answer: Answer) -> Exception:
        code = safe_code(answer.fields.get("error")) or f"HTTP {answer.status}"
        return refused_for_now(
            answer.status, answer.headers, "Microsoft Entra ID"
        ) or CredentialsRefusedError(
            f"トークンを取得できません。tenant_id、client_id、client_secret を確認してください（{code}）"
        )


def _refused(status: int, code: str) -> ListingError:
    shown = f"（HTTP {status} {code}".rstrip() + "）"
    if status in (401, 403):
        return CredentialsRefusedError(
            "アプリに権限がありません。User.Read.All、Group.Read.All、Channel.ReadBasic.All（アプリケーション）に"
            f"管理者の同意を付けてください{shown}"
        )
    return ListingError(f"{_SERVICE} が一覧を返しません{shown}")


def _link(body: Mapping[str, Any], name: str) -> str:
    link = body.get(f"@odata.{name}")
    return link if isinstance(link, str) else ""


def _following(at: Position, body: Mapping[str, Any]) -> Position | None:
    link = _link(body, "nextLink")
    if not link:
        return None if at.step == _TEAMS else Position(_TEAMS)
    if link == at.cursor:
        raise ListingError("続きのリンク（nextLink）が進みません")
    return Position(at.step, link)


def _account(user: Mapping[str, Any]) -> Account:
    is_enabled = user.get("accountEnabled")
    if not isinstance(is_enabled, bool):
        raise ListingError("アカウントが有効か（accountEnabled）が返されません")
    return Account(
        identity(user.get("id"), "利用者"),
        # The administrator of the company's directory sets both.
        email=address(user.get("mail")) or address(user.get("userPrincipalName")),
        is_email_verified=True,
        employee_code=one_line(user.get("employeeId")),
        display_name=one_line(user.get("displayName")),
        kind=AccountKind.GUEST if str(user.get("userType")).lower() == "guest" else AccountKind.MEMBER,
        state=AccountState.ACTIVE if is_enabled else AccountState.SUSPENDED,
    )


def _channel(channel: Mapping[str, Any], team_id: str) -> ListedChannel:
    return ListedChannel(
        identity(channel.get("id"), "チャネル"),
        name=one_line(channel.get("displayName")),
        kind=one_line(channel.get("membershipType")) or "standard",
        is_archived=channel.get("isArchived") is True,
        parent_id=team_id,
    )
