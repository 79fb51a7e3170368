"""The kinds of alerts about runs, by their title. The table of docs/operate/night.md is generated from them.

The scheduler and the triggerer import this module, sometimes without ``include``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AlertKind:
    """A kind of alert. Its Japanese texts say when it is sent, how urgent it is, and what an operator does.

    ``severity`` is the batch's (``include.skillreport.core.catalog.BatchSpec.run_severity``) or a fixed one.
    """

    name: str
    when: str
    severity: str
    what_to_do: str

    @property
    def action(self) -> str:
        """The alert's line about what to do."""
        return f"対処: {self.what_to_do}。"

    def title(self, batch_id: str, batch_name: str, count: str = "") -> str:
        """The title of such an alert about a batch. ``count`` says how much is affected."""
        return f"{self.name}: {batch_id} {batch_name}{f'（{count}）' if count else ''}"


_OF_THE_BATCH = "バッチの重要度（MEDIUM のバッチも HIGH）"

FAILED_RUN = AlertKind(
    "バッチ実行失敗",
    "実行かテナントが失敗した、または実行全体の問題がある。実行 1 回につきバッチごとに 1 通。消去して再び失敗すると、もう 1 通",
    _OF_THE_BATCH,
    "アラートの「対処」のとおりにする（「失敗の種類」）",
)
LATE_RUN = AlertKind(
    "バッチ制限時間超過",
    "実行中に、制限時間を超えた",
    _OF_THE_BATCH,
    "画面で実行中のタスクのログを確認する。進んでいれば待ち、止まっていれば、そのタスクを消去（Clear）する。二重に処理されない",
)
SLOW_RUN = AlertKind(
    "バッチ性能低下",
    "成功した直近 20 回の平均の 1.5 倍を超え、30 秒より長くかかった（5 回以上の記録があるとき）",
    "MEDIUM",
    "急がない。実行中なら待つ。テナント数・データ量の増加か、データベースの負荷を調べる",
)
MISSED_RUN = AlertKind(
    "バッチ未開始",
    "予定の時刻に実行が始まらなかった（BATCH-018-03 が毎時調べる）。続く間は 1 日に 1 通。一時停止中の DAG の分は送らない",
    _OF_THE_BATCH,
    "「Dag 取り込みエラー」とスケジューラーを確認して直す。そのあとで実行（Trigger）するかと、その業務日は、アラートにある",
)
RESUMPTION = AlertKind(
    "再開の承認",
    "停止や障害のあとの最初の実行が、人に届くものを止めている。答えるまで 1 日に 1 通（BATCH-018-03 が毎朝 9 時に送る）",
    _OF_THE_BATCH,
    "「承認の画面を開く」で、送るか破棄するかを答える。答えるまで、このバッチの通知は送られない",
)
LOST_REQUEST = AlertKind(
    "承認依頼の実行がない",
    "答えを待つ承認依頼の実行が、Airflow から消えたか、答えを記録せずに終わった（BATCH-018-03 が毎時調べる）。"
    "消えたものは、もう一度出す。終わったものは 1 日に 1 通",
    _OF_THE_BATCH,
    "「承認の画面を開く」で答える。消えたのなら、管理者が Airflow の掃除（airflow db clean）から承認の DAG を外す",
)
OLD_ENTRY = AlertKind(
    "承認を待つ登録",
    "ほかの人の承認を 30 日より長く待つ登録がある（BATCH-018-03 が週に 1 通送る）",
    _OF_THE_BATCH,
    "ボードの「請求」で、対象月の保留中の請求、個別明細、返還を承認するか取り下げ、訂正は「送付する」で送る。"
    "自分が登録したものは、ほかの人に頼む（設定 billing.second_person が none なら、金額を入力して承認する）",
)
ALERT_KINDS = (FAILED_RUN, LATE_RUN, SLOW_RUN, MISSED_RUN, RESUMPTION, LOST_REQUEST, OLD_ENTRY)
