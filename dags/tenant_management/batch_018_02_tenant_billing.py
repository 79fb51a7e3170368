"""
### 目的
テナントごとに前月（日本時間）の料金を計算し、適格請求書を確定・発行します。金額を扱うため最重要（CRITICAL）です。

### 処理の流れ
1. `open_run` — パラメータとデータベースを確認し、実行ログを開始。稼働中のテナントと、対象月以降に利用を
   終え、その月の料金が残るテナントを選びます。
2. `wait_for_usage` — 月末日の使用量が締まる（BATCH-018-01）のを、ワーカーを使わずに最大 2 時間待ちます。
3. `bill_tenant` — テナントごとに計算・採番・確定し、請求書（PDF・JSON）を保存して、請求先への通知を登録します。
4. `request_approval` — 保留した請求書があれば、DAG `approve_invoices` を実行し、画面（Required Actions）に承認依頼を出します。
   答えは待ちません。停止後の最初の予定の実行は、すべての請求書を下書きのまま保留し、緑で終わります。
5. `close_run` — 書類の一覧（`index.csv`）と会計用ファイルを書き、結果を集約します。1 件でも失敗か保留があれば赤くなり、通知が 1 通出ます。
   確定後に使用量が変わった月、請求していない契約や明細、宛先のない請求書は「請求の確認事項」として運用担当に届きます。
6. `announce` — 全テナントの請求が確定すれば、待っているほかの DAG に告げます。実行の結果には影響しません。

### 入力
設定の `billing`（発行者など）とそこで指定した料金表、`batch.usage_day`（締め済みの日）、`batch.plan_change`、
`batch.discount`、`batch.commitment`、`batch.extra_charge`、`batch.metered_amount`、`batch.billing_profile`、`batch.order_number`、
`batch.exchange_rate`、`MST_Tenant`、発行者のロゴと角印（設定にあれば）

### 出力
`batch.invoice`、`HIS_TenantBilling`、保存先の `invoices/YYYY-MM/`（`INV-YYYY-MM-NNN.pdf`、`.json`、`index.csv`）と
`accounting/YYYY-MM/`（計上日の月ごとの会計ファイル。確定するまで名前に「未確定」が付き、確定した月は書き換えません）、
`HIS_NotificationLog`（請求先への通知、送信待ち）。料金表か発行者が見本（`sample: true`）の間は何も確定せず、`batch.invoice` の下書きと
`samples/YYYY-MM/` の「見本」の書類だけを作り、運用担当に 1 通知らせます。

### ヒント
* **このバッチの理由**:
    * *料金表・発行者が見本* — 自社の料金表と発行者を環境変数 `SKILL_BATCH_SETTINGS` の設定ファイルで指定し、同じ業務日で実行。
    * *利用者を特定できない操作・従業員のないアカウントが多い（保留）* — アプリケーションの記録を直したときは、対象月の各日で
      BATCH-018-01 を実行し、`bill_tenant` を消去。
    * *`open_run` がスキップ* — 請求を始める月（設定 `billing.first_month`）より前の月です。何も請求していません。
    * *HIS_TenantBilling か保存先に請求書がある* — スキーマ `batch` を作り直したか、別のシステムが請求した月です。設定
      `billing.first_month` を、まだ請求していない最初の月にして、`open_run` を消去。
    * *「請求の確認事項」の通知* — 各見出しの → の行のとおりに対応。赤くはなりません。
    * *取消か全額返還をした月* — テナントコードのない実行は請求せず、番号を報告します。
      請求し直すなら、DAG `operate_invoices` の操作「請求のやり直し（新番号）」。
* **欠けたまま請求する**: `allow_incomplete` を指定して Trigger。
* **確認だけ**: `dry_run` とテナントコードを指定して Trigger。`bill_tenant` のログに計算の内訳が出ます。発行済みの請求書の内訳は、
  DAG `operate_invoices` の操作「内訳の表示」。
* **間違って発行した**: DAG `operate_invoices` で、入金前なら操作「取消して再発行」。入金後なら操作「全額の返還」の後に
  操作「請求のやり直し（新番号）」。
"""

from airflow.sdk import DAG

from skill_batch.batches.tenant_billing import allow_incomplete
from skill_batch.dag_factory import batch_dag
from include.skillreport.core.catalog import TENANT_BILLING

batch_018_02_tenant_billing: DAG = batch_dag(
    TENANT_BILLING,
    file=__file__,
    params={"allow_incomplete": allow_incomplete()},
)
