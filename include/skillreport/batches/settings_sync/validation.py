"""The problems of a setting's row. Pure. The texts never contain a value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Any

from include.skillreport.batches.settings_sync.protected_keys import is_protected


class DataType(StrEnum):
    """The types of MST_TenantSettings.data_type."""

    STRING = "STRING"
    INTEGER = "INTEGER"
    DECIMAL = "DECIMAL"
    BOOLEAN = "BOOLEAN"
    JSON = "JSON"


class ProblemSeverity(IntEnum):
    """The urgency of a problem; ordered."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


@dataclass(frozen=True)
class SettingProblem:
    """A problem for operators: a sentence about a setting, or about the tenant if the key is empty."""

    severity: ProblemSeverity
    key: str
    text: str


@dataclass(frozen=True)
class Setting:
    """A row of MST_TenantSettings. Deleted rows are included only for the plans' keys.

    ``is_in_effect``: on the business date. ``is_reversed``: the period ends before it begins. The repr omits the value, which may be a
    secret.
    """

    id: str
    key: str
    value: str | None = field(repr=False)
    category: str | None = None
    data_type: str | None = None
    validation_rules: str | None = None
    is_required: bool = False
    is_encrypted: bool = False
    is_system_managed: bool = False
    is_deleted: bool = False
    is_in_effect: bool = True
    is_reversed: bool = False
    last_modified_by: str | None = None

    @property
    def is_protected(self) -> bool:
        """True if the key or category is protected, or the value is encrypted."""
        return self.is_encrypted or is_protected(self.key) or is_protected(self.category or "")


_TYPES = {
    "STRING": DataType.STRING,
    "TEXT": DataType.STRING,
    "VARCHAR": DataType.STRING,
    "INTEGER": DataType.INTEGER,
    "INT": DataType.INTEGER,
    "NUMBER": DataType.DECIMAL,
    "NUMERIC": DataType.DECIMAL,
    "DECIMAL": DataType.DECIMAL,
    "FLOAT": DataType.DECIMAL,
    "BOOLEAN": DataType.BOOLEAN,
    "BOOL": DataType.BOOLEAN,
    "JSON": DataType.JSON,
    "OBJECT": DataType.JSON,
    "ARRAY": DataType.JSON,
}

# Longer numbers are meaningless, and slow to parse.
_INTEGER = re.compile(r"[+-]?[0-9]{1,60}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,60}(\.[0-9]{1,60})?")

_MACHINES = frozenset({"system", "batch", "prisma", "seed", "migration", "scheduler", "cron"})
_MACHINE_PREFIXES = ("batch:", "BATCH-")

# The supported rules, under each spelling in use.
_MINIMUM = ("min", "minimum")
_MAXIMUM = ("max", "maximum")
_MIN_LENGTH = ("minLength", "min_length")
_MAX_LENGTH = ("maxLength", "max_length")
_ALLOWED = ("enum", "allowed", "allowed_values", "options")
_PATTERN = ("pattern", "regex")
_KNOWN_RULES = frozenset(
    (*_MINIMUM, *_MAXIMUM, *_MIN_LENGTH, *_MAX_LENGTH, *_ALLOWED, *_PATTERN, "required", "type")
)

# Tenants write the patterns, and Python backtracks. Patterns with repeated groups, look-arounds or back references could run forever and
# are not tried. The steps of the other patterns are estimated and limited to about one CPU second for all rows of a tenant. Compiling
# counts as steps, too, mostly for character classes.
_MAX_PATTERN, _MAX_MATCHED = 200, 256
_MOST_STEPS, _STEPS_TO_COMPILE = 30_000_000, 20_000
_STEPS_OF_CLASS = 100_000


