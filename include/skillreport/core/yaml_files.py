"""Read YAML files strictly: the part of YAML 1.2 that settings need.

Plain numbers and booleans follow the core schema of YAML 1.2.2 (section 10.3.2): ``yes`` is a text, ``010`` is ten, ``1:30`` is a text. A
number with a point or an exponent is an exact Decimal. A date is a text, which the setting's type checks. Anchors, aliases and merge keys
(``<<``) are supported. Tags, duplicate keys, keys that are not texts, and files that are too large are rejected.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml import events

from include.skillreport.core.errors import SettingsError

Scalar = bool | int | Decimal | str | None

# Limits of a file. Each use of an alias counts, so a few lines cannot stand for millions of values.
LARGEST_FILE = 1024 * 1024
DEEPEST = 40
MOST_VALUES = 100_000

# Longer numbers are meaningless and slow.
LONGEST_NUMBER = 40

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGERS = ((re.compile("[-+]?[0-9]+"), 10), (re.compile("0o[0-7]+"), 8), (re.compile("0x[0-9a-fA-F]+"), 16))
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITY = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_NOT_A_NUMBER = re.compile(r"\.(nan|NaN|NAN)")

_MERGE = "<<"

# Characters that PostgreSQL or UTF-8 cannot contain. Escapes in double quotes can produce them.
_UNUSABLE = re.compile("[\x00\ud800-\udfff]")

# PyYAML's messages for invalid YAML, and the remedies. The first match counts.
_REMEDIES = (
    (r"'\t'", "タブ文字は使えません。空白で字下げしてください"),
    ("mapping values are not allowed", "「: 」が余分です。値に「: 」があるときは引用符で囲んでください"),
    ("could not find expected ':'", "キーの後に「: 」がありません"),
    ("sequence entries are not allowed", "「- 」は次の行に書いてください"),
    ("unexpected end of stream", "引用符が閉じていません"),
    ("unexpected document separator", "引用符が閉じていません"),
    ("found unknown escape", '引用符（"）の中の \\ の使い方が正しくありません。\\ は \\\\ と書きます'),
    ("that cannot start any token", "この文字では始められません。値を引用符で囲んでください"),
    ("expected ',' or", "かっこが閉じていないか、区切りの「,」がありません"),
    ("'<stream end>'", "かっこが閉じていません"),
    ("expected <block end>", "字下げがそろっていないか、引用符やかっこの後に余分な文字があります"),
    ("expected '<document start>'", "字下げがそろっていないか、余分な文字があります"),
    ("expected the node content", "値の書き方が正しくありません。記号で始まる値は引用符で囲んでください"),
)


@dataclass(frozen=True)
class Node:
    """A value of a file and its place.

    ``values`` counts the value and all values in it; ``depth`` is the number of levels below it.
    """

    source: str
    line: int
    content: Scalar | dict[str, Node] | list[Node]
    values: int = 1
    depth: int = 0

    def plain(self) -> Any:
        """The value as a dict, list, str, int, Decimal, bool or None."""
        if isinstance(self.content, dict):
            return {key: node.plain() for key, node in self.content.items()}
        if isinstance(self.content, list):
            return [node.plain() for node in self.content]
        return self.content


def load_yaml(path: Path) -> Any:
    """The value of a file. :raises SettingsError: names the file, line, key and problem."""
    return read_yaml(read_text(path), str(path)).plain()


def read_yaml(text: str, source: str, *, is_ours: bool = False) -> Node:
    """The document in a text; ``source`` is the file name in messages.

    ``is_ours``: a file of this package. libyaml reads it ten times faster, but accepts text that the strict reader rejects.
    :raises SettingsError: names the file, line, key and problem.
    """
    if len(text) > LARGEST_FILE:
        raise SettingsError(_too_large(f"{source} "))
    try:
        loader = yaml.CBaseLoader if is_ours and yaml.__with_libyaml__ else yaml.BaseLoader
        return _Document(loader(text), source).read()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise problem_at(
            source, line, (), f"使えない文字（U+{error.character:04X}）があります。消してください"
        ) from None


def read_text(path: Path, named_by: str = "") -> str:
    """The text of a file. ``named_by`` is the setting or variable with its path. :raises SettingsError: it cannot be read."""
    name = f"{path}（{named_by} が指定）" if named_by else f"{path} "
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise SettingsError(_too_large(name))
        return content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "UTF-8 ではありません"
        raise SettingsError(f"{name}を読めません（{reason}）。ファイルと権限を確認してください。") from None


def scalar_of(text: str) -> Scalar:
    """The value of a plain scalar in YAML 1.2's core schema. :raises ValueError: a number is too long."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    for pattern, base in _INTEGERS:
        if pattern.fullmatch(text):
            return int(_short(text), base)
    if _FLOAT.fullmatch(text):
        try:
            number = Decimal(_short(text))
        except InvalidOperation:  # the exponent has too many digits
            raise ValueError(text) from None
        if abs(int(number.as_tuple().exponent)) > LONGEST_NUMBER:
            raise ValueError(text)
        return number
    if match := _INFINITY.fullmatch(text):
        return Decimal(f"{match[1]}Infinity")
    return Decimal("NaN") if _NOT_A_NUMBER.fullmatch(text) else text


