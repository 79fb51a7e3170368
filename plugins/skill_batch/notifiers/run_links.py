"""The links to one run: on the operators' board and in Airflow's UI. ``[api] base_url`` may have a path."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

BOARD_PREFIX = "/skill-batch-board"

# An environment variable of all Airflow processes: the address of a documentation site outside the board.
SITE_VARIABLE = "SKILL_BATCH_DOCS_URL"

# The documentation site. `make docs` builds it, the wheel contains it, and the board shows it below /help.
SITE = Path(__file__).resolve().parents[1] / "board" / "site"

NIGHT = "operate/night"

# The base of Airflow's own links if `[api] base_url` is not set.
_DEFAULT_BASE_URL = "http://localhost:8080"

Links = tuple[tuple[str, str], ...]


def run_links(dag_id: str, run_id: str, log_url: str = "") -> Links:
    """Label and URL of each page about the run, most useful first.

    ``log_url`` is the failed task's log, if the alert is about one. Without a documentation site, the DAG's page has the runbook.
    """
    return (
        ("ボードで見る", board_url(dag_id, run_id)),
        ("実行を開く", run_url(dag_id, run_id)),
        *([("ログを開く", log_url)] if log_url else []),
        ("手順を開く", help_url(NIGHT) or f"{_base_url()}/dags/{dag_id}"),
    )


def help_url(page: str, board: str | None = None) -> str:
    """The URL of a documentation page; empty if this installation has no site. ``page`` is its path without suffix.

    ``board`` is the board's address, if it differs from Airflow's setting ``[api] base_url``.
    """
    if site := own_site():
        return f"{site}/{page}.html"
    if not (SITE / f"{page}.html").is_file():
        return ""
    return f"{board_address() if board is None else board}/help/{page}.html"


def own_site() -> str:
    """The address in SKILL_BATCH_DOCS_URL; empty if it is missing or not an address."""
    site = os.environ.get(SITE_VARIABLE, "").strip().rstrip("/")
    return site if site.startswith(("https://", "http://")) else ""


def board_url(dag_id: str, run_id: str) -> str:
    """The run's URL on the operators' board."""
    return f"{_base_url()}/{board_path(dag_id, run_id)}"


def board_address() -> str:
    """The URL of the operators' board."""
    return f"{_base_url()}{BOARD_PREFIX}"


def board_path(dag_id: str, run_id: str) -> str:
    """The run's path on the operators' board, relative to the base of Airflow's UI."""
    return f"{BOARD_PREFIX[1:]}/runs/{dag_id}/{quote(run_id, safe='')}"


def run_url(dag_id: str, run_id: str) -> str:
    """The run's URL in Airflow's UI."""
    return f"{_base_url()}/dags/{dag_id}/runs/{quote(run_id, safe='')}"


def log_url(dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> str:
    """The log of the newest attempt of a task in Airflow's UI; ``map_index`` is -1 if it is not mapped."""
    task = f"{run_url(dag_id, run_id)}/tasks/{quote(task_id, safe='')}"
    return task if map_index < 0 else f"{task}/mapped/{map_index}"


def _base_url() -> str:
    from airflow.sdk import conf

    return str(conf.get("api", "base_url", fallback="") or _DEFAULT_BASE_URL).rstrip("/")
