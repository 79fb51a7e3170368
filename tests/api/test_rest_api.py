"""docs/develop/api.md: its commands and its TypeScript run a batch of a real Airflow, with both auth managers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from local_stack.stack import PROJECT
from local_stack.stand_ins import StandIns
from tests.airflow_installation import AirflowInstallation, environment_of
from tests.conftest import Database
from tests.dags.running_airflow import NO_SCHEDULE, Api, running_airflow
from tests.fab_installation import PASSWORD, commands_of, fab_installation
from tests.needs import need
from tests.worlds import host_rows

PAGE = PROJECT / "docs" / "develop" / "api.md"
EXAMPLES = PROJECT / "docs" / "examples"
USAGE = "batch_018_01_tenant_usage"
TENANTS = ["TKH-DSN", "TKH-LAB"]
NODE, NPX = shutil.which("node"), shutil.which("npx")
USERS = ("application", "reader")

_COMPILER = ["npx", "--yes", "-p", "typescript@5.9.3", "tsc", "--strict", "--noUncheckedIndexedAccess"]


def test_the_page_links_to_the_examples() -> None:
    linked = re.findall(r"\]\(\.\./examples/(.+?)\)", PAGE.read_text(encoding="utf-8"))
    assert sorted(linked) == sorted(path.name for path in EXAMPLES.glob("*.ts"))


@dataclass
class Shell:
    """A shell in which the page's commands run one after the other, as a reader pastes them."""

    process: subprocess.Popen[str]
    blocks: Mapping[str, list[str]] = field(repr=False)

    def run(self, heading: str, number: int = 0) -> str:
        """Run a block of this section; returns what it printed."""
        return self.paste(self.blocks[heading][number])

    def paste(self, commands: str) -> str:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{commands}\necho '--end--'\n")
        self.process.stdin.flush()
        lines: list[str] = []
        while (line := self.process.stdout.readline()) != "--end--\n":
            assert line, f"the shell has ended: {''.join(lines)}"
            lines.append(line)
        return "".join(lines)


@pytest.fixture(params=["simple", "fab"])
def api(
    request: pytest.FixtureRequest,
    airflow_metadata: str,
    database: Database,
    unused_port: int,
    tmp_path: Path,
) -> Iterator[Api]:
    """An Airflow with the users ``application``, who may run one batch, and ``reader``."""
    installation = (
        _with_simple_users(tmp_path, airflow_metadata)
        if request.param == "simple"
        else _with_fab_users(tmp_path, airflow_metadata)
    )
    with database.connect() as host:
        for name in TENANTS:
            host_rows.tenant(host, name, subscription_plan="BASIC")
            host_rows.report(host, name, datetime(2026, 10, 31, 3, 0))
    started_at = datetime.now(UTC)
    with (
        StandIns() as services,
        running_airflow(
            installation,
            database,
            services,
            tmp_path,
            unused_port,
            NO_SCHEDULE,
            login=("application", PASSWORD),
        ) as api,
    ):
        api = replace(api, dag_id=USAGE)
        api.unpause()
        # The page's commands do not repeat a call about an unknown DAG.
        api.wait_until_parsed(started_at)
        yield api


def _with_simple_users(folder: Path, metadata_url: str) -> AirflowInstallation:
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps(dict.fromkeys(USERS, PASSWORD)))
    installation = AirflowInstallation(
        environment_of(folder / "home", metadata_url)
        | {
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "application:user,reader:viewer",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        }
    )
    assert installation.run("db", "migrate").returncode == 0
    return installation


def _with_fab_users(folder: Path, metadata_url: str) -> AirflowInstallation:
    commands = commands_of(PAGE, "shell")
    users: dict[str, tuple[str, ...]] = dict.fromkeys(USERS, ("Viewer",))
    return fab_installation(
        folder / "home", metadata_url, [["sync-perm", "--include-dags"], *commands], users
    )


