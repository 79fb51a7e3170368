-- name: digest
SELECT words.line
FROM batch.operator_alert AS alert
CROSS JOIN
    LATERAL jsonb_array_elements_text(jsonb_build_array(alert.message ->> 'title') || (alert.message -> 'lines'))
    WITH ORDINALITY AS words (line, place)
WHERE starts_with(alert.alert_key, 'digest:' || %(execution_id)s || ':') AND alert.channel = 'slack'
ORDER BY alert.created_at, words.place;
