"""What a test prints is its own: the import of Airflow by another test changes the logging of the whole process."""

from __future__ import annotations

import logging

import pytest


def test_logs_of_a_library_are_not_in_a_tests_output(capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("alembic.runtime.migration").error("Running upgrade")
    assert capfd.readouterr() == ("", "")
