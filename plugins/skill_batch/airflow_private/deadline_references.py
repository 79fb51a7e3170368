"""The names for custom deadline references. ``airflow.sdk`` has them since Airflow 3.3.2."""

from __future__ import annotations

from airflow.sdk.definitions.deadline import BaseDeadlineReference as BaseDeadlineReference
from airflow.sdk.definitions.deadline import deadline_reference as deadline_reference
