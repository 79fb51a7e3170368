"""An installation's own settings file, for tests that change some settings of the demo's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.skillreport.core.settings import SETTINGS_VARIABLE
from local_stack.stack import DEMO_SETTINGS


def change_billing(monkeypatch: pytest.MonkeyPatch, folder: Path, **billing: Any) -> None:
    """Use the demo's settings with these of ``billing``. A relative price list starts at the folder; None removes a setting."""
    change_settings(monkeypatch, folder, "billing", **billing)


def change_settings(monkeypatch: pytest.MonkeyPatch, folder: Path, section: str, **values: Any) -> None:
    """The same for these of a section."""
    own: dict[str, Any] = yaml.safe_load(DEMO_SETTINGS.read_text(encoding="utf-8"))
    own["billing"]["price_list"] = str(DEMO_SETTINGS.parent / own["billing"]["price_list"])
    changed = own.get(section, {}) | values
    own[section] = {name: value for name, value in changed.items() if value is not None}
    content = yaml.safe_dump(own, allow_unicode=True).encode()
    # What is read from a file is kept, so other settings are in another file.
    file = folder / f"own-{hashlib.sha256(content).hexdigest()[:8]}.yaml"
    file.write_bytes(content)
    monkeypatch.setenv(SETTINGS_VARIABLE, str(file))


def demo_issuer(**changes: Any) -> dict[str, Any]:
    """The demo's issuer with these changes; None removes an entry."""
    issuer = yaml.safe_load(DEMO_SETTINGS.read_text(encoding="utf-8"))["billing"]["issuer"] | changes
    return {name: value for name, value in issuer.items() if value is not None}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Changes settings of billing."""
    return partial(change_billing, monkeypatch, tmp_path)
