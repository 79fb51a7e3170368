"""The metrics of a run arrive at a StatsD server, through Airflow's own metrics."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.airflow_installation import PROJECT

REPORT = """
from datetime import date
from decimal import Decimal

from include.skillreport.core.execution.run_log import RunResult
from skill_batch.metrics import record_metrics

record_metrics(
    RunResult(
        execution_id="BATCH-018-01_20261031_0a1b2c3d", batch_id="BATCH-018-01", business_date=date(2026, 10, 31), status="partial",
        total_tenants=12, success_count=11, error_count=1, execution_seconds=Decimal("1.5"), records=340,
    )
)
"""


def test_runs_tenants_failures_and_durations_are_counted_per_batch(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        environment = os.environ | {
            "AIRFLOW_HOME": str(tmp_path),
            "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}",
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(server.getsockname()[1]),
        }
        subprocess.run([sys.executable, "-c", REPORT], env=environment, check=True, timeout=60)
        arrived: set[str] = set()
        while len(arrived) < 5:
            packet = server.recv(1_000).decode()
            if "skill_batch" in packet:  # Airflow also has its own metrics
                arrived.add(packet)

    assert arrived == {
        "airflow.skill_batch.runs.partial,batch_id=BATCH-018-01:1|c",
        "airflow.skill_batch.tenants.succeeded,batch_id=BATCH-018-01:11|c",
        "airflow.skill_batch.tenants.failed,batch_id=BATCH-018-01:1|c",
        "airflow.skill_batch.records,batch_id=BATCH-018-01:340|c",
        "airflow.skill_batch.run.duration,batch_id=BATCH-018-01:1500.000000|ms",
    }
