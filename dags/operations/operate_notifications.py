"""
### 目的
BATCH-019-02 通知失敗リトライが送れなかった通知と、停止したチャネルを、運用担当者が操作します。スケジュールはありません。

### 処理の流れ
1. `open_run` — フォームの値を確認し、誰が何をしたかを実行ログに残します。
2. `operate_messages` — テナントごとに操作します。再送と再開では、続けて送信します。
3. `close_run` — 結果を集約します。

### 入力
フォームの値。通知はメッセージID（「一覧」に出ます）で選びます。テナントコードが空欄なら、稼働中の全テナントが対象です。

| 操作 | 使う欄 | 何が変わるか |
|---|---|---|
| 一覧（読み取りのみ） | | 何も変わりません。`operate_messages` のログに、停止中のチャネルと、待機・保留・失敗の通知が出ます |
| 選んだ通知の再送 | メッセージID | 送信待ちに戻して送信します。停止中のチャネルも再開します |
| 選んだ通知の破棄 | メッセージID | もう送信しません |
| 選んだ通知を送信済みにする | メッセージID | 届いたと確認できた通知です。もう送信しません |
| 停止中のチャネルの再開 | | チャネルを再開し、待機中の通知を送信します |
| 送信を止めた宛先の一覧（読み取りのみ） | メールアドレス（省略できます） | 何も変わりません。理由と期間がログに出ます |
| 送信を止めた宛先の再開 | テナントコード、メールアドレス | 次の通知から、その宛先に送信します |

### 出力
`batch.outbox`、`batch.channel_circuit`、`batch.suppressed_address`、`HIS_NotificationLog`、
`batch.execution_log`（`triggered_by` に実行した人）

### ヒント
* **バッチのページ**: DAG `batch_019_02_notification_retry`
"""

from airflow.sdk import Param, chain

from skill_batch.batch_flow import BatchFlow
from skill_batch.dag_factory import operation_dag, operation_param, tenants_param
from include.skillreport.core.catalog import OPERATE_NOTIFICATIONS
from include.skillreport.operations import notification_operations
from include.skillreport.operations.forms import NOTIFICATIONS


@operation_dag(
    OPERATE_NOTIFICATIONS,
    doc_md=__doc__,
    params={
        "operation": operation_param(OPERATE_NOTIFICATIONS, NOTIFICATIONS),
        "tenants": tenants_param("操作するテナントのコード（1行に1件）。空欄なら稼働中の全テナント。"),
        "messages": Param(
            [],
            type=["null", "array"],
            items={"type": "string"},
            title="メッセージID",
            description="通知のID（1行に1件）。必須です。「一覧」に出ます。",
            section="再送・破棄・送信済み",
        ),
        "addresses": Param(
            [],
            type=["null", "array"],
            items={"type": "string"},
            title="メールアドレス",
            description="宛先（1行に1件）。再開には必須です。一覧では、指定した宛先だけを伏せずに出します。",
            section="送信を止めた宛先",
        ),
    },
)
def operate_notifications() -> None:
    """Check the form, then do the operation on each tenant's outbox."""
    flow = BatchFlow(OPERATE_NOTIFICATIONS, notification_operations)
    run, shards = flow.open_run()
    operate_messages = flow.mapped_task().partial(run=run).expand(shard=shards)
    chain(operate_messages, flow.close_run())
