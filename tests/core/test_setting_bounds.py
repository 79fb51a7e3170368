"""Each number, day and boolean of the settings: its form, and its bounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import copy
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel, BeforeValidator, ValidationError, create_model

from include.skillreport import billing
from include.skillreport.__main__ import main
from include.skillreport.batches.settings_sync.plan_settings import PLAN_SETTINGS_FILE, PlanSettings
from include.skillreport.billing.pricing.price_list import PriceList
from include.skillreport.billing.settings import UsageSettings
from include.skillreport.core.errors import SettingsError
from include.skillreport.core.setting_types import Range
from include.skillreport.core.settings import Settings, default_files, parse_settings, section_classes
from include.skillreport.core.yaml_files import load_yaml
from local_stack.stack import DEMO_SETTINGS


def own(text: str) -> Settings:
    """The settings with an own file of this text."""
    return parse_settings(text, "own.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "usage: {surge_history_days: 999999}",
        "log_cleanup: {row_days: {system_log: 999999}}",
        "notification: {expire_hours: 999999}",
        "notification: {give_up_hours: 99999999999}",
        "inactivity: {critical_days: 99999999999}",
        "backup: {retention: {daily: 99999999999}}",
        "monitoring: {min_calls: 99999999999}",
        "usage: {surge_min_storage_gb: 1.0e+30}",
    ],
)
def test_a_number_out_of_bounds_is_refused_with_its_bounds(text: str) -> None:
    with pytest.raises(
        SettingsError, match=r"own\.yaml の 1 行目 [a-z_.]+: \d+ (以上|より大きく) \d+ 以下の"
    ):
        own(text)


@pytest.mark.parametrize(
    "text",
    [
        "log_cleanup: {row_days: {execution_log: yes}}",
        "log_cleanup: {row_days: {execution_log: true}}",
        "log_cleanup: {row_days: {execution_log: 1:30}}",
        "log_cleanup: {row_days: {execution_log: 1_000}}",
        "backup: {encrypted: 1}",
        "backup: {encrypted: yes}",
        "backup: {encrypted: on}",
        "billing: {first_month: 2026-11-31}",
        "billing: {first_month: 20261201}",
        "billing: {first_month: 1764547200}",
        "billing: {first_month: 2026-12-01T00:00:00Z}",
    ],
)
def test_a_value_that_yaml_1_1_reads_as_another_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"own\.yaml の 1 行目 [a-z_.]+: "):
        own(text)


def test_leading_zeros_are_no_octal_number() -> None:
    assert own("usage: {surge_history_days: 0100}").of(UsageSettings).surge_history_days == 100


def leaves(value: Any, place: tuple[int | str, ...] = ()) -> Iterator[tuple[tuple[int | str, ...], Any]]:
    """The values of a file, with their places."""
    parts = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if parts is None:
        yield place, value
    else:
        for key, part in parts:
            yield from leaves(part, (*place, key))


def changed(document: Any, place: Sequence[int | str], value: object) -> Any:
    """The document with another value at a place."""
    if not place:
        return value
    first, *rest = place
    copied = copy(document)
    copied[first] = changed(document[first], rest, value)
    return copied


NO_NUMBERS: list[object] = [
    *(True, False, "yes", "", "1:30", "1_0", "１", "ten", [], {}),
    *(10**16, -(10**16), Decimal("1E+30"), Decimal("NaN"), Decimal("Infinity"), "-Infinity", "9" * 50),
]
NO_FLAGS: list[object] = [0, 1, Decimal(1), "yes", "on", "1", "t", "", None, []]


def of_sections(document: dict[str, Any]) -> type[BaseModel]:
    """The model of a file with these sections."""
    classes: dict[str, Any] = {each.key: (each, ...) for each in section_classes() if each.key in document}
    return create_model("Sections", **classes)


@pytest.mark.parametrize(
    ("file", "model"),
    [
        *((file, None) for file in default_files()),
        (DEMO_SETTINGS.with_name("pricing_plans.yaml"), PriceList),
        (Path(billing.__file__).with_name("pricing_plans.yaml"), PriceList),
        (PLAN_SETTINGS_FILE, PlanSettings),
    ],
    ids=lambda each: f"{each.parent.name}/{each.name}" if isinstance(each, Path) else None,
)
def test_each_number_has_bounds_and_no_number_is_a_boolean(file: Path, model: type[BaseModel] | None) -> None:
    document = load_yaml(file)
    model = model or of_sections(document)
    model.model_validate(document)
    accepted = []
    for place, value in leaves(document):
        is_flag = isinstance(value, bool)
        if not is_flag and not isinstance(value, int | Decimal):
            continue
        for wrong in NO_FLAGS if is_flag else NO_NUMBERS:
            with suppress(ValidationError):
                model.model_validate(changed(document, place, wrong))
                accepted.append((place, wrong))
    assert accepted == []


MODELS = (*section_classes(), PriceList, PlanSettings)


def parts_of(annotation: Any) -> Iterator[Any]:
    """The types in an annotation, with their metadata; the fields of models too."""
    if get_origin(annotation) is Annotated:
        yield annotation
        yield from parts_of(get_args(annotation)[0])
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for field in annotation.model_fields.values():
            yield from parts_of(
                Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            )
    elif get_args(annotation) and get_origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from parts_of(part)
    elif annotation in (int, Decimal, float, bool, date):
        yield annotation


def test_no_field_has_a_bare_number_boolean_or_date() -> None:
    """The types with bounds and one form are annotated: a bare type accepts more."""
    found = [part for model in MODELS for part in parts_of(model)]
    annotated = [part for part in found if get_origin(part) is Annotated]
    bare = [part for part in found if get_origin(part) is not Annotated]
    guards = [
        get_args(part)[0]
        for part in annotated
        if any(isinstance(each, Range | BeforeValidator) for each in get_args(part)[1:])
        and get_args(part)[0] in (int, Decimal, bool, date)
    ]
    assert Counter(bare) == Counter(guards)
    assert {int, Decimal, bool, date} <= set(guards)


@pytest.mark.parametrize("jobs", ["0", "33", "-1", "many", "9" * 5000])
def test_the_processes_of_a_restore_have_bounds(jobs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["backup", "--store", "/nowhere", "--jobs", jobs, "list"])
    assert "--jobs" in capsys.readouterr().err
