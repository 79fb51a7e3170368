"""Slack: the methods of the Web API that the batches use, and an incoming webhook.

The checks and the fields of the answers are those of docs.slack.dev. Slack documents 50 blocks, the lengths of their texts and the
truncation of a text (api.slack.com/changelog/2018-04-truncating-really-long-messages). The length of all blocks was measured by others
(slackapi/bolt-js, issue 2509).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aiohttp import web

from local_stack.stand_ins.chat_service import (
    ChatService,
    bearer,
    failure,
    json_object,
    retry_headers,
    status_and_code,
)
from local_stack.stand_ins.directories import Directories
from local_stack.stand_ins.facts import statuses
from local_stack.stand_ins.faults import Faults, Limits
from local_stack.stand_ins.recorder import Arrived, MessageLog, shown_headers

_LONGEST_TEXT = 40_000
_MOST_BLOCKS = 50
_LONGEST_BLOCKS = 13_200
_LONGEST_SECTION = 3_000
_LONGEST_HEADER = 150
_MOST_CONTEXT_ELEMENTS = 10
_MOST_FIELDS, _LONGEST_FIELD = 10, 2_000
# The other kinds of blocks in a message are not looked into.
_OTHER_BLOCKS = frozenset({"actions", "divider", "file", "image", "input", "markdown", "table", "video"})

_CONVERSATIONS = ("channels:read", "groups:read", "im:read", "mpim:read")
# One of these scopes is needed.
_SCOPES = {
    "auth.test": (),
    "chat.postMessage": ("chat:write",),
    "conversations.info": _CONVERSATIONS,
    "conversations.list": _CONVERSATIONS,
    "users.list": ("users:read",),
}

_BOT = {"bot_id": "B0STANDIN", "user": "U0STANDIN", "team": "T0STANDIN"}


class InvalidBlocksError(ValueError):
    """Slack refuses the blocks. ``code`` is its error, ``details`` are the further fields of the answer."""

    def __init__(self, code: str, *problems: str) -> None:
        super().__init__(code)
        self.code = code
        self.details: dict[str, Any] = {}
        if problems:
            messages = [f"[ERROR] {problem}" for problem in problems]
            self.details = {"errors": problems, "response_metadata": {"messages": messages}}


class Slack(ChatService):
    """The service for all workspaces. ``scopes`` are those of every bot, separated by commas."""

    def __init__(
        self, recorder: MessageLog, faults: Faults, limits: Limits, directories: Directories
    ) -> None:
        super().__init__(recorder, faults, limits)
        self.scopes = "chat:write,channels:read,groups:read,users:read,users:read.email"
        self._directories = directories

    def routes(self) -> list[web.RouteDef]:
        """The routes of the Web API and of webhooks."""
        return [
            web.route("*", "/api/{method}", self._web_api),
            web.post("/services/{tail:.+}", self._webhook),
        ]

    async def _web_api(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        given = await _parameters(request)
        if (fault := self.faults.take("slack")) is not None:
            return failure(request, fault, _refusal)
        token = bearer(request) or str(given.get("token", ""))
        if not token.startswith("xoxb-"):
            return _refusal("invalid_auth" if token else "not_authed")
        if method not in _SCOPES:
            return _refusal("unknown_method")
        needed = _SCOPES[method]
        if needed and not set(needed) & set(self.scopes.split(",")):
            return _refusal("missing_scope", needed=",".join(needed), provided=self.scopes)
        if method == "auth.test":
            return self._login()
        if method == "conversations.info":
            if wait := self.limits.wait("slack_lookup", token):
                return _refusal("ratelimited", wait)
            return self._conversation(token, given)
        if method == "chat.postMessage":
            return await self._post(request, token, given)
        return self._directories.slack(
            method, token, given, shows_addresses="users:read.email" in self.scopes.split(",")
        )

    def _login(self) -> web.Response:
        about = {
            "url": "https://stand-in.slack.com/",
            "team": "stand-in",
            "user": "batch",
            "team_id": _BOT["team"],
            "user_id": _BOT["user"],
            "bot_id": _BOT["bot_id"],
            "is_enterprise_install": False,
        }
        return web.json_response({"ok": True, **about}, headers={"X-OAuth-Scopes": self.scopes})

    def _conversation(self, token: str, given: Mapping[str, Any]) -> web.Response:
        channel = str(given.get("channel", ""))
        refusal = self.faults.refusal_of(channel) if channel else "channel_not_found"
        if refusal not in (None, "not_in_channel", "is_archived"):
            return _refusal(refusal)
        usual = {
            "id": channel,
            "name": channel.lower(),
            "is_channel": True,
            "is_group": False,
            "is_im": False,
            "is_mpim": False,
            "is_private": False,
            "created": 0,
            "is_archived": refusal == "is_archived",
            "is_member": refusal != "not_in_channel",
        }
        about = {**usual, **self._directories.slack_channel(token, channel)}
        if str(given.get("include_num_members", "")) in ("1", "true"):
            about["num_members"] = 1
        return web.json_response({"ok": True, "channel": about})

    async def _post(self, request: web.Request, token: str, given: Mapping[str, Any]) -> web.Response:
        channel, text = str(given.get("channel", "")), str(given.get("text", ""))
        if not channel:
            return _refusal("channel_not_found")
        if refusal := self.faults.refusal_of(channel):
            return _refusal(refusal)
        try:
            blocks = _blocks(given.get("blocks"))
        except InvalidBlocksError as error:
            return _refusal(error.code, **error.details)
        if not text and not blocks and not given.get("attachments"):
            return _refusal("no_text")
        if wait := self.limits.wait("slack_channel", channel) or self.limits.wait("slack_workspace", token):
            return _refusal("ratelimited", wait)
        arrived = _arrived(request, channel, text, blocks, given)
        await self.record(request, arrived)
        ts = f"{arrived.arrived_at.timestamp():.6f}"
        message: dict[str, Any] = {"type": "message", "text": arrived.text, **_BOT, "ts": ts}
        if blocks:
            message["blocks"] = [{"block_id": f"b{number}", **block} for number, block in enumerate(blocks)]
        answer: dict[str, Any] = {"ok": True, "channel": channel, "ts": ts, "message": message}
        if arrived.text != text:
            messages = [f"[WARN] the text was cut to {_LONGEST_TEXT:,} characters"]
            answer["response_metadata"] = {"messages": messages, "warnings": ["message_truncated"]}
        return web.json_response(answer)

    async def _webhook(self, request: web.Request) -> web.Response:
        raw = await request.text()
        if (fault := self.faults.take("slack")) is not None:
            return failure(request, fault, _webhook_refusal)
        body = json_object(raw)
        if not body:
            return _webhook_refusal("invalid_payload")
        text = str(body.get("text", ""))
        try:
            blocks = _blocks(body.get("blocks"))
        except InvalidBlocksError:
            return _webhook_refusal("invalid_blocks")
        if not text and not blocks:
            return _webhook_refusal("no_text")
        if wait := self.limits.wait("slack_webhook", request.path):
            return _webhook_refusal("rate_limited", wait)
        await self.record(request, _arrived(request, "", text, blocks, body))
        return web.Response(text="ok")


async def _parameters(request: web.Request) -> dict[str, Any]:
    """The arguments in the query, and in the body as JSON or as a form."""
    if request.content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        return {**request.query, **await request.post()}
    return {**request.query, **json_object(await request.text())}


def _arrived(
    request: web.Request,
    channel: str,
    text: str,
    blocks: list[dict[str, Any]] | None,
    given: Mapping[str, Any],
) -> Arrived:
    options = {
        name: value for name, value in given.items() if name not in ("channel", "text", "blocks", "token")
    }
    headers = shown_headers(request.headers)
    return Arrived("slack", channel, text[:_LONGEST_TEXT], rich=blocks, headers=headers, options=options)


def _blocks(value: object) -> list[dict[str, Any]] | None:
    """The blocks of a message, which may be JSON as text. :raises InvalidBlocksError:"""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise InvalidBlocksError("invalid_blocks_format") from None
    if not isinstance(value, list):
        raise InvalidBlocksError("invalid_blocks_format")
    if problems := list(_problems(value)):
        raise InvalidBlocksError("invalid_blocks", *problems)
    if len(json.dumps(value, ensure_ascii=False)) > _LONGEST_BLOCKS:
        raise InvalidBlocksError("msg_blocks_too_long")
    return value


def _problems(blocks: list[Any]) -> Iterator[str]:
    if len(blocks) > _MOST_BLOCKS:
        yield f"no more than {_MOST_BLOCKS} items allowed [json-pointer:/blocks]"
    for number, block in enumerate(blocks):
        kind = block.get("type") if isinstance(block, dict) else None
        check = _CHECKS.get(kind or "")
        if kind not in _OTHER_BLOCKS and (check is None or not check(block)):
            yield f"invalid block [json-pointer:/blocks/{number}]"


def _is_section(block: Mapping[str, Any]) -> bool:
    fields = block.get("fields", [])
    if not isinstance(fields, list) or len(fields) > _MOST_FIELDS:
        return False
    if not all(_has_text({"text": field}, _LONGEST_FIELD) for field in fields):
        return False
    return _has_text(block, _LONGEST_SECTION) or ("text" not in block and bool(fields))


def _is_header(block: Mapping[str, Any]) -> bool:
    return _has_text(block, _LONGEST_HEADER) and block["text"].get("type") == "plain_text"


def _is_rich_text(block: Mapping[str, Any]) -> bool:
    parts = block.get("elements")
    # Slack refuses an element without text.
    return isinstance(parts, list) and all(
        part.get("type") != "rich_text_section"
        or all(element.get("type") != "text" or element.get("text") for element in part["elements"])
        for part in parts
    )


def _is_context(block: Mapping[str, Any]) -> bool:
    elements = block.get("elements")
    return isinstance(elements, list) and 0 < len(elements) <= _MOST_CONTEXT_ELEMENTS


def _has_text(block: Mapping[str, Any], longest: int) -> bool:
    text = block.get("text")
    content = text.get("text") if isinstance(text, dict) else None
    return isinstance(content, str) and 0 < len(content) <= longest


_CHECKS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "section": _is_section,
    "header": _is_header,
    "context": _is_context,
    "rich_text": _is_rich_text,
}


def _refusal(code: str | int, retry_after: str | int | None = None, **fields: Any) -> web.Response:
    headers = retry_headers(retry_after)
    if isinstance(code, int):
        return web.Response(status=code, text="<html></html>", content_type="text/html", headers=headers)
    status, name = status_and_code(code, statuses("slack"), 200)
    return web.json_response({"ok": False, "error": name, **fields}, status=status, headers=headers)


def _webhook_refusal(code: str | int, retry_after: str | int | None = None) -> web.Response:
    usual = (
        (code, str(code)) if isinstance(code, int) else status_and_code(code, statuses("slack_webhook"), 400)
    )
    return web.Response(status=usual[0], text=usual[1], headers=retry_headers(retry_after))
