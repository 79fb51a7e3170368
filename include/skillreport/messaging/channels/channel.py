"""The interface of a channel: a service through which messages are sent.

Each channel is a package of this folder. It has a subclass of ``Channel`` with one instance, ``errors.yaml`` with the meaning of the
service's answers (see ``outcome.ErrorCode``), the module ``client`` with the class ``Client`` (a ``ChannelClient``), and perhaps the module
``directory`` with the class ``Directory`` (a ``ServiceDirectory``).
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from typing_extensions import override

from include.skillreport.messaging.outcome import (
    ErrorClass,
    ErrorCode,
    Outcome,
    SendResult,
    failed,
    load_errors,
)
from include.skillreport.messaging.throttle import Limit

if TYPE_CHECKING:
    import aiohttp

    from include.skillreport.messaging.channels.directory import ServiceDirectory
    from include.skillreport.messaging.message import Message


# Characters of a setting. The longest real one is a private key.
_LONGEST_SETTING = 10_000
_UNENCODABLE = re.compile("[\x00\ud800-\udfff]")


class ChannelConfig(Protocol):
    """The settings of a channel: a dataclass. The fields that its repr omits are secret."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


@dataclass(frozen=True)
class Rendered:
    """A subject of one line, the plain text, and the channel's own format (HTML, blocks, card; None: plain text only)."""

    subject: str = field(repr=False)
    text: str = field(repr=False)
    rich: object = field(default=None, repr=False)


def unchanged(value: str) -> str:
    """The value: the service interprets no markup."""
    return value


@dataclass(frozen=True)
class Integration:
    """A row of SYS_IntegrationConfig: ``auth_config`` and ``connection_config`` as JSON objects, and ``endpoint_url``.

    The JSON is untrusted. A missing value is an empty text. Errors and logs do not contain the credentials.
    """

    auth: Mapping[str, Any] = field(repr=False)
    connection: Mapping[str, Any] = field(repr=False)
    endpoint_url: str = field(default="", repr=False)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Integration:
        """The row. A column that is not a JSON object counts as empty."""
        auth, connection = json_object(row["auth_config"]), json_object(row["connection_config"])
        return cls(auth or {}, connection or {}, _first_text(row, "endpoint_url"))

    def credential(self, *names: str) -> str:
        """The first of these values of ``auth_config`` that is a text."""
        return _first_text(self.auth, *names)

    def option(self, name: str) -> str:
        """A text of ``connection_config``."""
        return _first_text(self.connection, name)

    @property
    def webhook(self) -> str:
        """The URL of a webhook."""
        return self.credential("webhook_url") or self.endpoint_url


@dataclass(frozen=True)
class ChannelFinding:
    """A problem that the daily check of a channel's settings found.

    A transient ``error`` means that the service did not answer. One with ``sent`` is a warning: messages still arrive, but will not for
    long. With any other error, no message arrives until an operator fixes it. ``destination`` is set if the finding concerns one
    destination. It is personal data, so the repr omits it.
    """

    error: ErrorCode
    detail: str = ""
    destination: str = field(default="", repr=False)

    @property
    def is_warning(self) -> bool:
        """True if messages still arrive."""
        return self.error.outcome is Outcome.SENT


class ChannelClient(Protocol):
    """A client for one tenant and one service. Several messages may be sent concurrently. Errors of the service are results, not raised."""

    def check(self, message: Message) -> SendResult | None:
        """The problem of the settings or the message, checked without the network; None: the message may be sent."""

    async def send(self, message: Message) -> SendResult:
        """Check and send one message. A request that may have arrived is not repeated."""

    async def validate(self, destinations: Collection[str] = ()) -> list[ChannelFinding]:
        """Check the settings and these destinations, without sending a message."""

    async def aclose(self) -> None:
        """Close the client's own connections, by default none; the session stays open. For ``contextlib.aclosing``."""
        return


