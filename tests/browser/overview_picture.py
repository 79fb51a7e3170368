"""Makes the picture of the README: ``python -m tests.browser.overview_picture``, after ``make demo`` and while ``make up`` runs.

It shows the grid of a batch and the operators' board in the running Airflow, and an invoice and an alert from the page of the demo.
"""

from __future__ import annotations

import base64
import shutil
import sys
from urllib.parse import quote

from playwright.sync_api import Browser, Page, sync_playwright

from include.skillreport.core.catalog import EXTERNAL_SYNC
from local_stack.stack import SAMPLE_USERS, LocalStack
from tests.airflow_installation import PROJECT

PICTURE = PROJECT / "docs" / "images" / "overview.png"

# CSS pixels of the picture.
_WIDTH, _HEIGHT = 1600, 900

_HTML = """\
<!DOCTYPE html><meta charset="utf-8"><style>
body {{ margin: 0; background: #e8edf3; font: 20px sans-serif; }}
main {{ display: grid; grid-template-columns: 5fr 3fr; grid-template-rows: 1fr 1fr; gap: 16px; padding: 16px; box-sizing: border-box;
  width: {width}px; height: {height}px; }}
figure {{ margin: 0; background: white; border: 1px solid #b8c4d0; border-radius: 8px; overflow: hidden; min-height: 0; }}
img {{ width: 100%; display: block; }}
</style><main>{figures}</main>
"""


def main() -> int:
    """Take the four screenshots and write the picture."""
    chromium = shutil.which("chromium")
    stack = LocalStack()
    demo = stack.directory / "demo" / "index.html"
    if chromium is None or not demo.exists():
        print("Install Debian's package chromium, and run `make demo` first.", file=sys.stderr)
        return 1
    airflow = f"http://localhost:{stack.ports.ui}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        screenshots = [
            _screenshot(_open(browser, f"{airflow}/{_mapped_task(stack)}", 1500, 640, airflow)),
            _screenshot(_open(browser, demo.as_uri(), 1400, 900), "#invoice img"),
            _screenshot(_open(browser, f"{airflow}/skill-batch-board/", 1250, 640, airflow)),
            _screenshot(_open(browser, demo.as_uri(), 900, 900), "#alert"),
        ]
        figures = "".join(
            f'<figure><img src="data:image/png;base64,{base64.b64encode(each).decode()}"></figure>'
            for each in screenshots
        )
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
        page.set_content(_HTML.format(width=_WIDTH, height=_HEIGHT, figures=figures))
        page.screenshot(path=PICTURE)
        browser.close()
    print(PICTURE)
    return 0


def _mapped_task(stack: LocalStack) -> str:
    """The path of the mapped task in the newest run of the batch: one instance per tenant and service."""
    with stack.database() as connection:
        (run_id,) = connection.execute(
            "SELECT run_id FROM batch.execution_log WHERE dag_id = %s ORDER BY started_at DESC LIMIT 1",
            [EXTERNAL_SYNC.dag_id],
        ).fetchone() or ("",)
    return f"dags/{EXTERNAL_SYNC.dag_id}/runs/{quote(run_id)}/tasks/{EXTERNAL_SYNC.mapped_task}/mapped"


def _open(browser: Browser, url: str, width: int, height: int, airflow: str = "") -> Page:
    """The page at the URL. ``airflow``: the address of the Airflow in which the first sample user signs in before."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, locale="ja-JP", timezone_id="Asia/Tokyo"
    )
    if airflow:
        name = SAMPLE_USERS[0]
        answer = context.request.post(f"{airflow}/auth/token", data={"username": name, "password": name})
        context.add_cookies([{"name": "_token", "value": answer.json()["access_token"], "url": airflow}])
    page = context.new_page()
    page.goto(url)
    page.wait_for_load_state("networkidle")
    return page


def _screenshot(page: Page, selector: str | None = None) -> bytes:
    return page.locator(selector).first.screenshot() if selector else page.screenshot()


if __name__ == "__main__":
    sys.exit(main())
