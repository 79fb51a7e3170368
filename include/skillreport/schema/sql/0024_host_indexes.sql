-- The indexes on the application's tables that the batches profit from, as they were created or found. An index of this list that
-- the application drops later is a finding of `check`.
CREATE TABLE batch.host_index (
    table_name text NOT NULL,
    column_name text NOT NULL,
    index_name text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (table_name, column_name)
);
CALL batch.make_platform_table('batch.host_index');
CREATE POLICY deployer ON batch.host_index TO batch_owner USING (true) WITH CHECK (true);
COMMENT ON TABLE batch.host_index IS
'Indexes on tables of the application, by the table and its first indexed column. The deploying login writes it.';

-- The application may spell a status in any case. A comparison with this list can use an index on the column; one with
-- upper(column) cannot. The planner evaluates the function once.
CREATE FUNCTION batch.spellings(word text) RETURNS text[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
    WITH RECURSIVE spelled (spelling, rest) AS (
        SELECT '' AS spelling, word AS rest
        UNION
        SELECT spelled.spelling || letter.form, substr(spelled.rest, 2)
        FROM spelled
        CROSS JOIN unnest(ARRAY[upper(left(spelled.rest, 1)), lower(left(spelled.rest, 1))]) AS letter (form)
        WHERE spelled.rest <> ''
    )

    SELECT array_agg(spelling)
    FROM spelled
    WHERE rest = ''
);
COMMENT ON FUNCTION batch.spellings(text) IS 'A word in upper and lower case, letter by letter: 2 to the power of its length.';
