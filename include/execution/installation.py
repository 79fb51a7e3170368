"""What one installation says in places of its own: where its servers are, its secrets, its folders."""

from __future__ import annotations

from typing import Protocol

from include.execution.object_store import ObjectStore


class Installation(Protocol):
    """In production Airflow's connections and Variables; elsewhere whatever stands in for them."""

    def database(self, name: str) -> str:
        """libpq's connection string, password included, of the connection. :raises ConnectionMissingError: there is none."""

    def secret(self, name: str) -> str:
        """The password of the connection. :raises ConnectionMissingError: there is none, or it is empty."""

    def variable(self, name: str) -> str:
        """The Variable without blanks around it; empty if nobody has set it."""

    def store(self) -> ObjectStore:
        """Where files go. :raises SettingsError: nobody has said."""