def has_type(value: str, data_type: DataType) -> bool:
    """True if the text is a value of the type."""
    text = value.strip()
    match data_type:
        case DataType.STRING:
            return True
        case DataType.INTEGER:
            return _INTEGER.fullmatch(text) is not None
        case DataType.DECIMAL:
            return _DECIMAL.fullmatch(text) is not None
        case DataType.BOOLEAN:
            return text.lower() in ("true", "false")
        case DataType.JSON:
            try:
                json.loads(text, parse_int=str, parse_float=str)
            except (ValueError, RecursionError):
                return False
            return True


def same_value(one: str | None, other: str | None, data_type: DataType) -> bool:
    """True if both values mean the same, such as 10 and 10.0, or TRUE and true."""
    if one is None or other is None:
        return one is other
    left, right = one.strip(), other.strip()
    if data_type is DataType.BOOLEAN:
        return left.lower() == right.lower()
    if data_type in (DataType.INTEGER, DataType.DECIMAL) and _DECIMAL.fullmatch(left):
        return _DECIMAL.fullmatch(right) is not None and Decimal(left) == Decimal(right)
    return one == other


def is_person(modified_by: str | None) -> bool:
    """True if a user made the last change of a setting. Programs have known names."""
    name = (modified_by or "").strip()
    return bool(name) and name.lower() not in _MACHINES and not name.startswith(_MACHINE_PREFIXES)


class _Steps:
    """The remaining steps for the patterns of a tenant."""

    def __init__(self) -> None:
        self._left = _MOST_STEPS

    def allow(self, pattern: str, value: str) -> bool:
        """True if enough steps are left to compile the pattern and try it on the value."""
        # Character classes are removed first. Flags such as (?i) are rejected, because they compile large classes slowly.
        bare = re.sub(r"\\\D|\[\^?\]?(\\.|[^\]\\])*\]", "x", pattern)
        if len(value) > _MAX_MATCHED or re.search(r"\\\d|\)[*+{]|\(\?[^:]", bare):
            return False
        # A match tries each start and, for each open repetition, each length. An optional part or an alternative doubles the choices.
        once, repetitions = re.subn(r"(?:[*+]|\{\d*,\d*\})\??", "", bare)
        choices = len(re.findall(r"(?<!\()\?|\|", once))
        compiling = _STEPS_TO_COMPILE + _STEPS_OF_CLASS * pattern.count("[")
        steps = compiling + (len(value) + 1) ** (repetitions + 1) * 2**choices
        if steps > self._left:
            return False
        self._left -= steps
        return True


def problems_of(settings: Iterable[Setting]) -> list[SettingProblem]:
    """The problems of a tenant's rows, worst first within each row. Serious problems of protected settings are critical.

    The patterns of all rows together take at most about one CPU second. Further patterns are not tried, which is reported as a problem.
    """
    steps = _Steps()
    return [problem for setting in settings for problem in _problems_of(setting, steps)]


def _problems_of(setting: Setting, steps: _Steps) -> list[SettingProblem]:
    found: list[tuple[ProblemSeverity, str]] = []
    if setting.is_system_managed and is_person(setting.last_modified_by):
        found.append((ProblemSeverity.HIGH, "システム管理の設定が利用者に変更されています"))
    if setting.is_reversed:
        found.append((ProblemSeverity.MEDIUM, "有効期間の終わりが始まりより前です"))
    is_empty = setting.value is None or not setting.value.strip()
    if setting.is_required and is_empty:
        found.append((ProblemSeverity.HIGH, "必須の設定に値がありません"))
    if not setting.is_encrypted:  # an encrypted text is not the value
        found += _value_problems(setting, is_empty, steps)
    worse = setting.is_protected
    return sorted(
        (
            SettingProblem(
                ProblemSeverity.CRITICAL if worse and severity >= ProblemSeverity.HIGH else severity,
                setting.key,
                text,
            )
            for severity, text in found
        ),
        key=lambda problem: -problem.severity,
    )


