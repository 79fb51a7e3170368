"""The base of all directories: accounts and channels of a service, page by page, within its rate limit."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

import aiohttp

from include.skillreport.core.database import storable
from include.skillreport.core.errors import BatchError
from include.skillreport.messaging.address_guard import RefusedAddressError
from include.skillreport.messaging.channels.channel import Integration
from include.skillreport.messaging.channels.exchange import UNANSWERED, require_url, retry_after

# Characters; a longer text is not an id.
_LONGEST_ID = 200
_LONGEST_EMAIL = 254
_LONGEST_TEXT = 200

# The reason why a listing with a cycle of cursors fails.
REPEATED_CURSOR = (
    "続きの位置（cursor）が、すでに読んだページに戻りました。一覧が終わらないため、何も変更しません"
)


T = TypeVar("T")

# Bytes of a page: a thousand accounts take half a megabyte.
LONGEST_PAGE = 8 * 1024 * 1024


class AccountKind(StrEnum):
    """The owner of an account: an employee of the company, a guest, or a bot."""

    MEMBER = "member"
    GUEST = "guest"
    BOT = "bot"


class AccountState(StrEnum):
    """The state of an account. A DELETED account is still listed; a PENDING account has never been used."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    PENDING = "pending"
    ON_LEAVE = "on_leave"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Account:
    """An account as its service lists it. ``email`` is in the service's spelling; ``employee_code`` is the company's number."""

    external_id: str
    email: str | None = field(default=None, repr=False)
    is_email_verified: bool = False
    employee_code: str | None = None
    display_name: str | None = field(default=None, repr=False)
    kind: AccountKind = AccountKind.MEMBER
    state: AccountState = AccountState.ACTIVE


@dataclass(frozen=True, slots=True)
class ListedChannel:
    """A channel, a talk room or a group. ``parent_id`` is its team, if the service has teams."""

    external_id: str
    name: str | None = None
    kind: str = "channel"
    is_archived: bool = False
    parent_id: str | None = None


@dataclass(frozen=True)
class Position:
    """A position in a listing: the kind of entries, and the service's cursor."""

    step: str
    cursor: str = field(default="", repr=False)


@dataclass(frozen=True)
class Page:
    """One page. Any page can be empty. A page without ``next`` is the last of the listing.

    ``removed`` are ids of accounts that are gone. ``delta_link`` is where the next listing can read changes; only one page contains it.
    ``is_changes``: the page lists changes in their order, so the last entry of an account counts. No account is in both ``accounts`` and
    ``removed``.
    """

    accounts: Sequence[Account] = ()
    removed: Sequence[str] = ()
    channels: Sequence[ListedChannel] = ()
    next: Position | None = None
    delta_link: str | None = field(default=None, repr=False)
    is_changes: bool = False


@dataclass(frozen=True)
class Access:
    """How a directory is read. ``session`` is from ``guarded_session`` with these ``allowed_hosts``.

    ``delta_link`` is where an earlier listing ended, ``rooms`` are the rooms to request.
    """

    session: aiohttp.ClientSession
    allowed_hosts: Collection[str]
    patience: Patience
    delta_link: str = ""
    rooms: Collection[str] = ()


class ServiceDirectory(ABC):
    """One tenant's directory at a service. A channel with a directory has the subclass ``Directory`` in its module ``directory``.

    ``credentials`` are the names of the values that it needs, for operators. ``reads_changes``: a listing can begin where an earlier one
    ended. ``room_prefix``: the service cannot list its rooms, so those that settings name with this prefix are requested. ``start`` is
    where a listing begins: at the first page, or at the changes since an earlier listing. ``beginning`` is always the first page.
    """

    credentials: ClassVar[str]
    reads_changes: ClassVar[bool] = False
    room_prefix: ClassVar[str] = ""
    start: Position
    beginning: Position

    def __init__(
        self, config: Any, access: Access, urls: Mapping[str, Collection[str]] | None = None
    ) -> None:
        """Makes no call. ``urls`` are the URLs that it calls, with the service's domains.

        :raises ListingError: an address is not allowed.
        """
        for url, domains in (urls or {}).items():
            try:
                require_url(url, access.allowed_hosts, domains)
            except RefusedAddressError as error:
                raise ListingError(str(error)) from None
        self._config = config
        self._session = access.session
        self._patience = access.patience

    @staticmethod
    @abstractmethod
    def config_of(row: Integration) -> Any | None:
        """The credentials in a row of SYS_IntegrationConfig; None if one is missing."""

    @staticmethod
    def spellings(listed: ListedChannel) -> frozenset[str]:
        """The texts by which a notification setting can name a channel as its destination."""
        return frozenset({listed.external_id})

    @abstractmethod
    async def page(self, at: Position) -> Page:
        """Read the page at a position; reading it again gives the same page.

        :raises ListingError: the page cannot be read, so the listing is not complete.
        :raises StartOverError: the service no longer knows the position.
        """


class ListingError(BatchError):
    """The listing is incomplete, so the caller changes nothing. The reason is a sentence without the service's own text."""

    def __init__(self, message: str, *, recoverable: bool = False) -> None:
        super().__init__(message)
        self.recoverable = recoverable


