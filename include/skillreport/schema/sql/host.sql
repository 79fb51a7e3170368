-- The application's database: its deployment, known facts about its tables, and the functions of the views.

CREATE TABLE batch.deployment (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    host_variant text NOT NULL CHECK (host_variant IN ('base', 'multi_tenant')),
    revision text NOT NULL,
    oldest_code text NOT NULL,
    deployed_at timestamptz NOT NULL,
    with_deletion boolean NOT NULL
);
CALL batch.make_platform_table('batch.deployment');
CREATE POLICY deployer ON batch.deployment TO batch_owner USING (true) WITH CHECK (true);
COMMENT ON TABLE batch.deployment IS
'The variant of the host database and the revision of our schema, at the last deployment. One row.';
COMMENT ON COLUMN batch.deployment.oldest_code IS
'The oldest version of the batches whose code can use this schema. Older code refuses to run.';
COMMENT ON COLUMN batch.deployment.with_deletion IS
'Whether an administrator has allowed the batches to delete rows of the application (upgrade --with-deletion)';

-- Useful indexes on the application's tables, as created or found. `check` reports an index of this list that the application
-- drops.
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

-- A source that was never written is searched once a day, because that reads the entire table. A source emptied by a clean-up
-- still counts as written.
CREATE TABLE batch.host_source (
    source text PRIMARY KEY,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    has_rows boolean NOT NULL DEFAULT true,
    looked_at timestamptz NOT NULL DEFAULT now(),
    last_day date
);
CALL batch.make_platform_table('batch.host_source');
COMMENT ON TABLE batch.host_source IS
'Tables of the application that have had a row. A figure whose source never had a row is absent, not 0.';
COMMENT ON COLUMN batch.host_source.has_rows IS 'False: the source was looked for, and had no row';
COMMENT ON COLUMN batch.host_source.last_day IS
'The newest day (Asia/Tokyo) for which a run has read rows of the source; null: not known';

-- The application may spell a status in any case. A comparison with this list can use an index on the column; upper(column)
-- cannot. The planner evaluates the function once.
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

CREATE FUNCTION batch.folded(name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
RETURN translate(
    replace(replace(lower(normalize(name, nfkc)), '(株)', '株式会社'), '(有)', '有限会社'),
    '髙﨑嵜濵濱邉邊齋齊德廣國澤櫻惠眞榮瀨黑槇栁桒𠮷', '高崎崎浜浜辺辺斎斉徳広国沢桜恵真栄瀬黒槙柳桑吉'
);
COMMENT ON FUNCTION batch.folded(text) IS
'A name as a search compares it: width, case, old and variant characters, and short forms of 株式会社 make no difference.';

-- Application times that are not dates: infinity, years that Python cannot represent, and the usual placeholders in the years 1
-- and 9999. The planner inlines these functions, so a comparison can use an index.
CREATE FUNCTION batch.is_dated(moment timestamp) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN moment >= '0002-01-01' AND moment < '9999-01-01';
COMMENT ON FUNCTION batch.is_dated(timestamp) IS 'Whether a time is in the years 2 to 9998.';

CREATE FUNCTION batch.bounded(moment timestamp) RETURNS timestamp
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN moment < '0002-01-01' THEN '0001-12-31' WHEN moment >= '9999-01-01' THEN '9999-01-01' ELSE moment END;
COMMENT ON FUNCTION batch.bounded(timestamp) IS 'The time; before the year 2 its eve, after the year 9998 the next day.';

-- Users paste addresses with full-width blanks, tabs and line ends around them. Mail servers reject such addresses permanently.
CREATE FUNCTION batch.trimmed_address(typed text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nullif(btrim(typed, E' \t\r\n\u3000\u00a0'), '');
COMMENT ON FUNCTION batch.trimmed_address(text) IS
'An address without spaces, tabs, line ends, full-width and no-break spaces around it; null if nothing remains.';