@contextmanager
def _shell(api: Api) -> Iterator[Shell]:
    text = PAGE.read_text(encoding="utf-8")
    blocks = {
        heading: re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
        for heading, section in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    }
    variables = _variables(api, "application")
    assert set(re.findall(r"export (\w+)", blocks["Get a token"][0])) == {*variables, "DAG_ID"}
    with subprocess.Popen(
        ["bash", "-e", "-o", "pipefail"],
        env={**os.environ, **variables, "DAG_ID": USAGE},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield Shell(process, blocks)
        finally:
            process.kill()


def _variables(api: Api, user: str) -> dict[str, str]:
    return {"AIRFLOW_URL": api.url, "AIRFLOW_USER": user, "AIRFLOW_PASSWORD": PASSWORD}


@pytest.mark.long
@pytest.mark.exclusive
def test_the_commands_and_the_typescript_of_the_page(api: Api, database: Database, tmp_path: Path) -> None:
    _the_commands_run_a_batch(api, database)
    _a_failed_tenant_is_run_again(api, database)
    _a_run_is_ended(api)
    _errors_have_the_status_of_the_table(api)
    _a_reader_starts_nothing(api)
    need(NODE and NPX, "the commands passed; install node for the TypeScript")
    _the_typescript_does_the_same(api, database, tmp_path)


def _the_commands_run_a_batch(api: Api, database: Database) -> None:
    with _shell(api) as shell:
        shell.run("Get a token", 1)
        assert '"state": "queued"' in shell.run("Start a run")
        assert shell.run("Follow it") == "success\n"
        assert sorted(line.split("\t") for line in shell.run("Read the result", 0).splitlines()) == [
            [name, "aggregate_usage", str(number), "success", "1"] for number, name in enumerate(TENANTS)
        ]
        totals = json.loads(shell.run("Read the result", 1))
        assert (totals["total_tenants"], totals["success_count"]) == (2, 2)
        opened = json.loads(shell.run("Read the result", 2))
        assert opened == {
            "execution_id": totals["execution_id"],
            "business_date": "2026-10-31",
            "dry_run": False,
        }
        run_id = shell.paste('echo "$RUN_ID"').strip()
    with database.connect() as connection:
        assert connection.execute(
            "SELECT status, success_count, triggered_by FROM batch.board_run WHERE execution_id = %s",
            [totals["execution_id"]],
        ).fetchall() == [("completed", 2, _user_of(api, run_id))]


def _user_of(api: Api, run_id: str) -> str:
    return str(api.call("GET", f"/api/v2/dags/{USAGE}/dagRuns/{run_id}")["triggering_user_name"])


def _a_failed_tenant_is_run_again(api: Api, database: Database) -> None:
    with database.connect() as host, _shell(api) as shell:
        healthy = host_rows.break_settings_of(host, "TKH-LAB")
        shell.run("Get a token", 1)
        shell.paste("sleep 1")  # the id of the run is the second
        shell.run("Start a run")
        assert shell.run("Follow it") == "failed\n"
        reasons = shell.run("Read the result", 3).splitlines()
        assert any(line.startswith("テナント TKH-LAB: ") for line in reasons), reasons
        host.execute(healthy.encode())
        assert int(shell.run("Run failed tenants again")) >= 2
        assert shell.run("Follow it") == "success\n"
        tries = {
            line.split("\t")[0]: line.split("\t")[-1] for line in shell.run("Read the result").splitlines()
        }
        assert tries == {"TKH-DSN": "1", "TKH-LAB": "2"}


def _a_run_is_ended(api: Api) -> None:
    with _shell(api) as shell:
        shell.run("Get a token", 1)
        shell.paste("sleep 1")
        shell.run("Start a run")
        # As the table of errors says: repeated after a 500, which a deadlock with the scheduler causes.
        (end,) = shell.blocks["End a run"]
        assert shell.paste(f"until {{ {end}}}; do sleep 1; done").endswith("failed\n")
        assert shell.run("Follow it") == "failed\n"


def _errors_have_the_status_of_the_table(api: Api) -> None:
    runs = f"/api/v2/dags/{USAGE}/dagRuns"
    taken = api.call("GET", runs)["dag_runs"][0]["dag_run_id"]
    assert _status(api, runs, {"logical_date": None, "conf": {"dry_run": "yes"}}) == 400
    assert _status(api, runs, {"logical_date": None, "dag_run_id": "a/b"}) == 400
    assert _status(api, runs, {"logical_date": None}, token=None) == 401
    assert _status(api, runs, {"logical_date": None}, token="no token") == 403
    assert _status(api, f"{runs}/no_run") == 404
    assert _status(api, "/auth/token", {"username": "application", "password": "wrong"}) == 401
    assert _status(api, runs, {"logical_date": None, "dag_run_id": taken}) == 409
    assert _status(api, runs, {"conf": {}}) == 422


def _a_reader_starts_nothing(api: Api) -> None:
    login = {"username": "reader", "password": PASSWORD}
    token = api.call("POST", "/auth/token", login)["access_token"]
    runs = f"/api/v2/dags/{USAGE}/dagRuns"
    assert _status(api, runs, token=token) == 200
    assert _status(api, runs, {"logical_date": None}, token=token) == 403
    if "FabAuthManager" in api.airflow.environment.get("AIRFLOW__CORE__AUTH_MANAGER", ""):
        other = "/api/v2/dags/operate_invoices/dagRuns"
        assert _status(api, other, {"logical_date": None}) == 403


def _status(api: Api, path: str, body: Any = None, token: str | None = "") -> int:
    """The status of the answer; the token is that of ``application`` if it is empty."""
    headers = {} if token is None else {"Authorization": f"Bearer {token or api.token}"}
    method = "GET" if body is None else "POST"
    return httpx.request(method, api.url + path, json=body, headers=headers, timeout=30).status_code


def _the_typescript_does_the_same(api: Api, database: Database, folder: Path) -> None:
    _compile(folder)
    with database.connect() as host:
        healthy = host_rows.break_settings_of(host, "TKH-DSN")
        failed = _drive(api, folder, "start")
        assert failed["again"] == failed["run"]["runId"]
        assert failed["run"]["state"] == "failed"
        instances = {each["name"]: each for each in failed["run"]["instances"]}
        assert instances["TKH-LAB"]["state"] == "success"
        assert instances["TKH-DSN"]["reason"].startswith("テナント TKH-DSN: ")
        assert [each["taskId"] for each in failed["run"]["failedSteps"]] == ["close_run"]
        host.execute(healthy.encode())
        mended = _drive(api, folder, "rerun", failed["again"])["run"]
        assert (mended["state"], mended["businessDate"]) == ("success", "2026-10-31")
        assert (mended["totals"]["tenants"], mended["totals"]["succeeded"]) == (2, 2)
        assert mended["executionId"] == failed["run"]["executionId"]
    routed = _drive(api, folder, "route")
    assert routed["statuses"] == [401, 404, 400, 202, 200]
    assert routed["run"]["runId"] == routed["started"]["runId"]
    assert _drive(api, folder, "cancel")["state"] == "failed"


def _compile(folder: Path) -> None:
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node.d.ts").write_text("declare const process: { env: Record<string, string | undefined> };")
    for name in ("run-batch.ts", "route.ts"):
        text = (EXAMPLES / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace("@/lib/run-batch", "./run-batch.js"), encoding="utf-8")
    options = ["--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom"]
    done = subprocess.run(
        [*_COMPILER, *options, "node.d.ts", "run-batch.ts", "route.ts"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    fetched = "ENOTFOUND" not in done.stderr and "ECONNREFUSED" not in done.stderr
    need(fetched, "the commands passed; npm cannot fetch the TypeScript compiler")
    assert done.returncode == 0, done.stdout + done.stderr


_DRIVER = """
import { BatchRunner } from "./run-batch.js";
import { GET, POST } from "./route.js";
const [act, runId] = process.argv.slice(2);
const dag = "batch_018_01_tenant_usage";
const { AIRFLOW_URL: url, AIRFLOW_USER: username, AIRFLOW_PASSWORD: password, BATCH_ROUTE_SECRET: secret } = process.env;
let tokens = 0;
const own = new BatchRunner({ url, username, password });
// The first token is refused, as an expired one is.
const expired = new BatchRunner({ url, token: async () => (tokens++ ? await login() : "expired") });
async function login() {
  const body = JSON.stringify({ username, password });
  const response = await fetch(`${url}/auth/token`, { method: "POST", body, headers: { "Content-Type": "application/json" } });
  return (await response.json()).access_token;
}
const form = { businessDate: "2026-10-31", tenants: ["TKH-DSN", "TKH-LAB"] };
const acts = {
  async start() {
    const first = await own.start(dag, form);
    const again = await own.start(dag, form, first);
    await own.wait(dag, first, 1);
    return { again, run: await own.result(dag, first) };
  },
  async rerun() {
    if (!(await expired.rerunFailed(dag, runId))) throw new Error("nothing has failed");
    await expired.wait(dag, runId, 1);
    return { run: await expired.result(dag, runId) };
  },
  async cancel() {
    const id = await own.start(dag, form);
    await own.cancel(dag, id);
    return { state: await own.wait(dag, id, 1) };
  },
  async route() {
    const call = (handler, batchId, path, init, key) =>
      handler(new Request(`http://app.example${path}`, { ...init, headers: { authorization: `Bearer ${key}` } }), {
        params: Promise.resolve({ batchId }),
      });
    const post = (body) => ({ method: "POST", body: JSON.stringify(body) });
    const answers = [
      await call(POST, "BATCH-018-01", "/", post(form), "wrong"),
      await call(POST, "BATCH-018-02", "/", post(form), secret),
      await call(POST, "BATCH-018-01", "/", post({ businessDate: "31.10.2026" }), secret),
      await call(POST, "BATCH-018-01", "/", post({ ...form, dryRun: true }), secret),
    ];
    const started = await answers[3].json();
    await own.wait(dag, started.runId, 1);
    answers.push(await call(GET, "BATCH-018-01", `/?run=${started.runId}`, {}, secret));
    return { statuses: answers.map((each) => each.status), started, run: await answers[4].json() };
  },
};
console.log(JSON.stringify(await acts[act]()));
"""


def _drive(api: Api, folder: Path, *arguments: str) -> dict[str, Any]:
    (folder / "drive.mjs").write_text(_DRIVER)
    done = subprocess.run(
        ["node", "drive.mjs", *arguments],
        cwd=folder,
        env={**os.environ, **_variables(api, "application"), "BATCH_ROUTE_SECRET": "only-in-tests"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result