class CredentialsRefusedError(ListingError):
    """The service refuses the tenant's token, or its permissions. Another attempt needs another token."""

    code = "CREDENTIALS_REFUSED"


class StartOverError(Exception):
    """The service no longer knows the position of the listing; the text says why in a sentence."""


def is_identity(value: str) -> bool:
    """True if a text can be an id: ids are part of the batches' keys and of paths in URLs."""
    # "." and ".." would be a step in the path.
    is_segment = value.strip(".") != "" and " " not in value
    return is_segment and len(value) <= _LONGEST_ID and value.isascii() and value.isprintable()


def identity(value: object, of: str) -> str:
    """The id of a listed object. :raises ListingError: it is not an id."""
    if isinstance(value, str) and is_identity(value):
        return value
    raise ListingError(f"ID の正しくない{of}が一覧にあります")


def one_line(value: object) -> str | None:
    """Text that users wrote, in one line of limited length. It may contain HTML and formulas."""
    if not isinstance(value, str):
        return None
    return " ".join(storable(value).split())[:_LONGEST_TEXT] or None


def address(value: object) -> str | None:
    """The text if it looks like an e-mail address, otherwise None."""
    cleaned = value.strip() if isinstance(value, str) else ""
    if "@" not in cleaned or len(cleaned) > _LONGEST_EMAIL or " " in cleaned or not cleaned.isprintable():
        return None
    return cleaned


def items(body: Mapping[str, Any], name: str, service: str) -> list[Mapping[str, Any]]:
    """A page's objects. :raises ListingError: the page has no list of objects with this name."""
    value = body.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ListingError(f"{service} の応答に {name} がありません")
    return value


def following(at: Position, cursor: object, then: Position | None) -> Position | None:
    """The next position of a listing with cursors; an empty, null or missing cursor ends it. :raises ListingError: the cursor repeats."""
    if not cursor:
        return then
    if not isinstance(cursor, str) or cursor == at.cursor:
        raise ListingError("続きの位置（cursor）が進みません")
    return Position(at.step, cursor)


@dataclass(frozen=True)
class Patience:
    """The retries of one page: the number of failures and waits, and the pauses in seconds.

    The first pause is ``first_pause``; each next pause is twice as long. If a service requests more than ``longest_pause``, the next run
    continues. After ``waits`` waits the listing fails.
    """

    attempts: int = 4
    first_pause: float = 1.0
    longest_pause: float = 300.0
    waits: int = 20


class Pace:
    """A rate limit of ``calls`` in any ``seconds``; further calls wait. One per tenant and limit, on one loop. ``calls`` may change."""

    def __init__(self, calls: int, seconds: float = 60.0) -> None:
        self.calls = calls
        # One percent more, because the service counts from the arrival of a call, and calls take different times to arrive.
        self._seconds = seconds * 1.01
        self._recent: deque[float] = deque()

    async def turn(self) -> None:
        """Wait until a call is allowed, and count it."""
        while len(self._recent) >= self.calls:
            wait = self._recent[0] + self._seconds - time.monotonic()
            if wait <= 0:
                self._recent.popleft()
            else:
                await asyncio.sleep(wait)
        self._recent.append(time.monotonic())


class RetryableError(Exception):
    """A refusal after which a retry may succeed: a rate limit or a failure of the service. ``wait``: the requested seconds."""

    def __init__(self, reason: str, *, wait: float | None = None, is_rate: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.is_rate = is_rate


async def call_with_retries(call: Callable[[], Awaitable[T]], pace: Pace, patience: Patience) -> T:
    """The answer to a call that changes nothing, so that it can be retried.

    :raises ListingError: the service still refuses, or must not be called.
    """
    failures = waits = 0
    while True:
        await pace.turn()
        try:
            return await call()
        except RetryableError as error:
            refusal = error
        except RefusedAddressError as error:
            raise ListingError(str(error)) from None
        except UNANSWERED as error:
            # The error's own text may contain the whole URL.
            refusal = RetryableError(f"応答がありません（{type(error).__name__}）")
        failures += not refusal.is_rate
        waits += refusal.is_rate
        wait = refusal.wait if refusal.wait is not None else patience.first_pause * 2 ** max(0, failures - 1)
        if failures >= patience.attempts or waits >= patience.waits or wait > patience.longest_pause:
            asked = f"。{wait:,.0f} 秒後まで待つよう求められています" if wait > patience.longest_pause else ""
            raise ListingError(f"{refusal}{asked}", recoverable=not asked)
        await asyncio.sleep(wait)


def refused_for_now(
    status: int, headers: Mapping[str, str], service: str, header: str = "Retry-After"
) -> RetryableError | None:
    """The retryable error for an HTTP status; None if a retry does not help."""
    asked = retry_after(headers, header)
    wait = asked.total_seconds() if asked is not None else None
    if status == 429:
        return RetryableError(f"{service} の呼び出し回数の上限に達しました", wait=wait, is_rate=True)
    if status >= 500:
        return RetryableError(f"{service} が一時的に使えません（HTTP {status}）", wait=wait)
    return None
