"""Measure the import of each DAG file, as in the DAG processor, against the import of ``airflow.sdk`` in the same process.

Both in milliseconds, best of five. A busy or slow machine changes the milliseconds and not the ratio.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.place import Found, Place

PROJECT = Path(__file__).resolve().parents[1]
# A driver, a provider or the rules of a batch would cost more.
MOST_PERCENT = 30
ROUNDS = 5
CODE = """
import runpy, sys, time
start = time.perf_counter()
import airflow.sdk
imported = time.perf_counter()
runpy.run_path(sys.argv[1])
print((imported - start) * 1000, (time.perf_counter() - imported) * 1000)
"""


def measured(path: Path) -> tuple[float, float]:
    """The milliseconds of one import of Airflow, and of the file after it, in a fresh interpreter."""
    environment = os.environ | {"PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'plugins'}"}
    done = subprocess.run(
        [sys.executable, "-c", CODE, path], env=environment, capture_output=True, text=True, check=True
    )
    airflow, file = map(float, done.stdout.split()[-2:])
    return airflow, file


def measurement(place: Place) -> Found:
    """No file adds more than ``MOST_PERCENT``."""
    files = sorted((PROJECT / "dags").rglob("*.py"))
    found = Found(f"{len(files)} DAG files", f"{MOST_PERCENT} % of the import of Airflow")
    percents = []
    for path in place.size(files, files[:2]):
        airflow, file = map(min, zip(*(measured(path) for _ in range(ROUNDS)), strict=True))
        percents.append(file / airflow * 100)
        print(f"{file:>7.1f} ms {percents[-1]:>5.1f} %  {path.relative_to(PROJECT)}", flush=True)
    found.result = f"at most {max(percents):.1f} %"
    found.require(max(percents) < MOST_PERCENT, "a file imports too much")
    return found
