"""The interface of every directory, for any service: accounts and channels, page by page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from include.skillreport.core.database import storable
from include.skillreport.core.errors import BatchError

# Characters; a longer text is not an id.
_LONGEST_ID = 200
_LONGEST_EMAIL = 254
_LONGEST_TEXT = 200

# The reason why a listing with a cycle of cursors fails.
REPEATED_CURSOR = (
    "続きの位置（cursor）が、すでに読んだページに戻りました。一覧が終わらないため、何も変更しません"
)


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

    ``removed`` are ids of accounts that are gone. ``delta_link`` is where the next listing can read changes, on the page that has it.
    ``is_changes``: the page lists changes in their order, so the last entry of an account counts.
    """

    accounts: Sequence[Account] = ()
    removed: Sequence[str] = ()
    channels: Sequence[ListedChannel] = ()
    next: Position | None = None
    delta_link: str | None = field(default=None, repr=False)
    is_changes: bool = False


class Directory(Protocol):
    """One tenant's directory at one service.

    ``start`` is where a listing begins: at the first page, or at the changes since an earlier listing. ``beginning`` is always the first
    page.
    """

    start: Position
    beginning: Position

    async def page(self, at: Position) -> Page:
        """Read the page at a position; reading it again gives the same page.

        :raises ListingError: the page cannot be read, so the listing is not complete.
        :raises StartOverError: the service no longer knows the position.
        """


class ListingError(BatchError):
    """The listing is not complete. The reason is a sentence without the service's own text. The caller changes nothing."""

    def __init__(self, message: str, *, recoverable: bool = False) -> None:
        super().__init__(message)
        self.recoverable = recoverable


class StartOverError(Exception):
    """The service no longer knows the position of the listing; the text says why in a sentence."""


def is_identity(value: str) -> bool:
    """Whether a text can be an id: ids are part of the batches' keys and of paths in URLs."""
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
