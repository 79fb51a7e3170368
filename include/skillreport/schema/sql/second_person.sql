-- Entries that a second user approves (billing/second_person.py). Each kind's table has entered_by, a column with the approver,
-- and the trigger second_person, which fires when a waiting row is approved or stops waiting.

CREATE FUNCTION batch.person_key(person text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lower(normalize(person_key.person, NFKC))
$$;
COMMENT ON FUNCTION batch.person_key(text) IS 'Equal for all spellings of a user name: without regard to case and width.';

-- The argument is the approver's column.
CREATE FUNCTION batch.guard_second_person() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    author text := to_jsonb(CASE TG_OP WHEN 'INSERT' THEN NEW ELSE OLD END) ->> 'entered_by';
BEGIN
    IF coalesce(batch.person_key(to_jsonb(NEW) ->> TG_ARGV[0]) = batch.person_key(author), true) THEN
        RAISE check_violation USING
            MESSAGE = format('this row of %s waits for somebody else''s approval: %s has entered it', TG_TABLE_NAME, author),
            CONSTRAINT = 'second_person';
    END IF;
    RETURN NEW;
END;
$$;
REVOKE EXECUTE ON FUNCTION batch.guard_second_person() FROM public;