def problem_at(source: str, line: int, place: Sequence[int | str], problem: str) -> SettingsError:
    """The error about a value, with file, line, key and problem."""
    return SettingsError(f"{place_in(source, line, place)}: {problem}。")


def place_in(source: str, line: int, place: Sequence[int | str]) -> str:
    """For example ``own.yaml の 3 行目 usage.surge_percent``."""
    return f"{source} の {line} 行目 {'.'.join(map(str, place))}".rstrip()


def _too_large(name: str) -> str:
    return f"{name}は大きすぎます。{LARGEST_FILE:,} バイト以下にしてください。"


def _short(number: str) -> str:
    if len(number) > LONGEST_NUMBER:
        raise ValueError(number)
    return number


class _Document:
    """Reads PyYAML's events. ``_place`` is the current key's path, ``_values`` the number of values read."""

    def __init__(self, loader: Any, source: str) -> None:
        self._loader = loader
        self._source = source
        self._anchors: dict[str, Node] = {}
        self._place: list[int | str] = []
        self._values = 0

    def read(self) -> Node:
        """The text's only document; null if the text is empty."""
        self._next()
        if isinstance(self._next(), events.StreamEndEvent):
            return Node(self._source, 1, None)
        node = self._node(self._next())
        self._next()
        end = self._next()
        if not isinstance(end, events.StreamEndEvent):
            self._refuse(end, "文書が 2 つあります（---）。1 つにしてください")
        return node

    def _next(self) -> events.Event:
        try:
            event: events.Event = self._loader.get_event()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line if mark else self._loader.line
            remedy = next(
                (remedy for words, remedy in _REMEDIES if words in (error.problem or "")),
                "書き方が正しくありません",
            )
            raise problem_at(
                self._source, line + 1, self._place, f"YAML として読めません。{remedy}"
            ) from None
        except (ValueError, OverflowError):
            # PyYAML raises these for an escape or a version that is out of range.
            raise problem_at(
                self._source,
                self._loader.line + 1,
                self._place,
                "YAML として読めません。書き方が正しくありません",
            ) from None
        return event

    def _node(self, event: events.Event) -> Node:
        if isinstance(event, events.AliasEvent):
            known = self._anchors.get(event.anchor or "")
            if known is None:
                self._refuse(event, f"*{event.anchor} の前に &{event.anchor} がありません")
            self._require_limits(event, known.values, known.depth)
            return replace(known, line=_line(event))
        assert isinstance(event, events.ScalarEvent | events.CollectionStartEvent)
        if event.tag is not None:
            self._refuse(event, "タグ（!）は使えません。消すか、値を引用符で囲んでください")
        self._require_limits(event)
        if isinstance(event, events.ScalarEvent):
            node = Node(self._source, _line(event), self._scalar(event))
        elif isinstance(event, events.SequenceStartEvent):
            node = self._sequence(event)
        else:
            node = self._mapping(event)
        if event.anchor in self._anchors:
            self._refuse(event, f"&{event.anchor} が 2 回あります。別の名前にしてください")
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _require_limits(self, event: events.Event, values: int = 1, depth: int = 0) -> None:
        """Check the limits before the values are built."""
        self._values += values
        if self._values > MOST_VALUES:
            self._refuse(
                event, f"値が多すぎます。{MOST_VALUES:,} 個までにしてください（* で繰り返した値も数えます）"
            )
        if len(self._place) + depth > DEEPEST:
            self._refuse(event, f"入れ子が深すぎます。{DEEPEST} 段までにしてください")

    def _scalar(self, event: events.ScalarEvent) -> Scalar:
        text: str = event.value
        if _UNUSABLE.search(text):
            self._refuse(event, "使えない文字があります。消してください")
        if event.style:
            return text
        try:
            return scalar_of(text)
        except ValueError:
            self._refuse(
                event, f"数が長すぎます。{LONGEST_NUMBER} 桁までにしてください（文字列なら引用符で囲みます）"
            )

    def _sequence(self, start: events.Event) -> Node:
        items: list[Node] = []
        while not isinstance(event := self._next(), events.SequenceEndEvent):
            self._place.append(len(items))
            items.append(self._node(event))
            self._place.pop()
        return self._collection(start, items, items)

    def _mapping(self, start: events.Event) -> Node:
        entries: dict[str, Node] = {}
        merged: dict[str, Node] | None = None
        while not isinstance(event := self._next(), events.MappingEndEvent):
            key, is_plain = self._key(event)
            is_merge = is_plain and key == _MERGE
            if key in entries or (is_merge and merged is not None):
                first = f"（1 回目は {entries[key].line} 行目）" if key in entries else ""
                self._refuse(event, f"キー {key!r} が 2 回あります{first}。1 つにしてください")
            self._place.append(key)
            value = self._node(self._next())
            if is_merge:
                merged = self._merged(event, value)
            else:
                entries[key] = replace(value, line=_line(event))
            self._place.pop()
        entries = (merged or {}) | entries
        return self._collection(start, entries, entries.values())

    def _key(self, event: events.Event) -> tuple[str, bool]:
        """The key, and True if it has no quotes."""
        if not isinstance(event, events.ScalarEvent) or event.tag is not None or event.anchor is not None:
            self._refuse(event, "キーは文字列にしてください")
        value = self._scalar(event)
        if not isinstance(value, str):
            self._refuse(event, f"キー {event.value!r} は文字列ではありません。引用符で囲んでください")
        return value, not event.style

    def _merged(self, event: events.Event, value: Node) -> dict[str, Node]:
        """Earlier mappings of a list take precedence."""
        merged: dict[str, Node] = {}
        for node in reversed(value.content if isinstance(value.content, list) else [value]):
            if not isinstance(node.content, dict):
                self._refuse(event, "<< の値は「キー: 値」のまとまりか、その一覧にしてください")
            merged |= node.content
        return merged

    def _collection(
        self, start: events.Event, content: dict[str, Node] | list[Node], parts: Collection[Node]
    ) -> Node:
        values = 1 + sum(part.values for part in parts)
        depth = 1 + max((part.depth for part in parts), default=0)
        return Node(self._source, _line(start), content, values, depth)

    def _refuse(self, event: events.Event, problem: str) -> NoReturn:
        raise problem_at(self._source, _line(event), self._place, problem)


def _line(event: events.Event) -> int:
    assert event.start_mark is not None, "PyYAML's parser gives each event its place"
    return event.start_mark.line + 1
