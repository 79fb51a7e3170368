"""
### 目的
BATCH-018-02 テナント課金計算が作った請求書を、経理の担当者がテナントを指定して操作します。スケジュールはありません。

### 処理の流れ
1. `open_run` — フォームの値を確認し、誰が何をしたかを実行ログに残します。
2. `operate_invoice` — テナントごとに、その月の請求書を 1 件操作します。
3. `close_run` — 会計ファイルと書類の索引を書き直し（引き渡した月は除く）、結果を集約します。

### 入力
フォームの値。請求書は対象月とテナントコードで選びます。

| 操作 | 使う欄 | 何が変わるか |
|---|---|---|
| 内訳の表示（読み取りのみ） | | 何も変わりません。`operate_invoice` のログに 1 日単位の内訳が出ます |
| 保留中の請求の承認 | 未締め日を許す | 保留になった請求書を確定し、発行します。未計算のテナントは計算して確定します |
| 請求書の取消（入金前のみ） | 理由 | 入金前の請求書を取り消します。番号は残ります |
| 返還請求書の発行 | 理由 | 請求書の残り全部を打ち消す返還請求書（適格返還請求書）を発行します。その月はもう一度請求できます |
| 一部の返還 | 理由、返還する明細 | 指定した明細の一部だけの返還請求書を発行します。請求書は有効なままです（テナントは 1 件だけ） |
| 取消して再発行（入金前のみ） | 理由、未締め日を許す、大きな変動を認める | 入金前の請求書を取り消し、計算し直して新しい番号で発行します |
| 個別明細の追加 | 利用日、内容、単価、数量、単位、税区分 | 利用日の月の請求書に載る明細（`batch.extra_charge`）を登録します |
| 個別明細の取り消し | 内容（または明細の ID）、利用日 | 確定した請求書に載っていない明細を取り消します |
| 差額の翌月への繰越し | | 確定後に使用量が締め直された月（対象月）の差額を、まだ確定していない月の明細として登録します |
| 会計月の引き渡し | 会計月（初回は理由も可） | その月の日付の書類の会計ファイルを最後に書き、以後は変えません（テナントは指定しません） |
| 入金の記録 | 入金日、入金額、支払方法、参照番号 | 請求書の入金を記録します。全額ならアプリでも PAID になります（テナントは 1 件だけ） |
| 入金の取り消し | 理由、参照番号、入金のある請求書 | 誤って記録した入金か返金を取り消します。行は残ります |
| 入金の付け替え | 理由、参照番号、付け替え先の請求書、入金のある請求書 | 対象月の入金を別の請求書へ移します。入金日は変わりません |
| 返金の記録 | 理由、入金日、入金額、支払方法、参照番号、入金のある請求書 | 過入金から客先へ返したお金を記録します |
| 入金ファイルの取込み | 入金ファイル | 保存先の `payments/` の CSV の入金を 1 回だけ記録します（テナントは指定しません） |
| 督促の停止 | 理由、すべての月 | 対象月の請求書（または、テナントのすべての請求書）の督促を送りません |
| 督促の再開 | すべての月 | 督促の停止を取り消します |

### 出力
`batch.invoice`、`batch.payment`、`batch.reminder_stop`、`HIS_TenantBilling`、保存先の `invoices/YYYY-MM/` と `accounting/YYYY-MM/`、
`batch.execution_log`（`triggered_by` に実行した人）。
料金表か発行者が見本（`sample: true`）の間は何も確定しません。

### ヒント
* **消去するとき**: インスタンスを消去しても、操作済みの請求書をもう一度操作しません。`open_run` を消去すると、新しい操作になります。
* **バッチのページ**: DAG `batch_018_02_tenant_billing`
"""

from airflow.sdk import Param, chain

from skill_batch.batch_flow import BatchFlow
from skill_batch.batches.tenant_billing import allow_incomplete
from skill_batch.dag_factory import operation_dag, operation_param, tenants_param
from include.skillreport.core.catalog import OPERATE_INVOICES
from include.skillreport.operations import invoice_operations
from include.skillreport.operations.forms import INVOICES, TAX_CATEGORIES


