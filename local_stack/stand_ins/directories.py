"""The directories of the stand-ins. A request with a tenant's credentials gets the users and channels of this tenant."""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from local_stack.stand_ins.faults import Fault, Faults, Limits

# The page without a limit, and the highest limit (docs.slack.dev, conversations.list).
_SLACK_PAGE, _SLACK_MOST = 100, 1_000
_SLACK_TYPES = frozenset({"public_channel", "private_channel", "mpim", "im"})
_GRAPH_PAGE = 999
_LINE_WORKS_PAGE = 100
# The paid plans. For each API.
LINE_WORKS_PER_MINUTE = 240

# A cursor value: the answer has no cursor field.
MISSING = "missing"


@dataclass
class StandInDirectory:
    """One tenant's directory at one service, in that service's own JSON.

    ``pages`` are the users, by page. ``channels`` are Slack's channels, the teams of Graph (each with its ``channels``; the pages of one
    that ``is_endless`` form a cycle), or the groups of LINE WORKS, whose talk rooms are in ``rooms``. ``last_cursor`` is the cursor of
    the last page. Requests for a page in ``failing`` (counted from 1) always fail with that code or status. The cursor of a page in
    ``next_pages`` leads to that page, not to the next. With ``team_id``, the token is Slack's of an organisation, and calls must name this
    workspace.
    """

    pages: list[list[dict[str, Any]]] = field(default_factory=list)
    channels: list[dict[str, Any]] = field(default_factory=list)
    rooms: dict[str, dict[str, Any]] = field(default_factory=dict)
    last_cursor: str | None = ""
    failing: dict[int, str | int] = field(default_factory=dict)
    next_pages: dict[int, int] = field(default_factory=dict)
    team_id: str = ""
    calls: list[str] = field(default_factory=list)
    # The changes that Graph lists, with their versions, and the oldest version from which it can list changes.
    changes: list[dict[str, Any]] = field(default_factory=list)
    oldest_delta: int = 0

    @property
    def users(self) -> list[dict[str, Any]]:
        """The users of all pages."""
        return [user for page in self.pages for user in page]

    def fill(self, users: Sequence[dict[str, Any]], page_size: int) -> None:
        """Divide the users into pages."""
        self.pages = [list(users[start : start + page_size]) for start in range(0, len(users), page_size)]

    def cursor_after(self, number: int, pages: int) -> str | None:
        """The cursor on page ``number`` of the users of Slack and LINE WORKS."""
        following = self.next_pages.get(number, number + 1)
        return f"page-{following}" if following <= pages else self.last_cursor

    def change(self, user: Mapping[str, Any]) -> None:
        """Add a user, change the given fields, or remove the user (``@removed``). Graph lists it as a change."""
        self.changes.append(dict(user))
        rest = [each for each in self.users if each["id"] != user["id"]]
        former = next((each for each in self.users if each["id"] == user["id"]), {})
        self.fill(rest if "@removed" in user else [*rest, {**former, **user}], _GRAPH_PAGE)

    def expire_deltas(self) -> None:
        """Expire all delta tokens, so that clients must list all users again."""
        self.oldest_delta = len(self.changes) + 1


