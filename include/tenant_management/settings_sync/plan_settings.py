"""The settings of each plan: reviewed in git, validated when loaded. The batch writes only the keys of this file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
    model_validator,
)

from include.errors import SettingsError
from include.settings import sentence_of
from include.tenant_management.settings_sync.protected_keys import is_protected, squeezed
from include.tenant_management.settings_sync.validation import DataType, Problem, Severity, has_type
from include.yaml_files import load_yaml

PLAN_SETTINGS_FILE = Path(__file__).with_name("plan_settings.yaml")

# The operators' own overrides (batch.usage.*, batch.notification.*, ...).
OPERATORS_PREFIX = "batch."

# The plan of a trial tenant without a plan.
TRIAL = "TRIAL"

_KEY = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")

ContractColumn = Literal["max_users", "max_storage_gb"]


class Source(StrEnum):
    """Where the desired value of a setting comes from."""

    PLAN = "plan"
    CONTRACT = "contract"


@dataclass(frozen=True)
class Desired:
    """The desired value of a setting, as text like in MST_TenantSettings."""

    value: str
    source: Source


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SettingDefinition(_Entry):
    """A setting that has a value in every plan."""

    name: Annotated[str, Field(min_length=1)]
    data_type: DataType
    contract: ContractColumn | None = None

    @field_validator("data_type")
    @classmethod
    def _has_a_plain_value(cls, data_type: DataType) -> DataType:
        if data_type is DataType.JSON:
            raise ValueError("a plan's setting is a plain value: STRING, INTEGER, DECIMAL or BOOLEAN")
        return data_type

    @model_validator(mode="after")
    def _contracts_say_whole_numbers(self) -> Self:
        if self.contract and self.data_type is not DataType.INTEGER:
            raise ValueError(f"the contract's {self.contract} is an INTEGER")
        return self


class PlanSettings(_Entry):
    """The whole file. ``sample``: the values are only an example, so nothing is written."""

    sample: bool
    settings: Annotated[Mapping[str, SettingDefinition], Field(min_length=1)]
    plans: Annotated[Mapping[str, Mapping[str, StrictBool | StrictInt | StrictStr]], Field(min_length=1)]

    @field_validator("settings")
    @classmethod
    def _keys_may_be_written(
        cls, settings: Mapping[str, SettingDefinition]
    ) -> Mapping[str, SettingDefinition]:
        for key in settings:
            if is_protected(key):
                raise ValueError(
                    f"{key!r} is about security, authentication, passwords, billing or payment: never written"
                )
            if key.startswith(OPERATORS_PREFIX):
                raise ValueError(f"{key!r} is an operators' override: never written")
            if not _KEY.fullmatch(key):
                raise ValueError(f"{key!r} is not of the form limits.max_users")
        if len({squeezed(key) for key in settings}) < len(settings):
            raise ValueError("two keys differ in their spelling only")
        return settings

    @model_validator(mode="after")
    def _every_plan_says_every_key(self) -> Self:
        for plan, values in self.plans.items():
            if plan != plan.strip().upper():
                raise ValueError(f"plans.{plan}: a plan's name is in capitals")
            if values.keys() != self.settings.keys():
                names = ", ".join(sorted(values.keys() ^ self.settings.keys()))
                raise ValueError(f"plans.{plan}: missing, or not under settings: {names}")
            for key, value in values.items():
                if not has_type(_text(value), self.settings[key].data_type):
                    raise ValueError(f"plans.{plan}.{key}: no {self.settings[key].data_type} (got {value!r})")
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

    def not_negotiated(self, contract: Mapping[str, int | None]) -> list[Problem]:
        """Problems with contract columns that have a value but set no limit. A value below 0 is a mistake."""
        columns = {
            key: definition.contract for key, definition in self.settings.items() if definition.contract
        }
        return [
            Problem(
                Severity.MEDIUM if limit < 0 else Severity.LOW,
                key,
                f"契約の {column} が {limit} のため、プランの値を使います。"
                "上限を決めたなら MST_Tenant に 1 以上の値を、決めていないなら空にしてください",
            )
            for key, column in columns.items()
            if (limit := contract[column]) is not None and limit <= 0
        ]


def parse_plan_settings(text: str, source: str) -> PlanSettings:
    """:raises SettingsError: names the file, the plan and the key, and describes the problem."""
    try:
        return PlanSettings.model_validate(load_yaml(text))
    except yaml.YAMLError as error:
        raise SettingsError(f"{source} is not YAML: {error}") from None
    except ValidationError as error:
        raise SettingsError(sentence_of(error, f"{source}: ")) from None


@cache
def load_plan_settings() -> PlanSettings:
    """The file that was deployed with the code."""
    return parse_plan_settings(PLAN_SETTINGS_FILE.read_text(encoding="utf-8"), PLAN_SETTINGS_FILE.name)


def _text(value: bool | int | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
