"""The external services of the tests of messaging."""

from tests.messaging.conftest import services

__all__ = ["services"]
