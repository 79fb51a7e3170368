"""The operators' description of each task in Airflow's UI: what it does, and whether it may be cleared."""

from __future__ import annotations

from collections.abc import Mapping

from include.skillreport.core.run_spec import OperationSpec, RunSpec


def _failed_only(reason: str = "") -> str:
    return "失敗したインスタンスだけを、下流ごと消去してください" + (f"（{reason}）。" if reason else "。")


_FAILED_ONLY = _failed_only()
_NOTHING_TWICE = _failed_only("二重には処理しません")

# By task id. A task of all operations, or of one batch or operation, may have its own text.
_DOCS: Mapping[str, str] = {
    # Every batch
    "open_run": "パラメータとデータベースを確認し、実行ログを開始して、対象を選びます。"
    "下流ごと消去すると、同じ業務日を最初からやり直します。",
    "close_run": "結果を数え、実行ログに書き、アラートを送ります。消去してもかまいません（数え直すだけです）。",
    "request_approval": "保留したものがあれば、人への承認依頼を出し、答えを待たずに終わります。消去してもかまいません。",
    "announce": "全テナントの処理が終わったことを、待っているほかの DAG に告げます。消去してかまいません（もう一度告げるだけです）。",
    # Own steps
    "read_logs": "アプリの表を 1 回だけ読み、テナントごとの中間表に置きます。下流ごと消去してかまいません（読み直します）。",
    "read_mailbox": "不達、苦情、配信停止のメールを受信箱から読みます。次の実行が残りのメールを読むので、消去は不要です。",
    "dump": "データベース全体をダンプし、保存先に置きます。下流ごと消去してかまいませんが、完成したバックアップは取り直しません。",
    "check": "ダンプを検証用データベースに復元し、元と比べます。下流ごと消去してかまいませんが、違いがあったときは `dump` から消去します。",
    "watch_runs": "全バッチの実行を見回り、止まった実行、遅れ、始まらなかった予定を知らせます。"
    "消去してかまいません（同じことを二度は知らせません）。",
    "wait_for_usage": "月末日の使用量が締まるのを、ワーカーを使わずに待ちます。下流ごと消去してかまいません（待ち直します）。",
    "read_files": "銀行のファイルを読み、振込を未入金の請求書と照合します。下流ごと消去してかまいません（同じ振込は 1 回だけ数えます）。",
    "change_contracts": "入力かファイルの契約の変更を、1 つのトランザクションで登録します。"
    "下流ごと消去してかまいません（契約は二重に変わりません）。",
    # Approvals
    "list_held": "保留中のものを一覧にし、なければここで終わります。下流ごと消去すると、承認依頼を出し直します。",
    "ask": "一覧を「要対応項目」に出し、人の答えを待ちます。下流ごと消去すると、承認依頼を出し直します。",
    "record_answer": "誰が、いつ、何と答えたかを記録します。消去してかまいません（同じ答えを書くだけです）。",
    # Mapped tasks of the batches
    "export_tenant": f"検証用データベースから、テナントごとの CSV を書き出します。{_FAILED_ONLY}",
    "clean_up_logs": f"ログの種別ごとに、保存期間を過ぎたファイルと行を整理します。{_failed_only('続きから進みます')}",
    "update_statistics": f"テナントごとに、その日の統計を書き込みます。{_NOTHING_TWICE}",
    "create_report": f"テナントごとに月次レポートを作り、管理者への通知を登録します。{_failed_only('通知は増えません')}",
    "aggregate_usage": f"テナントごとに使用量を書き込み、その日を締めます。{_NOTHING_TWICE}",
    "bill_tenant": f"テナントごとに請求を計算し、確定し、請求書を保存します。{_failed_only('確定した請求書は変わりません')}",
    "check_tenant": f"テナントごとに直前の 1 時間を判定し、異常の開始と終了を記録します。{_NOTHING_TWICE}",
    "detect_inactivity": f"テナントごとに使われていない日数を数え、段階の変化を記録します。{_NOTHING_TWICE}",
    "sync_settings": f"テナントごとに設定をプランと比べ、直せるものを直します。{_failed_only('人が変えた値は上書きしません')}",
    "send_notifications": f"テナントごとに通知を送信箱へ登録し、送ります。{_failed_only('送った通知は二度送りません')}",
    "retry_notifications": f"期限の来た通知を再送します。{_failed_only('送った通知は二度送りません')}",
    "sync_directory": f"テナントとサービスごとに名簿を読み、連携を更新します。{_NOTHING_TWICE}",
    "archive_notifications": f"テナントごとに古い通知ログを書庫に保存し、確かめてから削除します。{_failed_only('続きから進みます')}",
    "check_settings": f"テナントごとに通知の設定を調べ、問題を知らせます。{_NOTHING_TWICE}",
    # Mapped tasks of the operations
    "operate_invoice": f"テナントごとに請求書を操作します。{_failed_only('操作済みの請求書は、もう一度操作しません')}",
    "operate_messages": f"テナントごとに通知を操作します。{_failed_only('送った通知は二度送りません')}",
    "restore": f"テナントごとに（全体の復元では 1 回だけ）バックアップを復元します。{_FAILED_ONLY}",
    "undo_changes": f"テナントごとに設定同期の変更を元に戻します。{_failed_only('その後に人が変えた設定は戻しません')}",
    "approve_invoice": f"承認したテナントの請求書を確定します。{_failed_only('確定した請求書は変わりません')}",
    "record_payments": f"テナントごとに、確かな振込を入金として記録します。{_failed_only('入金は二重になりません')}",
    "compare_invoices": f"確定した請求書が今の契約なら変わるかを、テナントごとに計算します。{_failed_only('請求書は変えません')}",
    "apply_answer": f"待っている通知を、答えのとおりに送信待ちへ戻すか破棄します。{_NOTHING_TWICE}",
    "offboard": f"テナントの退会の段階を 1 つ行います。{_FAILED_ONLY}",
    "delete_tenant": "承認したテナントを、もう一度書き出してから削除します。途中で止まったら、下流ごと消去すると続きから削除します。",
    # Tasks with one id and several meanings
    "operation.open_run": "フォームの値か答えを確認し、誰が何をしたかを実行ログに残します。"
    "消去すると新しい操作になるので、失敗したインスタンスだけを消去してください。",
    "APPROVE-CONTRACTS.apply_changes": "承認した契約の変更を登録します。下流ごと消去してかまいません（契約は二重に変わりません）。",
    "APPROVE-DIRECTORY-CHANGES.apply_changes": "承認したテナントの名簿を読み直し、連携の解除を含めて適用します。"
    f"{_NOTHING_TWICE}",
}


def task_doc(spec: RunSpec, task_id: str) -> str | None:
    """The Markdown text of a task of a batch or an operation; None if there is none."""
    own = (f"{spec.id}.{task_id}", *([f"operation.{task_id}"] if isinstance(spec, OperationSpec) else []))
    return next((_DOCS[name] for name in (*own, task_id) if name in _DOCS), None)
