-- What an execution did stays true over retries and clears.

-- The figures of committed work (Batch.effects). The attempts of a run add to them, and a run that is opened again takes them
-- over.
ALTER TABLE batch.tenant_outcome ADD COLUMN effects jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN batch.tenant_outcome.effects IS
'What the committed work of all attempts of the Airflow run has done, as figures: messages sent, rows deleted';

CREATE FUNCTION batch.add_figures(known jsonb, further jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN further = '{}' THEN known
    WHEN known = '{}' THEN further
    ELSE (
        SELECT jsonb_object_agg(figure.name, figure.total)
        FROM (
            SELECT each.key AS name, sum(each.value::numeric) AS total
            FROM (
                SELECT * FROM jsonb_each(known)
                UNION ALL
                SELECT * FROM jsonb_each(further)
            ) AS each
            GROUP BY each.key
        ) AS figure
    )
END;
COMMENT ON FUNCTION batch.add_figures(jsonb, jsonb) IS 'The sums of two objects of numbers, by name.';

-- An outcome changes two to four times in a run. No index contains a column that these changes write, and a page keeps room, so
-- that they are heap-only: the indexes are not written again.
ALTER TABLE batch.tenant_outcome SET (fillfactor = 70);
DROP INDEX batch.tenant_outcome_failed;

-- BATCH-018-05 looks up the problems that it last reported for each tenant.
ALTER TABLE batch.tenant_outcome ADD COLUMN told_problems jsonb;
COMMENT ON COLUMN batch.tenant_outcome.told_problems IS
'The serious problems of BATCH-018-05 that a digest has reported to the operators; null: not reported';
UPDATE batch.tenant_outcome
SET told_problems = details -> 'toldProblems'
WHERE details ? 'toldProblems';
DROP INDEX batch.tenant_outcome_told;

-- A task instance is recorded before it checks anything, so that its next try knows whether it is a retry by Airflow.
CREATE TABLE batch.task_opening (
    dag_id text NOT NULL,
    run_id text NOT NULL,
    task_id text NOT NULL,
    map_index integer NOT NULL,
    clear_number integer NOT NULL,
    try_number integer NOT NULL,
    max_tries integer NOT NULL,
    is_cleared boolean NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (dag_id, run_id, task_id, map_index)
);
CREATE INDEX task_opening_by_time ON batch.task_opening (opened_at);
CALL batch.make_platform_table('batch.task_opening');
COMMENT ON TABLE batch.task_opening IS
'The last try of each task instance that opens a run, works on it or closes it.';
COMMENT ON COLUMN batch.task_opening.is_cleared IS
'A user has cleared or deleted the task instance since its first try, or changed the state of its run';
