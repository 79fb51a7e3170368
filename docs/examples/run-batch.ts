/**
 * Run a batch over Airflow's REST API, follow it, and read its result. No dependency; Node 20 or later.
 *
 * Use it on the server only: it holds the password of Airflow's user.
 */

/**
 * Where Airflow is, and who runs the batches. `url` has no slash at the end; it may have a path. A platform with tokens of its own
 * takes `token`, which is called again when Airflow refuses a token.
 */
export type AirflowSettings = { url: string } & (
  | { username: string; password: string }
  | { token: () => Promise<string> }
);

/** The form of a batch. An empty field has the same meaning as in Airflow's form. */
export interface BatchForm {
  businessDate?: string; // YYYY-MM-DD, Asia/Tokyo
  tenants?: string[]; // tenant codes
  dryRun?: boolean;
}

export type RunState = "queued" | "running" | "success" | "failed";

/** A mapped instance of the run: a tenant, or a shard of tenants. `reason` is in Japanese. */
export interface InstanceResult {
  name: string;
  taskId: string;
  mapIndex: number;
  state: string;
  reason?: string;
}

/** What a run has done. `totals` is absent if the run failed or has not ended. */
export interface RunResult {
  runId: string;
  state: RunState;
  executionId?: string; // the key of batch.execution_log
  businessDate?: string;
  totals?: { tenants: number; succeeded: number; records: number };
  instances: InstanceResult[];
  failedSteps: { taskId: string; reason?: string }[]; // failed tasks that are not mapped
}

/** Airflow refused a request. `status` is the HTTP status, the message is Airflow's. */
export class AirflowError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

interface TaskInstance {
  task_id: string;
  map_index: number;
  rendered_map_index: string | null;
  state: string | null;
  try_number: number;
}

const PAGE = 100; // Airflow's largest page
const LISTED_REASONS = 10; // each reason is a request
const REQUEST_SECONDS = 30;
const ATTEMPTS = 4; // every request here may be repeated

export class BatchRunner {
  #token = "";

  constructor(private readonly airflow: AirflowSettings) {}

  /**
   * Start a run and return its id. Airflow starts it once for each `runId`, so a call with the same id may be repeated.
   * An id has letters, digits, and `_ . ~ : + -`.
   */
  async start(dagId: string, form: BatchForm, runId = `app__${crypto.randomUUID()}`): Promise<string> {
    const conf = {
      ...(form.businessDate === undefined ? {} : { business_date: form.businessDate }),
      ...(form.tenants === undefined ? {} : { tenants: form.tenants }),
      ...(form.dryRun === undefined ? {} : { dry_run: form.dryRun }),
    };
    try {
      await this.#call("POST", `/dags/${name(dagId)}/dagRuns`, { dag_run_id: runId, logical_date: null, conf });
    } catch (error) {
      if (!(error instanceof AirflowError && error.status === 409)) throw error; // 409: an earlier call started it
    }
    return runId;
  }

  async state(dagId: string, runId: string): Promise<RunState> {
    const run = await this.#call<{ state: RunState }>("GET", runPath(dagId, runId));
    return run.state;
  }

  /** Wait for the end of the run. Not for a serverless function, whose time limit is shorter than a batch's. */
  async wait(dagId: string, runId: string, everySeconds = 5): Promise<RunState> {
    for (;;) {
      const state = await this.state(dagId, runId);
      if (state === "success" || state === "failed") return state;
      await seconds(everySeconds);
    }
  }

  /** The result of the run so far. */
  async result(dagId: string, runId: string): Promise<RunResult> {
    const state = await this.state(dagId, runId);
    const all = await this.#instances(dagId, runId);
    const failed = all.filter((each) => each.state === "failed").slice(0, LISTED_REASONS);
    const reasons = new Map<TaskInstance, string | undefined>();
    for (const each of failed) reasons.set(each, await this.#reason(dagId, runId, each));
    const run = await this.#xcom<{ execution_id: string; business_date: string }>(dagId, runId, "open_run", "run");
    const totals =
      state === "success"
        ? await this.#xcom<{ total_tenants: number; success_count: number; records: number }>(
            dagId,
            runId,
            "close_run",
            "return_value",
          )
        : undefined;
    return {
      runId,
      state,
      executionId: run?.execution_id,
      businessDate: run?.business_date,
      totals: totals && { tenants: totals.total_tenants, succeeded: totals.success_count, records: totals.records },
      instances: all
        .filter((each) => each.map_index >= 0)
        .map((each) => ({
          name: each.rendered_map_index ?? String(each.map_index),
          taskId: each.task_id,
          mapIndex: each.map_index,
          state: each.state ?? "none",
          reason: reasons.get(each),
        })),
      failedSteps: all
        .filter((each) => each.map_index < 0 && each.state === "failed")
        .map((each) => ({ taskId: each.task_id, reason: reasons.get(each) })),
    };
  }

