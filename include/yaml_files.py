"""Read YAML files that people edit: settings, price lists."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from include.errors import SettingsError


class _UniqueKeysLoader(yaml.SafeLoader):
    """Refuses duplicate keys. PyYAML silently uses the last one, which may be the wrong price."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is there twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> Any:
    """:raises yaml.YAMLError: the text is not YAML, or a mapping has a duplicate key."""
    return yaml.load(text, Loader=_UniqueKeysLoader)  # noqa: S506 - a SafeLoader


def read_text(path: Path, named_by: str = "") -> str:
    """The text of a file. :raises SettingsError: it cannot be read; ``named_by`` is the setting or variable with its path."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        named = f" (named by {named_by})" if named_by else ""
        raise SettingsError(f"{path}{named} cannot be read: {reason}") from None
