// app/api/batches/[batchId]/route.ts: POST starts a batch and answers 202; GET ?run=… answers its result.
import { AirflowError, BatchRunner, type BatchForm } from "@/lib/run-batch";

// The batches that the application may run.
const BATCHES: Record<string, string> = {
  "BATCH-018-01": "batch_018_01_tenant_usage",
  "BATCH-018-05": "batch_018_05_settings_sync",
};

const runner = new BatchRunner({
  url: process.env.AIRFLOW_URL!,
  username: process.env.AIRFLOW_USER!,
  password: process.env.AIRFLOW_PASSWORD!,
});

type Context = { params: Promise<{ batchId: string }> };

// Replace this by the application's own check. Every visitor could start a batch without it.
async function isAdministrator(request: Request): Promise<boolean> {
  return request.headers.get("authorization") === `Bearer ${process.env.BATCH_ROUTE_SECRET}`;
}

async function answer(request: Request, context: Context, act: (dagId: string) => Promise<Response>): Promise<Response> {
  if (!process.env.BATCH_ROUTE_SECRET || !(await isAdministrator(request))) return new Response("Unauthorized", { status: 401 });
  const dagId = BATCHES[(await context.params).batchId];
  if (!dagId) return new Response("Not Found", { status: 404 });
  try {
    return await act(dagId);
  } catch (error) {
    if (!(error instanceof AirflowError)) throw error;
    // 400: the form has a wrong value. Everything else is a matter of the server.
    return Response.json({ error: error.message }, { status: error.status === 400 ? 400 : 502 });
  }
}

export function POST(request: Request, context: Context): Promise<Response> {
  return answer(request, context, async (dagId) => {
    const { runId, ...form } = (await request.json()) as BatchForm & { runId?: string };
    return Response.json({ runId: await runner.start(dagId, form, runId) }, { status: 202 });
  });
}

export function GET(request: Request, context: Context): Promise<Response> {
  return answer(request, context, async (dagId) => {
    const runId = new URL(request.url).searchParams.get("run") ?? "";
    return Response.json(await runner.result(dagId, runId));
  });
}
