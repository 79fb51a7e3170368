-- name: save_findings
-- A finding that still exists keeps its date. A fixed finding is deleted.
WITH found AS (
    SELECT DISTINCT ON (finding.subject, finding.code)
        finding.subject,
        finding.code,
        finding.detail,
        finding.english
    FROM jsonb_to_recordset(%(findings)s) AS finding (subject text, code text, detail text, english text)
    ORDER BY finding.subject, finding.code, finding.detail
),

mended AS (
    DELETE FROM batch.setting_finding AS kept
    WHERE
        kept.tenant_id = %(tenant_id)s
        AND starts_with(kept.subject, %(service_prefix)s) = %(of_services)s
        AND kept.subject <> all(%(unanswered)s)
        AND NOT EXISTS (
            SELECT FROM found
            WHERE found.subject = kept.subject AND found.code = kept.code
        )
)

INSERT INTO batch.setting_finding AS kept (tenant_id, subject, code, detail, english, found_on)
SELECT %(tenant_id)s, found.subject, found.code, found.detail, found.english, %(found_on)s
FROM found
ON CONFLICT (tenant_id, subject, code) DO UPDATE SET detail = excluded.detail, english = excluded.english;

-- name: take_unreported_findings
-- Runs in the transaction that stores the e-mail about these findings.
UPDATE batch.setting_finding
SET told_by = %(execution_id)s
WHERE tenant_id = %(tenant_id)s AND told_by IS null
RETURNING subject, detail, english;

-- name: unreported_mail_warnings
-- The installation's mail server warnings that no earlier run of the last week had; on Mondays all. Tenants' outcomes repeat
-- them, so distinct ones are selected first.
WITH warning AS (
    SELECT DISTINCT element.code
    FROM batch.tenant_outcome AS outcome
    CROSS JOIN LATERAL jsonb_array_elements_text(outcome.details -> 'mailWarnings') AS element (code)
    WHERE outcome.execution_id = %(execution_id)s
)

SELECT warning.code
FROM warning
CROSS JOIN batch.execution_log AS run
WHERE
    run.execution_id = %(execution_id)s
    AND (
        %(is_monday)s
        OR NOT EXISTS (
            SELECT
            FROM batch.execution_log AS earlier
            INNER JOIN batch.tenant_outcome AS known ON earlier.execution_id = known.execution_id
            WHERE
                earlier.batch_id = run.batch_id
                AND earlier.started_at BETWEEN run.started_at - interval '7 days' AND run.started_at
                AND earlier.execution_id <> run.execution_id
                AND known.details -> 'mailWarnings' ? warning.code
        )
    )
ORDER BY warning.code;
