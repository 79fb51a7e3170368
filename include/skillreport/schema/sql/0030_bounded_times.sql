-- Times of the application that are no dates: infinity, years that Python cannot represent, and the usual placeholders in the
-- years 1 and 9999. The planner puts the text of these functions in the place of a call, so a comparison can use an index.
CREATE FUNCTION batch.is_dated(moment timestamp) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN moment >= '0002-01-01' AND moment < '9999-01-01';
COMMENT ON FUNCTION batch.is_dated(timestamp) IS 'Whether a time is in the years 2 to 9998.';

CREATE FUNCTION batch.bounded(moment timestamp) RETURNS timestamp
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN moment < '0002-01-01' THEN '0001-12-31' WHEN moment >= '9999-01-01' THEN '9999-01-01' ELSE moment END;
COMMENT ON FUNCTION batch.bounded(timestamp) IS 'The time; before the year 2 its eve, after the year 9998 the next day.';
