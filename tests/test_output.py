"""What a test prints is its own: the import of Airflow by another test changes the logging of the whole process."""

from __future__ import annotations

import logging

import pytest


def test_what_a_library_logs_is_not_in_the_output_of_a_test(capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("alembic.runtime.migration").error("Running upgrade")
    assert capfd.readouterr() == ("", "")
