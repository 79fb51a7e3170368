"""The trigger form of BATCH-018-02. Operations on invoices are in its own DAG only: a family's form has no operation."""

from __future__ import annotations

from airflow.sdk import Param


def incomplete_param() -> dict[str, Param]:
    """How BATCH-018-02 bills; also in its family's DAG."""
    return {
        "allow_incomplete": Param(
            False,
            type="boolean",
            title="未締め日を許す",
            description="使用量が締まっていない日があっても、締まっている日だけで請求します。",
        ),
    }


def billing_params() -> dict[str, Param]:
    """What the batch's own DAG asks for."""
    return {
        "action": Param(
            "bill",
            type="string",
            enum=["bill", "explain", "void", "credit"],
            values_display={
                "bill": "請求（計算・確定・発行）",
                "explain": "内訳の表示（何も変更しません）",
                "void": "請求書の取消（入金前のみ）",
                "credit": "返還請求書の発行",
            },
            title="操作",
            description="「請求」以外は、業務日の月の請求書に対して、指定したテナントだけに行います。",
        ),
        "approve": Param(
            [],
            type=["null", "array"],
            items={"type": "string"},
            title="請求額の承認",
            description="前月から大きく変わって保留になった請求書を確定してよいテナントのコード（1行に1件）。",
        ),
        **incomplete_param(),
        "force_recalculate": Param(
            False,
            type="boolean",
            title="取消して再発行",
            description="確定済みの請求書を取り消し、計算し直して新しい番号で発行します。入金済みのものは対象外です。",
        ),
        "reason": Param(
            "",
            type=["null", "string"],
            title="理由",
            description="取消・返還・再発行に必要です。請求書の記録に残ります。",
        ),
    }
