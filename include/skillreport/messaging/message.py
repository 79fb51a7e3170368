"""Messages, and the secrets of the channels that send them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

from include.skillreport.core.network import EmailConfig, Network
from include.skillreport.messaging.channels.channel import Channel, ChannelConfig
from include.skillreport.messaging.contract_letters import CONTRACT_LETTERS, GENERAL
from include.skillreport.messaging.secret_forms import forms_of, login_forms_of


@dataclass(frozen=True)
class MessageFile:
    """The file of an e-mail: its key in the object store, and the SHA-256 (hexadecimal) of its content.

    The e-mail ends with ``attached_text`` if it contains the file, otherwise with ``unattached_text``. ``is_attached``: the file is small
    enough for the installation's setting. ``content`` is read just before the e-mail is sent.
    """

    name: str
    object_key: str
    sha256: str
    is_attached: bool
    attached_text: str = field(repr=False)
    unattached_text: str = field(repr=False)
    content: bytes | None = field(default=None, repr=False)

    @property
    def text(self) -> str:
        """The last paragraphs of the e-mail: about the file, and the issuer's signature."""
        return self.unattached_text if self.content is None else self.attached_text


@dataclass(frozen=True)
class Message:
    """One rendered message to one destination.

    ``message_id`` is the outbox's id and stays the same over retries. ``destination`` is an e-mail address, a Slack channel or user id, or
    ``users/ID`` or ``channels/ID`` of LINE WORKS. For Teams it is empty, because the webhook is the destination. Every channel has
    ``text``. ``rich`` is the channel's own format: HTML (a string), Slack blocks or the body of an Adaptive Card (lists). ``file`` is for
    e-mail. ``kind``: see ``contract_letters``. ``signature`` is the end of an e-mail, in text and HTML. ``recipients`` are those of an
    e-mail and its copies, each with its header (``to`` or ``cc``) and address; empty: only the destination. The repr omits addresses and
    texts, because it may be logged.
    """

    message_id: str
    tenant_id: str
    channel: Channel
    destination: str = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    rich: Any = field(default=None, repr=False, compare=False)
    file: MessageFile | None = None
    kind: str = GENERAL
    signature: str = field(default="", repr=False)
    recipients: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def belongs_to_contract(self) -> bool:
        """True if it is a contract letter."""
        return self.kind in CONTRACT_LETTERS


def secrets_of(config: ChannelConfig) -> list[str]:
    """The secret values of a configuration: the fields that its repr omits."""
    return [value for each in fields(config) if not each.repr and (value := getattr(config, each.name))]


def mask_secrets(configs: Iterable[ChannelConfig], network: Network) -> None:
    """Mask the secrets of these configurations and of the mail server in logs, in all their spellings."""
    if network.mask is None:
        return
    forms: set[str] = set()
    for config in (*configs, *([network.email] if network.email else [])):
        for secret in secrets_of(config):
            forms |= forms_of(secret)
        if isinstance(config, EmailConfig):
            forms |= login_forms_of(config.login, config.password)
    network.mask(sorted(forms))
