"""The name of a worker for Airflow's ``hostname_callable``: two workers on one machine have one host name."""

from __future__ import annotations

import os
import socket

VARIABLE = "SKILL_BATCH_TEST_WORKER"


def worker_name() -> str:
    """The worker's name, or the machine's in other processes."""
    return os.environ.get(VARIABLE) or socket.gethostname()
