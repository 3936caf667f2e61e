-- The audit log. Rows are added and read, never changed: see the trigger and the grants at the end.
CREATE TABLE events (
    -- The order of arrival. Appends hold an advisory lock, so that it is also the order of commit.
    seq         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The event's own id: a second delivery changes nothing.
    id          uuid        NOT NULL CONSTRAINT events_id_key UNIQUE,
    -- `domain.action`
    type        text        NOT NULL,
    version     integer     NOT NULL CHECK (version >= 1),
    source      text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    -- Not now(): that is when the transaction began, before it waited for its turn.
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    subject_id  uuid,
    actor_kind  text        NOT NULL,
    actor_id    uuid,
    actor_name  text,
    outcome     text        NOT NULL,
    severity    text        NOT NULL,
    reason      text,
    target_kind text,
    target_id   text,
    ip          inet,
    user_agent  text,
    request_id  text,
    trace_id    text,
    detail      jsonb       NOT NULL CHECK (jsonb_typeof(detail) = 'object'),
    CHECK ((target_kind IS NULL) = (target_id IS NULL))
);

-- One index per filter of a search, each ending in the order that pages are read in.
CREATE INDEX events_type        ON events (type, seq DESC);
CREATE INDEX events_domain      ON events (split_part(type, '.', 1), seq DESC);
CREATE INDEX events_outcome     ON events (outcome, seq DESC);
CREATE INDEX events_actor_id    ON events (actor_id, seq DESC)   WHERE actor_id IS NOT NULL;
CREATE INDEX events_subject_id  ON events (subject_id, seq DESC) WHERE subject_id IS NOT NULL;
CREATE INDEX events_ip          ON events (ip, seq DESC)         WHERE ip IS NOT NULL;
CREATE INDEX events_request_id  ON events (request_id, seq DESC) WHERE request_id IS NOT NULL;
CREATE INDEX events_occurred_at ON events (occurred_at, seq DESC);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % of % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
-- Also for a session that calls itself a replica.
ALTER TABLE events ENABLE ALWAYS TRIGGER events_append_only;

-- What bootstrap grants by default, except SELECT and INSERT.
REVOKE UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON events FROM audit_rw;