def _text(title: str, description: str, section: str = "個別明細の追加") -> Param:
    return Param(None, type=["null", "string"], title=title, description=description, section=section)


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
        "tenants": tenants_param(
            "操作するテナントのコード（1行に1件）。必須です。",
            section="会計月の引き渡しと入金ファイルの取込み以外のすべて",
        ),
        "reason": Param(
            "",
            type=["null", "string"],
            title="理由",
            description="必須です。記録に残り、返還請求書と取消の通知では客先にも見えます。",
            section="取消・返還・再発行・入金の取り消しと付け替え・返金・督促の停止",
        ),
        "credit_lines": Param(
            [],
            type=["null", "array"],
            items={"type": "string"},
            title="返還する明細",
            description="1 行に 1 件。請求書の行番号と税抜の金額（例 2=1500）か、数量（例 2=3x）。",
            section="一部の返還",
        ),
        "allow_incomplete": allow_incomplete(section="承認・再発行"),
        "accept_change": Param(
            False,
            type="boolean",
            title="大きな変動を認める",
            description="前月から大きく変わる請求額や、特定できない利用者の多い月を、確認のうえで認めます。",
            section="再発行",
        ),
        "line_date": Param(
            None,
            type=["null", "string"],
            format="date",
            title="利用日",
            description="この日の月の請求書に載ります（日本時間、YYYY-MM-DD。1 年先まで）。",
            section="個別明細の追加・取り消し",
        ),
        "line_text": _text(
            "内容",
            "請求書に印刷されます。例: 初期設定の作業費。取り消すときは登録した内容か、明細の ID。",
            "個別明細の追加・取り消し",
        ),
        "line_price": _text("単価", "料金表と同じ税込・税抜の単価。負の数は減額。例: 50000、-3000"),
        "line_quantity": _text("数量", "空欄なら 1。"),
        "line_unit": _text("単位", "例: 式、時間。空欄でもかまいません。"),
        "line_tax": Param(
            None,
            type=["null", "string"],
            enum=[None, *TAX_CATEGORIES],
            values_display=TAX_CATEGORIES,
            title="税区分",
            description="空欄なら課税（標準税率）。",
            section="個別明細の追加",
        ),
        "accounting_month": Param(
            None,
            type=["null", "string"],
            format="date",
            title="会計月",
            description="引き渡す月のどれか 1 日（書類の日付の月。YYYY-MM-DD）。終わった月だけです。"
            "前の月の書類も渡し済みなら、初回だけ「理由」を書くとまとめて閉じます。",
            section="会計月の引き渡し",
        ),
        "paid_on": Param(
            None,
            type=["null", "string"],
            format="date",
            title="入金日",
            description="口座に入金された日。返金なら返した日（日本時間、YYYY-MM-DD）。",
            section="入金の記録・返金の記録",
        ),
        "paid_amount": _text(
            "入金額", "請求書の通貨での額。一部でもかまいません。例: 11000", "入金の記録・返金の記録"
        ),
        "paid_method": _text(
            "支払方法", "例: 銀行振込。アプリの請求データにも入ります。", "入金の記録・返金の記録"
        ),
        "paid_reference": _text(
            "参照番号",
            "入金を区別する番号（銀行の照会番号など）。同じ請求書に同じ番号は 1 回だけ記録します。",
            "入金の記録・取り消し・付け替え、返金の記録",
        ),
        "paid_to": _text(
            "付け替え先の請求書",
            "入金を受ける請求書の番号（同じテナント、同じ通貨）。例: INV-2026-11-001",
            "入金の付け替え",
        ),
        "paid_invoice": _text(
            "入金のある請求書",
            "対象月に候補の請求書が複数あるときだけ、番号で選びます。",
            "入金の取り消し・付け替え、返金の記録",
        ),
        "payment_file": _text(
            "入金ファイル", "保存先の payments/ にある CSV の名前。例: 2026-11.csv", "入金ファイルの取込み"
        ),
        "every_month": Param(
            False,
            type="boolean",
            title="すべての月",
            description="対象月の請求書だけでなく、テナントのすべての請求書の督促を止めます（再開します）。",
            section="督促の停止・再開",
        ),
    },
)
def operate_invoices() -> None:
    """Check the form, then do the operation on each named tenant's invoice."""
    flow = BatchFlow(OPERATE_INVOICES, invoice_operations)
    run, shards = flow.open_run()
    operate_invoice = flow.mapped_task().partial(run=run).expand(shard=shards)
    chain(operate_invoice, flow.close_run())