class Channel(str, ABC):
    """A channel. As text it is its name, for rows, logs and JSON. ``channels.CHANNELS`` contains all channels.

    ``label`` is its name for operators, ``service`` the name in a sentence. ``spellings`` are the application's types of notifications and
    templates, with lower-case letters only; ``integrations`` are the keys and types of SYS_IntegrationConfig. Other rows take precedence
    over rows with one of ``application_keys``.
    """

    __slots__ = ()

    label: ClassVar[str]
    spellings: ClassVar[Sequence[str]]
    application_keys: ClassVar[Collection[str]] = ()
    # The attempts of a message.
    attempts: ClassVar[int] = 3
    # Whether a message names its destination. Otherwise the settings do.
    has_destinations: ClassVar[bool] = True
    # Whether a message that may have arrived is sent again: the service or its users recognise the copy.
    may_repeat: ClassVar[bool] = False
    # The maximum number of a lane's messages in flight. After a sender is killed, it is unknown whether they arrived.
    in_flight: ClassVar[int] = 4
    # Several of these errors in a row mean that the service is unavailable.
    service_errors: ClassVar[Collection[ErrorClass]] = frozenset({ErrorClass.SERVICE, ErrorClass.NETWORK})
    # Characters of a message; None: longer than the output of any template.
    longest_text: ClassVar[int | None] = None
    config_type: ClassVar[type[ChannelConfig]]
    # Whether BATCH-019-03 can read the accounts and channels of the service.
    has_directory: ClassVar[bool] = False

    @property
    def service(self) -> str:
        """The name of the service in a sentence for operators."""
        return self.label

    @property
    def integrations(self) -> Collection[str]:
        """The keys and types of its rows in SYS_IntegrationConfig, spelled as ``spellings``."""
        return (*self.spellings, *self.application_keys)

    @property
    def errors(self) -> Mapping[str, ErrorCode]:
        """The meaning of the service's answers: ``errors.yaml`` beside the subclass. ``unknown`` is for codes that it does not list."""
        return load_errors(Path(inspect.getfile(type(self))).with_name("errors.yaml"))

    # Settings and clients

    @abstractmethod
    def config_of(self, row: Integration) -> ChannelConfig | None:
        """The settings in a row of SYS_IntegrationConfig; None if a required value is missing."""

    def client(
        self, config: Any, session: aiohttp.ClientSession, allowed_hosts: Collection[str]
    ) -> ChannelClient:
        """The client with these settings. It opens no connection yet. ``session`` is a ``guarded_session`` with ``allowed_hosts``."""
        return cast(ChannelClient, self._module("client").Client(config, session, allowed_hosts))

    @property
    def directory(self) -> type[ServiceDirectory]:
        """The directory of the service."""
        return cast("type[ServiceDirectory]", self._module("directory").Directory)

    def _module(self, name: str) -> Any:
        """A module of the channel's package. It is loaded on first use, because it needs a network library."""
        return import_module(f"{type(self).__module__}.{name}")

    def proves_login(self, config: Any) -> bool:
        """True if the client's ``validate`` asks the service. For a webhook only the format is checked."""
        return True

    @abstractmethod
    def limit(self, config: Any, tenant_id: str) -> Limit:
        """The service's documented limit for a tenant with these settings. Without ``most_per_minute`` it may be higher."""

    def limit_key(self, *counted_by: str) -> str:
        """The key of a limit, from the texts that identify what the service counts. It contains no secret."""
        digest = hashlib.sha256("\n".join(counted_by).encode("utf-8", "replace")).hexdigest()
        return f"{self}:{digest[:24]}"

    # Texts

    def escape_of(self, *, is_markdown: bool) -> Callable[[str], str]:
        """Escapes a value in the body of a template. ``is_markdown``: the template has the channel's own markup."""
        return unchanged

    def escape_text(self, text: str) -> str:
        """The plain text of a message as the service gets it."""
        return text

    def compose(self, subject: str, plain: str, marked_up: str, *, is_markdown: bool = False) -> Rendered:
        """The message from its plain body and its body with escaped values. Without a subject line, the text begins with the subject."""
        return Rendered(subject, plain)

    def plain_text(self, subject: str, text: str) -> str:
        """Subject and text of a composed message, for an e-mail that replaces it."""
        return f"{subject}\n{text}"

    def fits(self, text: str, riches: Sequence[Any] | None) -> bool:
        """True if the service accepts several reminders as one message: their text, and what ``merge`` would join (None: nothing)."""
        return self.longest_text is None or len(text) <= self.longest_text

    def merge(self, riches: Sequence[Any]) -> Any:
        """The channel's own format of several messages; None: it has none."""
        return None


class NotConfigured(ChannelClient):
    """The client of a channel without settings: every message waits for settings."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @override
    def check(self, message: Message) -> SendResult:
        return failed(self._channel, "not_configured")

    @override
    async def send(self, message: Message) -> SendResult:
        return self.check(message)

    @override
    async def validate(self, destinations: Collection[str] = ()) -> list[ChannelFinding]:
        return finding(failed(self._channel, "not_configured"))


def finding(result: SendResult | None, destination: str = "") -> list[ChannelFinding]:
    """The finding for a result, in a list; empty for a success."""
    if result is None or result.error is None:
        return []
    return [ChannelFinding(result.error, result.detail, destination)]


def json_object(text: str | None) -> dict[str, Any] | None:
    """The JSON object in a text; empty without text, None if the text is not a JSON object."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _first_text(values: Mapping[str, Any], *names: str) -> str:
    """The first of these values that is a non-empty text of usual length, stripped; empty if there is none."""
    for name in names:
        value = values.get(name)
        if not isinstance(value, str) or len(value) > _LONGEST_SETTING:
            continue
        # JSON can contain characters that cannot be encoded. No valid credential has them.
        if value.strip() and not _UNENCODABLE.search(value):
            return value.strip()
    return ""
