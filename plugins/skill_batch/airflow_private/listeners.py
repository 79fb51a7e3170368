"""The imports of the plugin's listener. Every Airflow process imports this module."""

from __future__ import annotations

from airflow.listeners import hookimpl as hookimpl

# Airflow's message contains this text if a user has set the state. The hook has no argument for it.
_SET_BY_USER = "manually set"


def is_set_by_user(message: str) -> bool:
    """True if the listener's message says that a user has set the run's state."""
    return _SET_BY_USER in message
