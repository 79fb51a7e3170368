"""What a deadline of our own needs. ``airflow.sdk`` has these names since Airflow 3.3.2."""

from __future__ import annotations

from airflow.sdk.definitions.deadline import BaseDeadlineReference as BaseDeadlineReference
from airflow.sdk.definitions.deadline import deadline_reference as deadline_reference