class Directories:
    """The directories of all tenants, by bot token (Slack), directory id (Graph) or client id (LINE WORKS)."""

    def __init__(self, faults: Faults) -> None:
        # By tenant and method.
        self.limits = Limits()
        self._faults = faults
        self._directories: dict[tuple[str, str], StandInDirectory] = {}
        self._graph_tokens: dict[str, str] = {}

    def put(self, service: str, account: str, directory: StandInDirectory) -> None:
        """Set the directory of a tenant. Without one, it is empty."""
        self._directories[service, account] = directory

    def routes(self) -> list[web.RouteDef]:
        """The routes of Microsoft Graph. The other services have their own routes."""
        return [
            web.post("/{directory}/oauth2/v2.0/token", self._graph_token),
            web.get("/graph/v1.0/users", self._graph_users),
            web.get("/graph/v1.0/users/delta", self._graph_delta),
            web.get("/graph/v1.0/users/{user}", self._graph_user),
            web.get("/graph/v1.0/groups", self._graph_groups),
            web.get("/graph/v1.0/teams/{team}/channels", self._graph_channels),
        ]

    # Slack.

    def slack(
        self, method: str, token: str, given: Mapping[str, Any], *, shows_addresses: bool
    ) -> web.Response:
        """Answer ``users.list`` or ``conversations.list`` for the owner of the token. ``given`` are the arguments."""
        directory = self._of("slack", token)
        cursor = str(given.get("cursor", ""))
        directory.calls.append(f"{method} {cursor}".strip())
        if wait := self.limits.wait("slack", f"{token} {method}"):
            return web.json_response(
                {"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": str(wait)}
            )
        if directory.team_id and given.get("team_id") != directory.team_id:
            return _slack_error("team_access_not_granted" if given.get("team_id") else "missing_argument")
        lists_users = method == "users.list"
        limit = str(given.get("limit", "0"))
        if not limit.isdecimal() or int(limit) > _SLACK_MOST:
            return _slack_error("invalid_arguments" if lists_users else "invalid_limit")
        if cursor and not cursor.startswith("page-"):
            return _slack_error("invalid_cursor")
        types = set(str(given.get("types", "public_channel")).split(","))
        if not lists_users and not types <= _SLACK_TYPES:
            return _slack_error("invalid_types")
        if lists_users:
            pages = [
                part for page in directory.pages for part in _cut(page, int(limit) or len(page) or 1) or [[]]
            ]
        else:
            pages = _cut(_listed(directory.channels, types, given), int(limit) or _SLACK_PAGE)
        number = int(cursor.removeprefix("page-")) if cursor else 1
        if lists_users and (code := directory.failing.get(number)):
            return web.Response(status=code) if isinstance(code, int) else _slack_error(code)
        page = pages[number - 1] if number <= len(pages) else []
        body: dict[str, Any] = {"ok": True, "members": page, "cache_ts": int(time.time())}
        if not lists_users:
            body = {"ok": True, "channels": page}
        elif not shows_addresses:
            body["members"] = [_without_address(member) for member in page]
        after = directory.cursor_after(number, len(pages))
        if after != MISSING:
            body["response_metadata"] = {"next_cursor": after}
        return web.json_response(body)

    def slack_channel(self, token: str, channel: str) -> Mapping[str, Any]:
        """The channel in the directory of the token's owner; empty if it has no such channel."""
        channels = self._of("slack", token).channels
        return next((each for each in channels if each["id"] == channel), {})

    # LINE WORKS.

    def line_works(
        self, api: str, client_id: str, query: Mapping[str, str], channel: str = ""
    ) -> web.Response:
        """Answer with ``users``, ``groups`` or a talk room of the bot, for the owner of the token."""
        directory = self._of("line_works", client_id)
        cursor = query.get("cursor", "")
        directory.calls.append(f"{api} {channel or cursor}".strip())
        stated = {"rateLimit-limit": str(LINE_WORKS_PER_MINUTE)}
        if wait := self.limits.wait("line_works", f"{client_id} {api}"):
            return _line_works_refusal("TOO_MANY_REQUESTS", 429, {**stated, "rateLimit-reset": str(wait)})
        if api == "rooms":
            room = directory.rooms.get(channel)
            if room is None:
                return _line_works_refusal("NOT_FOUND", 404, stated)
            return web.json_response(room, headers=stated)
        pages = directory.pages if api == "users" else _cut(directory.channels, _LINE_WORKS_PAGE)
        number = int(cursor.removeprefix("page-")) if cursor else 1
        if api == "users" and (code := directory.failing.get(number)):
            return _line_works_refusal("REFUSED", int(code), stated)
        page = pages[number - 1] if number <= len(pages) else []
        after = directory.cursor_after(number, len(pages))
        body = {api: page, "responseMetaData": {"nextCursor": after}}
        return web.json_response(body, headers=stated)

    # Microsoft Graph.

    async def _graph_token(self, request: web.Request) -> web.Response:
        form = await request.post()
        if (fault := self._faults.take("graph_auth")) is not None:
            return _graph_refusal(fault)
        if form.get("grant_type") != "client_credentials" or not form.get("client_secret"):
            return web.json_response({"error": "invalid_client"}, status=401)
        token = f"graph-{secrets.token_hex(8)}"
        self._graph_tokens[token] = request.match_info["directory"]
        return web.json_response({"access_token": token, "token_type": "Bearer", "expires_in": 3599})

    async def _graph_users(self, request: web.Request) -> web.Response:
        directory = self._graph_directory(request)
        if isinstance(directory, web.Response):
            return directory
        selected = request.query.get("$select", "").split(",")
        number = int(request.query.get("$skiptoken", "1"))
        if code := directory.failing.get(number):
            return _graph_refusal(Fault(code))
        page = directory.pages[number - 1] if number <= len(directory.pages) else []
        body: dict[str, Any] = {"value": [_selected(user, selected) for user in page]}
        following = directory.next_pages.get(number, number + 1)
        if following <= len(directory.pages):
            body["@odata.nextLink"] = str(request.url.update_query({"$skiptoken": str(following)}))
        return web.json_response(body)

    async def _graph_delta(self, request: web.Request) -> web.Response:
        directory = self._graph_directory(request)
        if isinstance(directory, web.Response):
            return directory
        mark = request.query.get("$deltatoken", "")
        version = len(directory.changes) if mark == "latest" else int(mark or 0)
        if version < directory.oldest_delta and mark != "latest":
            return _graph_refusal(Fault(410))
        after = max(len(directory.changes), directory.oldest_delta)
        link = request.url.with_query({"$deltatoken": str(after)})
        return web.json_response({"value": directory.changes[version:], "@odata.deltaLink": str(link)})

    async def _graph_user(self, request: web.Request) -> web.Response:
        directory = self._graph_directory(request)
        if isinstance(directory, web.Response):
            return directory
        for user in directory.users:
            if user["id"] == request.match_info["user"]:
                return web.json_response(_selected(user, request.query.get("$select", "").split(",")))
        return _graph_refusal(Fault(404))

    async def _graph_groups(self, request: web.Request) -> web.Response:
        directory = self._graph_directory(request)
        if isinstance(directory, web.Response):
            return directory
        teams = [{"id": team["id"], "displayName": team["displayName"]} for team in directory.channels]
        return web.json_response({"value": teams})

    async def _graph_channels(self, request: web.Request) -> web.Response:
        directory = self._graph_directory(request)
        if isinstance(directory, web.Response):
            return directory
        for team in directory.channels:
            if team["id"] == request.match_info["team"]:
                body = {"value": team["channels"]}
                if team.get("is_endless"):
                    other = "2" if request.query.get("$skiptoken") == "1" else "1"
                    body["@odata.nextLink"] = str(request.url.with_query({"$skiptoken": other}))
                return web.json_response(body)
        return _graph_refusal(Fault(404))

    def _graph_directory(self, request: web.Request) -> StandInDirectory | web.Response:
        if (fault := self._faults.take("graph")) is not None:
            return _graph_refusal(fault)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self._graph_tokens:
            return _graph_refusal(Fault(401))
        directory = self._of("teams", self._graph_tokens[token])
        directory.calls.append(request.path_qs.removeprefix("/graph/v1.0/"))
        return directory

    # All services.

    def _of(self, service: str, account: str) -> StandInDirectory:
        return self._directories.setdefault((service, account), StandInDirectory())


