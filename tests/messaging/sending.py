"""The messages of the channels' tests, and how they are sent: a real client, a real socket, and a stand-in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

import aiohttp
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from include.skillreport.core.network import EmailConfig, OAuthConfig
from include.skillreport.messaging.address_guard import guarded_session
from include.skillreport.messaging.channels import channel_of_config
from include.skillreport.messaging.channels.channel import (
    Channel,
    ChannelClient,
    ChannelConfig,
    ChannelFinding,
    Rendered,
)
from include.skillreport.messaging.channels.email import EMAIL
from include.skillreport.messaging.channels.email.client import Client as EmailClient
from include.skillreport.messaging.channels.line_works import LINE_WORKS, LineWorksConfig
from include.skillreport.messaging.channels.slack import SLACK, SlackConfig
from include.skillreport.messaging.channels.teams import TEAMS, TeamsConfig
from include.skillreport.messaging.message import Message
from include.skillreport.messaging.outcome import SendResult
from include.skillreport.messaging.templates import Template, render
from local_stack.stand_ins import StandIns
from tests.waiting import LIMIT_SECONDS

T = TypeVar("T")

# Seconds that an impatient client waits for an answer.
SHORT = 0.3

DESTINATIONS = {
    EMAIL: "taro.yamada@example.co.jp",
    SLACK: "C0123456789",
    TEAMS: "",
    LINE_WORKS: "users/taro@example",
}

# As the administrator enters it: the display name and the address.
SENDERS = {
    "no-reply@example.jp": ("", "no-reply@example.jp"),
    "<no-reply@example.jp>": ("", "no-reply@example.jp"),
    "a..b@docomo.ne.jp": ("", "a..b@docomo.ne.jp"),
    "通知 <no-reply@例え.jp>": ("通知", "no-reply@xn--r8jz45g.jp"),
    "Acme, Inc. <a@example.jp>": ("Acme, Inc.", "a@example.jp"),
    '"Acme, Inc." <a@example.jp>': ("Acme, Inc.", "a@example.jp"),
    '"Acme \\"K.K.\\"" <a@example.jp>': ('Acme "K.K."', "a@example.jp"),
    '"A" and "B" <a@example.jp>': ('"A" and "B"', "a@example.jp"),
    "営業部: 総務 <a@example.jp>": ("営業部: 総務", "a@example.jp"),
    "通知: 本社, 総務; (東京) <a@example.jp>": ("通知: 本社, 総務; (東京)", "a@example.jp"),
    "<重要> 通知 <a@example.jp>": ("<重要> 通知", "a@example.jp"),
    "x@y 通知 <a@example.jp>": ("x@y 通知", "a@example.jp"),
    f"{'Acme, Inc. ' * 15}日本支社 <a@example.jp>": (f"{'Acme, Inc. ' * 15}日本支社", "a@example.jp"),
    f"{'Acme, Inc. ' * 15}K.K. <a@example.jp>": (f"{'Acme, Inc. ' * 15}K.K.", "a@example.jp"),
    f"{'通知, ' * 40}本社 <a@example.jp>": (f"{'通知, ' * 40}本社", "a@example.jp"),
}

REFUSED = {
    "": "メールアドレスがありません",
    "no-reply": "メールアドレスがありません",
    "通知 <>": "メールアドレスがありません",
    "a@example.jp, b@example.jp": "2 つ以上",
    "a@example.jp b@example.jp": "2 つ以上",
    "A <a@example.jp>, B <b@example.jp>": "2 つ以上",
    "通知 <a@example.jp> (本社)": "< と > で囲んで最後に",
    "a@b@example.jp": "形式が正しくありません",
    "通知 <a@localhost>": "形式が正しくありません",
    "通知 <総務@example.jp>": "英数字と記号以外",
    f"{'通' * 201} <a@example.jp>": "表示名",
    "通\ud800知 <a@example.jp>": "表示名",
}

# All that must never be in a repr, a log or a result.
SECRETS = (
    "xoxb-very-secret",
    "client-very-secret",
    "smtp-very-secret",
    "stand-in-signature",
    "services/T0/B0/stand-in",
    "PRIVATE KEY",
    "極秘の件名",
    "極秘の本文",
    "taro",
)


@cache
def key_pair(_owner: str = "the service account", bits: int = 1_024) -> tuple[str, str]:
    """A private key and its public key, as PEM; always the same ones. To check 2,048 bits takes seven times as long."""
    private = rsa.generate_private_key(public_exponent=65_537, key_size=bits)
    private_pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public_pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private_pem.decode(), public_pem.decode()


def message(channel: Channel, **changes: Any) -> Message:
    """A message that everybody takes, but for the changes."""
    usual = Message(
        message_id="01JABCDEFGHJKMNPQRSTVWXYZ0",
        tenant_id="T0001",
        channel=channel,
        destination=DESTINATIONS[channel],
        subject="極秘の件名",
        text="極秘の本文",
    )
    return replace(usual, **changes)


def code_of(result: SendResult | None) -> str | None:
    """The error code; None: there is no error."""
    return result.error.code if result and result.error else None


def client_of(
    config: ChannelConfig, session: aiohttp.ClientSession, *, allowed_hosts: Collection[str], patience: float
) -> ChannelClient:
    """The client for a configuration. A mail server has so many seconds for each answer; for the others the session decides."""
    client = channel_of_config(config).client(config, session, allowed_hosts)
    if isinstance(client, EmailClient):
        client.timeout = patience
    return client


@dataclass(frozen=True)
class Tenant:
    """One tenant's settings, all of them pointing at the stand-ins."""

    services: StandIns
    # Seconds that the clients wait for an answer.
    patience: float = LIMIT_SECONDS

    @property
    def impatient(self) -> Tenant:
        """The same one, in a hurry."""
        return replace(self, patience=SHORT)

    @property
    def slack(self) -> SlackConfig:
        return SlackConfig(token="xoxb-very-secret", base_url=self.services.slack_base_url)

    @property
    def slack_webhook(self) -> SlackConfig:
        return SlackConfig(webhook_url=self.services.slack_webhook_url)

    @property
    def teams(self) -> TeamsConfig:
        return TeamsConfig(self.services.teams_webhook_url)

    @property
    def line_works(self) -> LineWorksConfig:
        return LineWorksConfig(
            bot_id="2000001",
            client_id="client-1",
            client_secret="client-very-secret",
            service_account="bot.serviceaccount@example",
            private_key=key_pair()[0],
            auth_url=self.services.line_works_auth_url,
            base_url=self.services.line_works_base_url,
        )

    @property
    def email(self) -> EmailConfig:
        return EmailConfig(
            host="127.0.0.1",
            port=self.services.smtp_port,
            sender="スキル報告 <no-reply@example.co.jp>",
            login="batch",
            password="smtp-very-secret",
            security="none",
        )

    @property
    def email_by_token(self) -> EmailConfig:
        """The same server, with a login by OAuth 2."""
        oauth = OAuthConfig(
            "client-1", "client-very-secret", self.services.mail_token_url, "https://mail.example.jp/.default"
        )
        return replace(self.email, password="", oauth=oauth)

    def config(self, channel: Channel) -> ChannelConfig:
        """The settings of a channel."""
        configs: dict[Channel, ChannelConfig] = {
            EMAIL: self.email,
            SLACK: self.slack,
            TEAMS: self.teams,
            LINE_WORKS: self.line_works,
        }
        return configs[channel]

    def using(self, config: ChannelConfig, work: Callable[[ChannelClient], Awaitable[T]]) -> T:
        """Do something with the client for some settings."""

        async def with_client() -> T:
            timeout = aiohttp.ClientTimeout(total=LIMIT_SECONDS, sock_read=self.patience)
            allowed = self.services.allowed_hosts
            async with (
                guarded_session(allowed, timeout=timeout) as session,
                aclosing(client_of(config, session, allowed_hosts=allowed, patience=self.patience)) as client,
            ):
                return await work(client)

        return asyncio.run(with_client())

    def send(self, config: ChannelConfig, sent: Message) -> SendResult:
        """Send one message."""
        return self.using(config, lambda client: client.send(sent))

    def send_all(self, config: ChannelConfig, *sent: Message) -> list[SendResult]:
        """Send several messages at once."""

        async def at_once(client: ChannelClient) -> list[SendResult]:
            return await asyncio.gather(*map(client.send, sent))

        return self.using(config, at_once)

    def send_in_turn(self, config: ChannelConfig, *sent: Message) -> list[SendResult]:
        """Send several messages, one after the other."""

        async def in_turn(client: ChannelClient) -> list[SendResult]:
            return [await client.send(each) for each in sent]

        return self.using(config, in_turn)

    def check(self, config: ChannelConfig, sent: Message) -> SendResult | None:
        """The problem that is found before a message is sent."""

        async def checked(client: ChannelClient) -> SendResult | None:
            return client.check(sent)

        return self.using(config, checked)

    def validate(self, config: ChannelConfig, *destinations: str) -> list[ChannelFinding]:
        """The daily check."""
        return self.using(config, lambda client: client.validate(destinations))


def row(
    auth: object = None, connection: object = None, endpoint_url: str | None = None
) -> dict[str, str | None]:
    """The columns of a configuration; values that are no text become JSON."""
    return {
        "auth_config": _text(auth),
        "connection_config": _text(connection),
        "endpoint_url": endpoint_url,
    }


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def written(
    body: str,
    channel: Channel = EMAIL,
    *,
    subject: str = "件名",
    language: str = "ja",
    is_html: bool = False,
    is_markdown: bool = False,
    **values: object,
) -> Rendered:
    """The template with these values."""
    return render(Template("goal_due", channel, language, subject, body, is_html, is_markdown), values)


def sections(rendered: Rendered, kind: str = "plain_text") -> str:
    """The text of all sections, which are of this kind."""
    assert isinstance(rendered.rich, list)
    texts = [block["text"] for block in rendered.rich if block["type"] == "section"]
    settings = {"plain_text": {"emoji": False}, "mrkdwn": {"verbatim": True}}[kind]
    assert [{**text, "text": ""} for text in texts] == [{"type": kind, **settings, "text": ""}] * len(texts)
    return "".join(text["text"] for text in texts)
