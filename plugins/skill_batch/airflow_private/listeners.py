"""What a listener of the plugin uses. Every process of Airflow imports this module."""

from __future__ import annotations

from airflow.listeners import hookimpl as hookimpl

# From Airflow's message about a run whose state a user has set. No argument of the hook says it otherwise.
_SET_BY_USER = "manually set"


def is_set_by_user(message: str) -> bool:
    """Whether a user has set the state of the run, as the listener's message says."""
    return _SET_BY_USER in message
