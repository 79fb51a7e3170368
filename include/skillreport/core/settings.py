"""Load and validate the settings: the packages' defaults, and the installation's file with overrides.

A package with settings has two files: ``settings.py`` with a ``Section`` class per section, and ``settings.yaml`` with its defaults.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from include.skillreport.core.errors import SettingsError
from include.skillreport.core.setting_problems import text_of, validated
from include.skillreport.core.yaml_files import Node, problem_at, read_text, read_yaml

# The environment variable with the path of the installation's file, which overrides the defaults.
SETTINGS_VARIABLE = "SKILL_BATCH_SETTINGS"

_PACKAGE = "include.skillreport"
_FOLDER = Path(__file__).parents[1]


class Part(BaseModel):
    """A group of settings inside a section."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Section(Part):
    """A section of the settings: the mapping under ``key``.

    An installation's values override the defaults one by one; those of ``replaced_as_a_whole`` replace the entire default. Relative paths
    in ``files`` start at the folder of the file that contains them.
    """

    key: ClassVar[str]
    replaced_as_a_whole: ClassVar[frozenset[str]] = frozenset()
    files: ClassVar[frozenset[str]] = frozenset()

    def warning(self) -> tuple[str, str, str] | None:
        """The code, problem and remedy of valid settings that ``check`` reports; None if there is nothing to report."""
        return None

    def problems(self) -> Sequence[str]:
        """Why a run will refuse settings whose values are valid one by one. ``check`` reports them as errors."""
        return ()

    @classmethod
    def load(cls) -> Self:
        """This section of the installation's settings. :raises SettingsError: as in ``load_settings``."""
        return load_settings().of(cls)

    @classmethod
    def load_alone(cls) -> Self:
        """Load this section without reading the others, for example in a DAG file. :raises SettingsError: as in ``load_settings``."""
        return _load(os.environ.get(SETTINGS_VARIABLE) or None, cls).of(cls)


SectionT = TypeVar("SectionT", bound=Section)


class TenantSection(Section):
    """A section that a tenant may override, by rows of MST_TenantSettings with keys ``batch.<key>.*``."""

    same_for_all: ClassVar[frozenset[str]] = frozenset()

    def overridden(self, overrides: Mapping[str, str | None]) -> Self:
        """These settings with a tenant's own values (text) instead of the defaults.

        :raises SettingsError: names each key that is unknown, the same for all tenants, or has an invalid value.
        """
        settings, problems = self._overridden(overrides)
        if problems:
            raise SettingsError("。".join(problems.values()))
        return settings

    def overridden_if_valid(self, overrides: Mapping[str, str | None]) -> tuple[Self, tuple[str, ...]]:
        """Like ``overridden``, but with the default and a warning for each invalid value.

        If valid values contradict each other or a default, all defaults apply.
        """
        settings, problems = self._overridden(overrides)
        if problems:
            valid = {key: value for key, value in overrides.items() if key not in problems}
            settings, contradictions = self._overridden(valid)
            problems |= contradictions
        return settings, tuple(f"{problem}（既定値を使いました）" for problem in problems.values())

    def refused_keys(self, overrides: Mapping[str, str | None]) -> tuple[str, ...]:
        """The keys of a tenant's invalid values. An empty name: valid values contradict each other or a default."""
        problems = self._overridden(overrides)[1]
        valid = {key: value for key, value in overrides.items() if key not in problems}
        return (*problems, *self._overridden(valid)[1])

    def _overridden(self, overrides: Mapping[str, str | None]) -> tuple[Self, dict[str, str]]:
        """The settings with these values (unchanged if there are problems), and the problems by key (empty: several values)."""
        if not overrides:
            return self, {}
        prefix = f"テナントの設定 batch.{self.key}"
        common = dict.fromkeys(
            sorted(self.same_for_all.intersection(overrides)),
            "全テナント共通のため、テナントごとには変えられません",
        )
        try:
            settings = self.model_validate({**self.model_dump(), **overrides})
            found = {}
        except ValidationError as error:
            settings = self
            found = {
                str(problem["loc"][0]) if problem["loc"] else "": text_of(problem)
                for problem in error.errors()
            }
        problems = {
            key: f"{prefix}.{key}".rstrip(".") + f": {text}" for key, text in (found | common).items()
        }
        return (self if problems else settings), problems


