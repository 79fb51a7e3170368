"""The settings file, validated: every figure that an operator may change, with its default."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from include.errors import SettingsError

SETTINGS_FILE = Path(__file__).with_name("settings.yaml")

Percent = Annotated[Decimal, Field(gt=0, le=1000, allow_inf_nan=False)]
PositiveInt = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExecutionSettings(_Section):
    """How a run is spread over mapped task instances."""

    # Airflow refuses to map over more than core.max_map_length (1024) items.
    max_mapped_tenants: Annotated[int, Field(gt=0, le=1000)]
    shards: Annotated[int, Field(gt=0, le=1000)]


class PlanAllowance(_Section):
    """What a plan includes; None is unlimited."""

    storage_gb: Annotated[Decimal, Field(ge=0)] | None
    api_calls_per_month: Annotated[int, Field(ge=0)] | None


# The history is read for a whole shard at once.
_SAME_FOR_ALL_TENANTS = frozenset({"surge_history_days"})


class UsageSettings(_Section):
    """Thresholds of BATCH-018-01's warnings; each may be overridden for one tenant, and so may the plan's allowances."""

    quota_warning_percent: Percent
    quota_critical_percent: Percent
    surge_percent: Percent
    surge_history_days: PositiveInt
    surge_min_history_days: PositiveInt
    surge_min_active_users: Count
    surge_min_storage_gb: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
    surge_min_api_calls: Count
    surge_min_reports_generated: Count
    storage_gb: Annotated[Decimal, Field(ge=0)] | None = None
    api_calls_per_month: Annotated[int, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _thresholds_rise(self) -> Self:
        if self.quota_warning_percent >= self.quota_critical_percent:
            raise ValueError("quota_warning_percent must be below quota_critical_percent")
        if self.surge_min_history_days > self.surge_history_days:
            raise ValueError("surge_min_history_days must not exceed surge_history_days")
        return self

    def overridden(self, overrides: Mapping[str, str | None]) -> UsageSettings:
        """These settings with a tenant's own values (from MST_TenantSettings, text) in place of the defaults.

        :raises SettingsError: names the key that is unknown, the same for all tenants, or whose value does not hold.
        """
        common = _SAME_FOR_ALL_TENANTS.intersection(overrides)
        if common:
            raise SettingsError(f"tenant setting batch.usage.{min(common)}: the same for all tenants")
        try:
            return UsageSettings.model_validate({**self.model_dump(), **overrides})
        except ValidationError as error:
            raise SettingsError(_sentence(error, "tenant setting batch.usage.")) from None


class Settings(_Section):
    """The whole file."""

    execution: ExecutionSettings
    usage: UsageSettings
    plan_allowances: dict[str, PlanAllowance]


def parse_settings(text: str, source: str) -> Settings:
    """:raises SettingsError: names the file, the setting and what is wrong with it."""
    try:
        return Settings.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise SettingsError(f"{source} is not YAML: {error}") from None
    except ValidationError as error:
        raise SettingsError(_sentence(error, f"{source}: ")) from None


@cache
def load_settings() -> Settings:
    """The settings file that was deployed with the code."""
    return parse_settings(SETTINGS_FILE.read_text(encoding="utf-8"), SETTINGS_FILE.name)


def _sentence(error: ValidationError, where: str) -> str:
    return "; ".join(
        f"{where}{'.'.join(map(str, problem['loc']))}: {problem['msg']} (got {problem['input']!r})"
        if problem["loc"]
        else f"{where.rstrip('. :')}: {problem['msg']}"
        for problem in error.errors(include_url=False)
    )
