"""The links to one run: on the operators' board and in Airflow's UI. ``[api] base_url`` may have a path."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

# The prefix at which the API server mounts the operators' board.
BOARD_PREFIX = "/skill-batch-board"

# An environment variable of all processes of Airflow: the address of a site of the documentation that is not on the board.
SITE_VARIABLE = "SKILL_BATCH_DOCS_URL"

# The site of the documentation. `make docs` builds it, the wheel contains it, and the board shows it below /help.
SITE = Path(__file__).resolve().parents[1] / "board" / "site"

# The page of the documentation that operators open first.
NIGHT = "operate/night"

# The base of Airflow's own links if `[api] base_url` is not set.
_DEFAULT_BASE_URL = "http://localhost:8080"

Links = tuple[tuple[str, str], ...]


def run_links(dag_id: str, run_id: str, log_url: str = "") -> Links:
    """Label and URL of each page about the run, most useful first.

    ``log_url`` is the log of the task that failed, if the alert is about one. If there is no site of the documentation, the page of the
    DAG has the runbook.
    """
    return (
        ("ボードで見る", board_url(dag_id, run_id)),
        ("実行を開く", run_url(dag_id, run_id)),
        *([("ログを開く", log_url)] if log_url else []),
        ("手順を開く", help_url(NIGHT) or f"{_base_url()}/dags/{dag_id}"),
    )


def help_url(page: str, board: str | None = None) -> str:
    """A page of the documentation, which is its path without suffix; empty if this installation has no site.

    ``board`` is the address of the board, if it is not that of Airflow's setting ``[api] base_url``.
    """
    if site := own_site():
        return f"{site}/{page}.html"
    if not (SITE / f"{page}.html").is_file():
        return ""
    return f"{board_address() if board is None else board}/help/{page}.html"


def own_site() -> str:
    """The address in SKILL_BATCH_DOCS_URL; empty without one, and if it is not an address."""
    site = os.environ.get(SITE_VARIABLE, "").strip().rstrip("/")
    return site if site.startswith(("https://", "http://")) else ""


def board_url(dag_id: str, run_id: str) -> str:
    """The run on the operators' board."""
    return f"{_base_url()}/{board_path(dag_id, run_id)}"


def board_address() -> str:
    """The operators' board."""
    return f"{_base_url()}{BOARD_PREFIX}"


def board_path(dag_id: str, run_id: str) -> str:
    """The run on the operators' board, relative to the base of Airflow's UI."""
    return f"{BOARD_PREFIX[1:]}/runs/{dag_id}/{quote(run_id, safe='')}"


def run_url(dag_id: str, run_id: str) -> str:
    """The run in Airflow's UI."""
    return f"{_base_url()}/dags/{dag_id}/runs/{quote(run_id, safe='')}"


def instance_log_url(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    """The log of a mapped instance in Airflow's UI."""
    return f"{run_url(dag_id, run_id)}/tasks/{quote(task_id, safe='')}/mapped/{map_index}"


def _base_url() -> str:
    from airflow.sdk import conf

    return str(conf.get("api", "base_url", fallback="") or _DEFAULT_BASE_URL).rstrip("/")