@dataclass(frozen=True)
class Settings:
    """All sections, by key."""

    sections: Mapping[str, Section]

    def of(self, section: type[SectionT]) -> SectionT:
        """The section of this class."""
        found = self.sections[section.key]
        assert isinstance(found, section)
        return found


@cache
def section_classes() -> tuple[type[Section], ...]:
    """The sections of all packages, ordered by package path."""
    modules = [
        import_module(f"{_PACKAGE}.{'.'.join(file.relative_to(_FOLDER).parent.parts)}.settings")
        for file in default_files()
    ]
    return tuple(
        each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Section) and each.__module__ == module.__name__
    )


@cache
def default_files() -> tuple[Path, ...]:
    """The ``settings.yaml`` files of all packages."""
    return tuple(sorted(_FOLDER.rglob("settings.yaml")))


def parse_settings(own_text: str, own_source: str, alone: type[Section] | None = None) -> Settings:
    """The defaults with the overrides of ``own_text``: all sections, or only ``alone``.

    :raises SettingsError: names the file, line, setting and problem.
    """
    document = read_yaml(own_text, own_source)
    if not isinstance(document.content, dict):
        raise problem_at(own_source, document.line, (), "設定のまとまり（usage: など）を書いてください")
    return _validated(document, document.content, alone)


def load_settings() -> Settings:
    """The defaults with the installation's overrides.

    :raises SettingsError: as in ``parse_settings``, or the file cannot be read.
    """
    return _load(os.environ.get(SETTINGS_VARIABLE) or None)


@cache
def _load(own_file: str | None, alone: type[Section] | None = None) -> Settings:
    if own_file is None:
        return _validated(Node("", 1, {}), {}, alone)
    own = Path(own_file).absolute()
    return parse_settings(read_text(own, SETTINGS_VARIABLE), str(own), alone)


def _validated(document: Node, own: Mapping[str, Node], alone: type[Section] | None) -> Settings:
    classes = (alone,) if alone else section_classes()
    own = {key: node for key, node in own.items() if alone is None or key == alone.key}
    defaults = _defaults()
    merged = {each.key: _of_section(each, defaults[each.key], own.get(each.key)) for each in classes}
    fields = {each.key: (each, ...) for each in classes}
    whole = create_model("Settings", __base__=Part, **fields)  # type: ignore[call-overload]
    sections = validated(whole, replace(document, content={**own, **merged}))
    return Settings({each.key: getattr(sections, each.key) for each in classes})


@cache
def _defaults() -> Mapping[str, Node]:
    """The files are part of the code, so they are read once."""
    found: dict[str, Node] = {}
    for file in default_files():
        content = read_yaml(read_text(file), str(file), is_ours=True).content
        assert isinstance(content, dict), f"{file} has sections"
        assert not content.keys() & found.keys(), f"{file} has a section of another package"
        found |= content
    return found


def _of_section(section: type[Section], default: Node, own: Node | None) -> Node:
    merged = _merged(default, own, section.replaced_as_a_whole) if own else default
    if not isinstance(merged.content, dict):
        return merged
    return replace(
        merged,
        content={
            name: replace(node, content=str(Path(node.source).parent / node.content))
            if name in section.files and isinstance(node.content, str)
            else node
            for name, node in merged.content.items()
        },
    )


def _merged(default: Node, own: Node, replaced: frozenset[str] = frozenset()) -> Node:
    """Merge two mappings key by key, except the keys in ``replaced``; otherwise ``own``."""
    one, other = default.content, own.content
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return own
    merged = {
        key: _merged(one[key], node) if key in one and key not in replaced else node
        for key, node in other.items()
    }
    return replace(own, content=one | merged)
