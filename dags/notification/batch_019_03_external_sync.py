"""
### 目的
Slack・Microsoft Teams・LINE WORKS の名簿とチャンネルを毎日読み、社員とアカウントの連携を合わせます。アーカイブされたり、なくなったりした
チャンネルへの通知設定を無効にし、テナントの管理者に知らせます。**社員のデータは変えません。解除するのは連携だけです。**

### 処理の流れ
1. `open_run` — パラメータとデータベースを確認し、実行ログを開始。稼働中のテナントと、使っているサービスを選びます。
2. `sync_directory` — **テナントとサービスごと**に、名簿を最後まで読み（途中で失敗したら何も変えません）、計画を立てて保存し、1 つの
   トランザクションで適用します。
3. `request_approval` — 適用を保留した名簿があれば、DAG `approve_directory_changes` を実行し、画面（Required Actions）に承認依頼を出します。
   答えは待ちません。
4. `close_run` — 結果を集約します。適用を保留した名簿があれば、運用者に 1 通知らせます。

連携は、連携済みのアカウント ID、社員番号、確認済みで双方に 1 件だけのメールアドレスの順に探します。あいまいなものは連携せず、報告します。

### 入力
`SYS_IntegrationConfig`、`MST_Employee`、`MST_NotificationSettings`、`batch.account_link`、各サービスの名簿とチャンネル

### 出力
`batch.account_link`（連携）、`batch.directory_account`・`batch.directory_channel`（名簿の写し）、`batch.sync_plan`（計画と理由）、
`batch.directory_change`（変更の履歴）、`batch.directory_sync`、`MST_NotificationSettings`（`is_enabled`）、`batch.outbox`

### ヒント
* **このバッチの理由**:
    * *トークン・権限がない* — テナントの管理者に、アプリの権限の追加を依頼してください。名簿を使わないなら、外部連携の
      `connection_config` に `"directory_sync": false`。
    * *名簿を読み終わらない* — サービスの障害です。Airflow の再試行は続きから読み、終わった実行を消去すると最初から読みます。
    * *適用を保留した* — 失敗ではありません。アカウントか宛先チャンネルの 2 割（50 件未満なら 25 件）超または全部が消えたか、
      名簿が空、メールアドレスが 1 件もないかです。
      サービスの管理画面で確認し、正しければ、画面の確認（通知のリンク）で承認します。テナントを指定して「大量の解除を許可」で
      実行すると、連携とチャンネルの両方の上限を外して適用します（空の名簿は許可できません）。
    * *あいまい* — 失敗ではありません。正しい組を `batch.account_link` に `matched_by = 'operator'` で登録すると、以後はそれを使います。
* **計画**: `sync_directory` のログと `batch.sync_plan` にあります。`dry_run` を指定して Trigger すると、計画だけを残します。
"""

from airflow.sdk import DAG, Param

from skill_batch.dag_factory import batch_dag
from include.skillreport.core.catalog import EXTERNAL_SYNC

batch_019_03_external_sync: DAG = batch_dag(
    EXTERNAL_SYNC,
    file=__file__,
    params={
        "allow_many": Param(
            False,
            type="boolean",
            title="大量の解除を許可",
            description="名簿から消えたアカウントや宛先のチャンネルが上限を超えていても、この実行に限り適用します。"
            "サービスの管理画面で名簿を確認し、テナントコードを指定してください。",
        ),
    },
)
