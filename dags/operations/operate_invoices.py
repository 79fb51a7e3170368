"""
### 目的
BATCH-018-02 テナント課金計算が作った請求書を、経理の担当者がテナントを指定して操作します。スケジュールはありません。

### 処理の流れ
1. `open_run` — フォームの値を確認し、誰が何をしたかを実行ログに残します。
2. `operate_invoice` — テナントごとに、その月の請求書を 1 件操作します。
3. `close_run` — 会計用 CSV を書き直し、結果を集約します。

### 入力
フォームの値。請求書は対象月とテナントコードで選びます。

| 操作 | 使う欄 | 何が変わるか |
|---|---|---|
| 内訳の表示（読み取りのみ） | | 何も変わりません。`operate_invoice` のログに 1 日単位の内訳が出ます |
| 保留中の請求の承認 | 未締め日を許す | 保留になった請求書を確定し、発行します。未計算のテナントは計算して確定します |
| 請求書の取消（入金前のみ） | 理由 | 入金前の請求書を取り消します。番号は残ります |
| 返還請求書の発行 | 理由 | 請求書を打ち消す返還請求書（適格返還請求書）を発行します。その月はもう一度請求できます |
| 取消して再発行（入金前のみ） | 理由、未締め日を許す、大きな変動を認める | 入金前の請求書を取り消し、計算し直して新しい番号で発行します |

### 出力
`batch.invoice`、`HIS_TenantBilling`、保存先の `invoices/YYYY-MM/`、`batch.execution_log`（`triggered_by` に実行した人）。
料金表か発行者が見本（`sample: true`）の間は何も確定しません。

### 障害対応
* **朝まで待てるか**: 手動実行なので、実行した人が判断します。
* **どこを見るか**: 赤い `operate_invoice` のインスタンス名がテナントコードです。理由はそのログの最後に 1 文で出ます。
* **再実行**: 原因を除いてから、そのインスタンスだけを下流ごと消去（Clear）。操作済みの請求書をもう一度操作しません。
  実行全体（`open_run` から）を消去すると、新しい操作になります。
* **バッチのページ**: DAG `batch_018_02_tenant_billing`
"""

from airflow.sdk import Param, chain

from include.catalog import OPERATE_INVOICES
from include.operations import invoice_operations
from include.operations.forms import INVOICES
from skill_batch.batch_flow import BatchFlow
from skill_batch.batches.tenant_billing import allow_incomplete
from skill_batch.dag_factory import operation_dag, operation_param, tenants_param


@operation_dag(
    OPERATE_INVOICES,
    doc_md=__doc__,
    params={
        "operation": operation_param(OPERATE_INVOICES, INVOICES),
        "business_date": Param(
            None,
            type=["null", "string"],
            format="date",
            title="業務日（対象月）",
            description="請求の対象月のどれか 1 日（日本時間、YYYY-MM-DD）。空欄なら前月。",
        ),
        "tenants": tenants_param("操作するテナントのコード（1行に1件）。必須です。"),
        "reason": Param(
            "",
            type=["null", "string"],
            title="理由",
            description="必須です。請求書の記録に残ります。",
            section="取消・返還・再発行",
        ),
        "allow_incomplete": allow_incomplete(section="承認・再発行"),
        "accept_change": Param(
            False,
            type="boolean",
            title="大きな変動を認める",
            description="前月から大きく変わる請求額や、特定できない利用者の多い月を、確認のうえで認めます。",
            section="再発行",
        ),
    },
)
def operate_invoices() -> None:
    """Check the form, then do the operation on each named tenant's invoice."""
    flow = BatchFlow(OPERATE_INVOICES, invoice_operations)
    run, shards = flow.open_run()
    operate_invoice = flow.mapped_task().partial(run=run).expand(shard=shards)
    chain(operate_invoice, flow.close_run())
