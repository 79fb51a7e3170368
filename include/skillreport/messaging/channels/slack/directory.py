"""Slack's members and channels: ``users.list`` and ``conversations.list`` of the Web API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    StartOverError,
    address,
    call_with_retries,
    following,
    identity,
    items,
    one_line,
    refused_for_now,
)
from include.skillreport.messaging.channels.exchange import Answer, safe_code
from include.skillreport.messaging.channels.slack import SLACK, SlackConfig
from include.skillreport.messaging.channels.slack.client import call_web_api, is_success, is_token

_SERVICE = "Slack"

# Slack's recommended size; a page may have fewer entries.
_PAGE_SIZE = 200
# Both methods are in Slack's tier 2 and are counted separately.
_CALLS_PER_MINUTE = 20

# This bot has no bot flag.
_SLACKBOT = "USLACKBOT"

_MEMBERS = Position("members")
_CHANNELS = Position("channels")

_CREDENTIAL = "トークンが使えません。Slack アプリを再インストールし、bot_token を更新してください"
_REASONS = {
    "missing_scope": "トークンに権限がありません。users:read、users:read.email、channels:read、groups:read を付けてください",
    "no_permission": "トークンに権限がありません。Slack の管理者に確認してください",
    "invalid_auth": _CREDENTIAL,
    "not_authed": _CREDENTIAL,
    "account_inactive": _CREDENTIAL,
    "token_revoked": _CREDENTIAL,
    "token_expired": _CREDENTIAL,
    "missing_argument": "組織のトークンです。connection_config にワークスペースの ID（team_id）を入れてください",
    "team_access_not_granted": "このワークスペースの権限がありません。connection_config の team_id を確認してください",
    "ekm_access_denied": "Slack の管理者がアクセスを停止しています",
}
_RATE_CODES = ("ratelimited", "rate_limited")
# Failures of Slack itself. The calls only read, so a retry is safe.
_TROUBLE_CODES = ("service_unavailable", "request_timeout", "internal_error", "fatal_error")


class Directory(ServiceDirectory):
    """Members (deactivated members stay in the list), public channels, and private channels that the bot is in."""

    credentials = "bot_token"
    start = beginning = _MEMBERS

    def __init__(self, config: SlackConfig, access: Access) -> None:
        super().__init__(config, access, {config.base_url: ("slack.com", "slack-gov.com")})
        if not is_token(config.token):
            raise CredentialsRefusedError(f"{_CREDENTIAL}（invalid_auth）")
        self._paces = {"users.list": Pace(_CALLS_PER_MINUTE), "conversations.list": Pace(_CALLS_PER_MINUTE)}

    @staticmethod
    def config_of(row: Integration) -> SlackConfig | None:
        config = SLACK.config_of(row)
        return config if config and config.token else None

    @staticmethod
    def spellings(listed: ListedChannel) -> frozenset[str]:
        return frozenset({listed.external_id, f"#{listed.name}"})

    async def page(self, at: Position) -> Page:
        if at.step == _MEMBERS.step:
            body = await self._list("users.list", at)
            accounts = [_account(member) for member in items(body, "members", _SERVICE)]
            return Page(accounts=accounts, next=following(at, _next_cursor(body), _CHANNELS))
        body = await self._list(
            "conversations.list", at, types="public_channel,private_channel", exclude_archived="false"
        )
        channels = [_channel(channel) for channel in items(body, "channels", _SERVICE)]
        return Page(channels=channels, next=following(at, _next_cursor(body), None))

    async def _list(self, method: str, at: Position, **options: str) -> Mapping[str, Any]:
        parameters = {"limit": str(_PAGE_SIZE), **options} | ({"cursor": at.cursor} if at.cursor else {})
        if self._config.team_id:
            parameters["team_id"] = self._config.team_id

        async def call() -> Mapping[str, Any]:
            answer = await call_web_api(
                self._session, self._config, "GET", method, params=parameters, longest=LONGEST_PAGE
            )
            if is_success(answer):
                return answer.fields
            raise _meaning(answer)

        return await call_with_retries(call, self._paces[method], self._patience)


def _next_cursor(body: Mapping[str, Any]) -> object:
    metadata = body.get("response_metadata")
    return metadata.get("next_cursor") if isinstance(metadata, dict) else None


def _meaning(answer: Answer) -> Exception:
    """The error for an answer that is not a success."""
    status, fields = answer.status, answer.fields
    if status == 200 and not fields:
        # A login page or similar, or an answer larger than a page.
        return ListingError("応答が Slack のものではありません")
    code = safe_code(fields.get("error"))
    if code in _RATE_CODES:
        status = 429
    if code in _TROUBLE_CODES:
        return RetryableError(f"{_SERVICE} が一時的に使えません（{code}）")
    if code == "invalid_cursor":
        return StartOverError("続きの位置が無効になったため、一覧を最初から読み直しました")
    if code in _REASONS:
        return CredentialsRefusedError(f"{_REASONS[code]}（{code}）")
    return refused_for_now(status, answer.headers, _SERVICE) or ListingError(
        f"Slack が一覧を返しません（{code or f'HTTP {status}'}）"
    )


def _account(member: Mapping[str, Any]) -> Account:
    external_id = identity(member.get("id"), "利用者")
    given = member.get("profile")
    profile: Mapping[str, Any] = given if isinstance(given, dict) else {}
    kind = AccountKind.MEMBER
    if member.get("is_bot") or member.get("is_workflow_bot") or external_id == _SLACKBOT:
        kind = AccountKind.BOT
    elif member.get("is_restricted") or member.get("is_ultra_restricted") or member.get("is_stranger"):
        kind = AccountKind.GUEST
    state = AccountState.ACTIVE
    if member.get("deleted"):
        state = AccountState.DELETED
    elif member.get("is_invited_user"):
        state = AccountState.PENDING
    return Account(
        external_id,
        email=address(profile.get("email")),
        # Slack sets this to false for addresses that were never confirmed. For other addresses the field is missing.
        is_email_verified=member.get("is_email_confirmed") is not False,
        display_name=one_line(profile.get("real_name")) or one_line(member.get("real_name")),
        kind=kind,
        state=state,
    )


def _channel(channel: Mapping[str, Any]) -> ListedChannel:
    return ListedChannel(
        identity(channel.get("id"), "チャンネル"),
        name=one_line(channel.get("name")),
        kind="private" if channel.get("is_private") else "public",
        is_archived=channel.get("is_archived") is True,
    )