def _value_problems(setting: Setting, is_empty: bool, steps: _Steps) -> list[tuple[ProblemSeverity, str]]:
    found: list[tuple[ProblemSeverity, str]] = []
    data_type = None
    if setting.data_type and setting.data_type.strip():
        data_type = _TYPES.get(setting.data_type.strip().upper())
        if data_type is None:
            found.append((ProblemSeverity.LOW, "data_type が知られていない型です"))
        elif not is_empty and not has_type(setting.value or "", data_type):
            found.append((ProblemSeverity.HIGH, f"値が data_type（{data_type}）の形ではありません"))
            return found
    if setting.validation_rules and setting.validation_rules.strip():
        try:
            rules = json.loads(setting.validation_rules, parse_int=Decimal, parse_float=Decimal)
        except (ValueError, RecursionError, ArithmeticError):
            found.append((ProblemSeverity.MEDIUM, "validation_rules が JSON ではありません"))
            return found
        if not isinstance(rules, dict):
            found.append((ProblemSeverity.MEDIUM, "validation_rules が JSON のオブジェクトではありません"))
            return found
        if rules.get("required") is True and is_empty and not setting.is_required:
            found.append((ProblemSeverity.HIGH, "必須の設定に値がありません"))
        found += _rule_problems(setting.value or "", rules, is_empty, steps)
    return found


def _rule_problems(
    value: str, rules: dict[str, Any], is_empty: bool, steps: _Steps
) -> list[tuple[ProblemSeverity, str]]:
    found: list[tuple[ProblemSeverity, str]] = []
    if not rules.keys() <= _KNOWN_RULES:
        found.append((ProblemSeverity.LOW, "validation_rules に検査できない規則があります"))
    stripped = value.strip().lower()
    number = Decimal(stripped) if _DECIMAL.fullmatch(stripped) else None
    for names, measured, is_below in (
        (_MINIMUM, number, True),
        (_MAXIMUM, number, False),
        (_MIN_LENGTH, Decimal(len(value)), True),
        (_MAX_LENGTH, Decimal(len(value)), False),
    ):
        for name in rules.keys() & set(names):
            bound = rules[name]
            if not isinstance(bound, Decimal) or not bound.is_finite():
                found.append((ProblemSeverity.MEDIUM, f"validation_rules の {name} が数ではありません"))
            elif not is_empty and (measured is None or (measured < bound if is_below else measured > bound)):
                found.append((ProblemSeverity.HIGH, f"値が validation_rules の {name} に反しています"))
    for name in rules.keys() & set(_ALLOWED):
        allowed = rules[name]
        if not isinstance(allowed, list):
            found.append((ProblemSeverity.MEDIUM, f"validation_rules の {name} が一覧ではありません"))
        elif not is_empty and not any(_is_allowed(value, stripped, number, item) for item in allowed):
            found.append((ProblemSeverity.HIGH, f"値が validation_rules の {name} にありません"))
    for name in rules.keys() & set(_PATTERN):
        found += _pattern_problems(value, name, rules[name], is_empty, steps)
    return found


def _is_allowed(value: str, stripped: str, number: Decimal | None, item: Any) -> bool:
    if isinstance(item, bool):
        return stripped == str(item).lower()
    return number == item if isinstance(item, Decimal) else value == item


def _pattern_problems(
    value: str, name: str, pattern: Any, is_empty: bool, steps: _Steps
) -> list[tuple[ProblemSeverity, str]]:
    is_pattern = isinstance(pattern, str) and len(pattern) <= _MAX_PATTERN
    if is_pattern and not steps.allow(pattern, "" if is_empty else value):
        return [(ProblemSeverity.LOW, f"validation_rules の {name} は複雑なため検査しません")]
    try:
        compiled = re.compile(pattern if is_pattern else "(")
    except (re.error, RecursionError, OverflowError):
        return [(ProblemSeverity.MEDIUM, f"validation_rules の {name} が正規表現ではありません")]
    # Like JavaScript: a match anywhere, unless the pattern has anchors.
    is_valid = is_empty or compiled.search(value)
    return [] if is_valid else [(ProblemSeverity.HIGH, f"値が validation_rules の {name} に合いません")]
