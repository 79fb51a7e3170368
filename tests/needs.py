"""Programs and packages that only some tests need, and that not every machine has."""

from __future__ import annotations

import os

import pytest


def need(found: object, reason: str) -> None:
    """Skip the test if its program or package was not found. In continuous integration, which installs what it asks for, the test fails.

    GitHub sets the variable ``CI``.
    """
    if not found:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