  /** Run what failed again, and the tasks after it. Returns false if nothing has failed. */
  async rerunFailed(dagId: string, runId: string): Promise<boolean> {
    const failed = (await this.#instances(dagId, runId)).filter((each) => each.state === "failed");
    if (failed.length === 0) return false;
    await this.#call("POST", `/dags/${name(dagId)}/clearTaskInstances`, {
      dag_run_id: runId,
      task_ids: failed.map((each) => (each.map_index < 0 ? each.task_id : [each.task_id, each.map_index])),
      include_downstream: true,
      only_failed: false,
      dry_run: false,
    });
    return true;
  }

  /** End the run. Airflow kills its tasks and starts no others. */
  async cancel(dagId: string, runId: string): Promise<void> {
    await this.#call("PATCH", runPath(dagId, runId), { state: "failed" });
  }

  async #instances(dagId: string, runId: string): Promise<TaskInstance[]> {
    const found: TaskInstance[] = [];
    for (;;) {
      const page = await this.#call<{ task_instances: TaskInstance[]; total_entries: number }>(
        "GET",
        `${runPath(dagId, runId)}/taskInstances?limit=${PAGE}&offset=${found.length}`,
      );
      found.push(...page.task_instances);
      if (page.task_instances.length === 0 || found.length >= page.total_entries) return found;
    }
  }

  /** The error in the log of a failed instance. */
  async #reason(dagId: string, runId: string, instance: TaskInstance): Promise<string | undefined> {
    type Line = { error_detail?: { exc_value: string }[] } | string;
    const path = `${runPath(dagId, runId)}/taskInstances/${name(instance.task_id)}/logs/${instance.try_number}`;
    const log = await this.#unlessMissing<{ content: Line[] }>(`${path}?map_index=${instance.map_index}`);
    const errors = (log?.content ?? []).flatMap((line) => (typeof line === "string" ? [] : (line.error_detail ?? [])));
    return errors.at(-1)?.exc_value;
  }

  async #xcom<T>(dagId: string, runId: string, taskId: string, key: string): Promise<T | undefined> {
    const path = `${runPath(dagId, runId)}/taskInstances/${taskId}/xcomEntries/${key}`;
    return (await this.#unlessMissing<{ value: T }>(path))?.value;
  }

  async #unlessMissing<T>(path: string): Promise<T | undefined> {
    try {
      return await this.#call<T>("GET", path);
    } catch (error) {
      if (error instanceof AirflowError && error.status === 404) return undefined;
      throw error;
    }
  }

  async #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    this.#token ||= await this.#login();
    let response = await this.#send(method, `/api/v2${path}`, body);
    // Airflow answers 403 to a token that has expired, and also to a user without the right.
    if (response.status === 401 || response.status === 403) {
      this.#token = await this.#login();
      response = await this.#send(method, `/api/v2${path}`, body);
    }
    if (!response.ok) throw await refusal(response);
    return (await response.json()) as T;
  }

  async #login(): Promise<string> {
    if ("token" in this.airflow) return this.airflow.token();
    const { username, password } = this.airflow;
    this.#token = "";
    const response = await this.#send("POST", "/auth/token", { username, password });
    if (!response.ok) throw await refusal(response);
    return ((await response.json()) as { access_token: string }).access_token;
  }

  /** Send the request, again after a network error or an answer of 500 and above. Airflow answers 500 also to a deadlock. */
  async #send(method: string, path: string, body?: unknown): Promise<Response> {
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await this.#fetch(method, path, body);
        if (response.status < 500 || attempt === ATTEMPTS) return response;
        await response.body?.cancel();
      } catch (error) {
        if (attempt === ATTEMPTS) throw error;
      }
      await seconds(attempt);
    }
  }

  #fetch(method: string, path: string, body?: unknown): Promise<Response> {
    return fetch(this.airflow.url + path, {
      method,
      headers: {
        Accept: "application/json",
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...(this.#token ? { Authorization: `Bearer ${this.#token}` } : {}),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(REQUEST_SECONDS * 1000),
      cache: "no-store", // Next.js would answer from its cache
    });
  }
}

const name = encodeURIComponent;

function seconds(count: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, count * 1000));
}

function runPath(dagId: string, runId: string): string {
  return `/dags/${name(dagId)}/dagRuns/${name(runId)}`;
}

/** Airflow's message: a text, or a list of the fields that are wrong (422). */
async function refusal(response: Response): Promise<AirflowError> {
  const text = await response.text();
  let detail: unknown = text;
  try {
    detail = (JSON.parse(text) as { detail?: unknown }).detail ?? text;
  } catch {
    // no JSON: a proxy answered
  }
  return new AirflowError(response.status, typeof detail === "string" ? detail : JSON.stringify(detail));
}