def _cut(entries: Sequence[dict[str, Any]], size: int) -> list[list[dict[str, Any]]]:
    return [list(entries[start : start + size]) for start in range(0, len(entries), size)]


def _listed(
    channels: Sequence[dict[str, Any]], types: Collection[str], given: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Slack's channels of these types, without those that ``exclude_archived`` leaves out."""
    hides_archived = str(given.get("exclude_archived", "")) in ("1", "true")
    return [
        channel
        for channel in channels
        if ("private_channel" if channel.get("is_private") else "public_channel") in types
        and not (hides_archived and channel.get("is_archived"))
    ]


def _without_address(member: Mapping[str, Any]) -> dict[str, Any]:
    profile = {name: value for name, value in member.get("profile", {}).items() if name != "email"}
    return {**member, "profile": profile}


def _slack_error(code: str) -> web.Response:
    return web.json_response({"ok": False, "error": code})


def _selected(user: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The selected fields of a user; a missing field is null."""
    return {name: user.get(name) for name in names}


def _line_works_refusal(code: str, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(
        {"code": code, "description": "refused by the stand-in"}, status=status, headers=headers
    )


def _graph_refusal(fault: Fault) -> web.Response:
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    problem = {"error": {"code": "Refused", "message": "refused by the stand-in", "innerError": {}}}
    return web.json_response(problem, status=int(fault.code), headers=headers)
