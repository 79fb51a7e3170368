"""The help of the board: the static site of the documentation, for each user who may see the board."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from skill_batch.board.access import Rights
from skill_batch.notifiers import run_links
from tests.board.conftest import Board

OWN_SITE = "https://docs.example.jp/batches"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small site. A secret lies beside it."""
    (tmp_path / "secret.html").write_text("root:", encoding="utf-8")
    folder = tmp_path / "site"
    (folder / "operate").mkdir(parents=True)
    (folder / "operate" / "night.html").write_text("夜間対応", encoding="utf-8")
    (folder / "operate" / "page.py").write_text("", encoding="utf-8")
    (folder / "operate" / "link.html").symlink_to(tmp_path / "secret.html")
    (folder / "index.html").write_text("Home", encoding="utf-8")
    (folder / "search.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr(run_links, "SITE", folder)
    monkeypatch.delenv(run_links.SITE_VARIABLE, raising=False)
    return folder


def _link(board: Board) -> str:
    """Where the link to the help on a page of the board leads; empty without a link."""
    found = re.search(r'<a href="([^"]+)" data-outside>ヘルプ</a>', board.get("/").text)
    return found[1] if found else ""


@pytest.mark.usefixtures("site")
def test_the_help_is_for_all_who_may_see_the_board(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _link(board) == "/skill-batch-board/help/operate/night.html"
    assert board.as_role(None).get("/help/operate/night.html").status_code == 401
    monkeypatch.setattr(Rights, "_may", lambda *_: False)
    answer = board.as_role("viewer").get("/help/operate/night.html")
    assert (answer.status_code, answer.text) == (200, "夜間対応")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert board.get("/help/").text == "Home"
    assert board.get("/help/search.json").headers["content-type"] == "application/json"
    monkeypatch.setattr("skill_batch.board.access.may_see_pages", lambda _: False)
    assert board.get("/help/operate/night.html").status_code == 403


@pytest.mark.usefixtures("site")
def test_the_help_runs_only_its_own_scripts(board: Board) -> None:
    answer = board.get("/help/operate/night.html")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert not re.search(r"script-src[^;]*(unsafe|https?:|\*)", policy)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "operate/../../secret.html",
        "%2e%2e/secret.html",
        "..%2fsecret.html",
        "operate/link.html",
        "operate/page.py",
        "operate",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "no.html",
        f"{'A' * 3_000}.html",
    ],
)
def test_the_help_has_no_file_outside_of_its_site(board: Board, site: Path, path: str) -> None:
    assert (site / "operate" / "link.html").read_text(encoding="utf-8") == "root:"
    answer = board.get(f"/help/{path}")
    assert answer.status_code == 404
    assert "root:" not in answer.text


def test_without_a_built_site_there_is_no_help(
    board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_links, "SITE", tmp_path / "nothing")
    monkeypatch.delenv(run_links.SITE_VARIABLE, raising=False)
    assert _link(board) == ""
    assert board.get("/help/operate/night.html").status_code == 404


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(
    ("value", "link"), [(f"{OWN_SITE}/", f"{OWN_SITE}/operate/night.html"), ("javascript:x", None)]
)
def test_an_own_site_replaces_the_help(
    board: Board, monkeypatch: pytest.MonkeyPatch, value: str, link: str | None
) -> None:
    monkeypatch.setenv(run_links.SITE_VARIABLE, value)
    assert _link(board) == (link or "/skill-batch-board/help/operate/night.html")
