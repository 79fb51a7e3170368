"""The settings of each plan: reviewed in git, validated when loaded. The batch writes only the keys of this file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from include.skillreport.batches.settings_sync.protected_keys import is_protected, squeezed
from include.skillreport.batches.settings_sync.validation import (
    DataType,
    ProblemSeverity,
    SettingProblem,
    has_type,
)
from include.skillreport.core.setting_problems import validated
from include.skillreport.core.setting_types import MOST, Flag, refused
from include.skillreport.core.yaml_files import read_text, read_yaml

PLAN_SETTINGS_FILE = Path(__file__).with_name("plan_settings.yaml")

# The operators' own overrides (batch.usage.*, batch.notification.*, ...).
OPERATORS_PREFIX = "batch."

# The plan of a trial tenant without a plan.
TRIAL = "TRIAL"

_KEY = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


def _plain_value(value: object) -> object:
    if not isinstance(value, bool | int | Decimal | str):
        raise refused("数、文字列、true、false のどれかにしてください")
    return value


PlainValue = Annotated[Any, BeforeValidator(_plain_value)]

ContractColumn = Literal["max_users", "max_storage_gb"]


class Source(StrEnum):
    """Where the desired value of a setting comes from."""

    PLAN = "plan"
    CONTRACT = "contract"


@dataclass(frozen=True)
class Desired:
    """The desired value of a setting, in the text form of MST_TenantSettings."""

    value: str
    source: Source


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SettingDefinition(_Entry):
    """A setting with a value in every plan."""

    name: Annotated[str, Field(min_length=1)]
    data_type: DataType
    contract: ContractColumn | None = None

    @field_validator("data_type")
    @classmethod
    def _has_a_plain_value(cls, data_type: DataType) -> DataType:
        if data_type is DataType.JSON:
            raise ValueError("STRING、INTEGER、DECIMAL、BOOLEAN のどれかにしてください")
        return data_type

    @model_validator(mode="after")
    def _contracts_say_whole_numbers(self) -> Self:
        if self.contract and self.data_type is not DataType.INTEGER:
            raise ValueError(f"契約の {self.contract} は整数です。data_type を INTEGER にしてください")
        return self


class PlanSettings(_Entry):
    """The entire file. ``sample``: the values are only an example, so nothing is written."""

    sample: Flag
    settings: Annotated[Mapping[str, SettingDefinition], Field(min_length=1)]
    plans: Annotated[Mapping[str, Mapping[str, PlainValue]], Field(min_length=1)]

    @field_validator("settings")
    @classmethod
    def _keys_may_be_written(
        cls, settings: Mapping[str, SettingDefinition]
    ) -> Mapping[str, SettingDefinition]:
        for key in settings:
            if is_protected(key):
                raise refused(
                    "セキュリティ・認証・パスワード・請求・支払いの設定は書き込めません。消してください", key
                )
            if key.startswith(OPERATORS_PREFIX):
                raise refused("運用者の上書きは書き込めません。消してください", key)
            if not _KEY.fullmatch(key):
                raise refused("名前は limits.max_users の形にしてください", key)
        if len({squeezed(key) for key in settings}) < len(settings):
            raise ValueError("つづりの形だけが違うキーがあります。1 つにしてください")
        return settings

    @model_validator(mode="after")
    def _every_plan_says_every_key(self) -> Self:
        for plan, values in self.plans.items():
            if plan != plan.strip().upper():
                raise refused("プランの名前は大文字にしてください", "plans", plan)
            if values.keys() != self.settings.keys():
                names = "、".join(sorted(values.keys() ^ self.settings.keys()))
                raise refused(
                    f"{names} がプランにないか、settings にありません。そろえてください", "plans", plan
                )
            for key, value in values.items():
                data_type = self.settings[key].data_type
                # A YAML number or boolean loses its spelling: 0120 becomes 120.
                if data_type is DataType.STRING and not isinstance(value, str):
                    raise refused("文字列にしてください。引用符で囲みます", "plans", plan, key)
                if not has_type(_text(value), data_type):
                    raise refused(f"{data_type} の値にしてください", "plans", plan, key)
                if data_type in (DataType.INTEGER, DataType.DECIMAL) and abs(Decimal(_text(value))) > MOST:
                    raise refused(f"-{MOST} 以上 {MOST} 以下の数にしてください", "plans", plan, key)
        return self

    def desired(self, plan: str, contract: Mapping[str, int | None]) -> dict[str, Desired]:
        """The desired settings of the plan; the contract (columns of MST_Tenant) overrides the plan. :raises KeyError: unknown plan.

        A contract value of 0 is the field's default, not a limit of 0. Like an empty value, it limits nothing.
        """
        values = self.plans[plan]
        found = {}
        for key, definition in self.settings.items():
            negotiated = contract[definition.contract] if definition.contract else None
            if negotiated is None or negotiated <= 0:
                found[key] = Desired(_text(values[key]), Source.PLAN)
            else:
                found[key] = Desired(str(negotiated), Source.CONTRACT)
        return found

    def not_negotiated(self, contract: Mapping[str, int | None]) -> list[SettingProblem]:
        """Problems with contract columns that have a value but set no limit. A value below 0 is a mistake."""
        columns = {
            key: definition.contract for key, definition in self.settings.items() if definition.contract
        }
        return [
            SettingProblem(
                ProblemSeverity.MEDIUM if limit < 0 else ProblemSeverity.LOW,
                key,
                f"契約の {column} が {limit} のため、プランの値を使います。"
                "上限を決めたなら MST_Tenant に 1 以上の値を、決めていないなら空にしてください",
            )
            for key, column in columns.items()
            if (limit := contract[column]) is not None and limit <= 0
        ]


def parse_plan_settings(text: str, source: str) -> PlanSettings:
    """Parse and validate the file's text. :raises SettingsError: with the file, line, plan, key and problem."""
    return validated(PlanSettings, read_yaml(text, source))


@cache
def load_plan_settings() -> PlanSettings:
    """The deployed file."""
    return parse_plan_settings(read_text(PLAN_SETTINGS_FILE), PLAN_SETTINGS_FILE.name)


def _text(value: bool | int | Decimal | str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
