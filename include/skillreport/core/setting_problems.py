"""Validate a file's values. Each problem tells the operator the file, line, key and action."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from include.skillreport.core.errors import SettingsError
from include.skillreport.core.setting_types import OPERATOR_TEXT
from include.skillreport.core.yaml_files import Node, place_in

_MAPPING = "「キー: 値」のまとまりにしてください"
_LIST = "一覧（[a, b] か、「- 」で始まる行）にしてください"
_TEXT = "文字列にしてください。数や true は引用符で囲みます"

# By pydantic's error type. Placeholders are names of the error's context.
_WORDS = {
    OPERATOR_TEXT: "{text}",
    "value_error": "{error}",
    "missing": "この設定が必要です。加えてください",
    "extra_forbidden": "この名前の設定はありません。名前を直すか、消してください",
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "list_type": _LIST,
    "tuple_type": _LIST,
    "string_type": _TEXT,
    "path_type": _TEXT,
    "string_too_short": "{min_length} 文字以上にしてください",
    "string_too_long": "{max_length} 文字以下にしてください",
    "string_pattern_mismatch": "{pattern} の形にしてください",
    "too_short": "{min_length} 件以上にしてください",
    "too_long": "{max_length} 件以下にしてください",
    "enum": "{expected} のどれかにしてください",
    "literal_error": "{expected} のどれかにしてください",
    "union_tag_not_found": "{discriminator} が必要です。加えてください",
    "union_tag_invalid": "{discriminator} は {expected_tags} のどれかにしてください",
}

# The value of these errors is the place itself or a mapping.
_WITHOUT_VALUE = frozenset({"missing", "extra_forbidden", "union_tag_not_found", "value_error"})

_QUOTED = frozenset({"expected", "expected_tags", "discriminator"})

_COLLECTIONS = (BaseModel, Mapping, list, tuple)

_LONGEST_VALUE = 60
# A tenant may have entered a longer value. Only its beginning is masked and shown.
_LONGEST_MASKED = 1_000

_MAILBOX = re.compile(r"([^\s@,;<>、'\"])[^\s@,;<>、'\"]*@")


_Model = TypeVar("_Model", bound=BaseModel)


def validated(model: type[_Model], node: Node) -> _Model:
    """The values of a file as a model. :raises SettingsError: one sentence per problem, with file, line, key and value."""
    try:
        return model.model_validate(node.plain())
    except ValidationError as error:
        problems = _causes(error.errors(include_url=False))
    sentences = []
    for problem in problems:
        place, found = _found(node, [*problem["loc"], *problem.get("ctx", {}).get("place", ())])
        if problem["type"] == "missing":
            place = (*place, problem["loc"][-1])
            if any(_misspelt(other, problems) == problem["loc"][-1] for other in problems):
                continue  # the sentence about the misspelt name covers it
        text = text_of(problem, found.content)
        if meant := _misspelt(problem, problems) or _similar(problem, node):
            text += f"（{meant} の書き間違いではありませんか）"
        sentences.append(f"{place_in(found.source, found.line, place)}: {text}。")
    raise SettingsError("".join(sentences))


def text_of(problem: ErrorDetails, content: object = None) -> str:
    """The problem in Japanese with the wrong value. For a collection, the wrong value is the one inside it."""
    words = _WORDS.get(problem["type"])
    context = {name: _listed(name, value) for name, value in problem.get("ctx", {}).items()}
    text = words.format(**context) if words else f"値が正しくありません（{problem['msg']}）。直してください"
    value = content if isinstance(problem["input"], _COLLECTIONS) else problem["input"]
    if problem["type"] in _WITHOUT_VALUE or isinstance(value, _COLLECTIONS):
        return text
    return f"{text}（今の値は {_shown(value)}）"


def _causes(problems: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Drop the problems of a collection that has a problem inside, because pydantic counts only valid items."""
    places = [problem["loc"] for problem in problems]
    return [
        problem
        for problem, place in zip(problems, places, strict=True)
        if not any(len(other) > len(place) and other[: len(place)] == place for other in places)
    ]


def _found(node: Node, location: Sequence[int | str]) -> tuple[tuple[int | str, ...], Node]:
    """The problem's place in the file, and its node. pydantic's location also contains model names."""
    place: tuple[int | str, ...] = ()
    for part in location:
        content = node.content
        if isinstance(content, dict) and isinstance(part, str) and part in content:
            node, place = content[part], (*place, part)
        if isinstance(content, list) and isinstance(part, int):
            node, place = content[part], (*place, part)
    return place, node


def _misspelt(problem: ErrorDetails, problems: Sequence[ErrorDetails]) -> int | str | None:
    """The missing name that the unknown name probably means."""
    if problem["type"] != "extra_forbidden":
        return None
    *parent, name = problem["loc"]
    missing = [
        str(other["loc"][-1])
        for other in problems
        if other["type"] == "missing" and [*other["loc"][:-1]] == parent
    ]
    return next(iter(get_close_matches(str(name), missing, n=1)), None)


def _similar(problem: ErrorDetails, node: Node) -> str | None:
    """The known name in the same mapping that resembles the unknown name."""
    if problem["type"] != "extra_forbidden":
        return None
    *parent, name = problem["loc"]
    content = _found(node, parent)[1].content
    others = [key for key in content if key != name] if isinstance(content, dict) else []
    return next(iter(get_close_matches(str(name), others, n=1)), None)


def _listed(name: str, value: object) -> str:
    """Lists of names are texts such as ``'a', 'b' or 'c'``."""
    quoted = re.findall("'([^']*)'", str(value)) if name in _QUOTED else []
    return "、".join(quoted) if quoted else str(value)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = "空" if value is None else repr(value[:_LONGEST_MASKED]) if isinstance(value, str) else str(value)
    # Task logs have many readers, so mask mail addresses.
    text = _MAILBOX.sub(r"\1***@", text)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
