-- The audit log. Rows are added and read, never changed: see the triggers and the grants. Each class of events is a hash
-- chain of its own, so that the old partitions of one can go and the rest of every chain still proves itself.

-- What is kept how long. Only the owner changes it; `migrate up` writes what AUDIT_RETENTION says.
CREATE TABLE classes (
    class     text    PRIMARY KEY,
    -- Not shorter than a message may still come again: its id is remembered as long as its row.
    keep_days integer NOT NULL CHECK (keep_days >= 35)
);
INSERT INTO classes (class, keep_days) VALUES ('security', 400), ('routine', 35);

-- The end of each chain. Appends lock all of them, so that `seq` is the order of commit.
CREATE TABLE chain_heads (
    class       text        PRIMARY KEY REFERENCES classes,
    -- Of the last row; 0 before the first.
    seq         bigint      NOT NULL,
    position    bigint      NOT NULL,
    hash        bytea       NOT NULL CHECK (octet_length(hash) = 32),
    recorded_at timestamptz NOT NULL
) WITH (fillfactor = 10);
INSERT INTO chain_heads (class, seq, position, hash, recorded_at)
SELECT class, 0, 0, decode(repeat('00', 32), 'hex'), '-infinity' FROM classes;

CREATE TABLE events (
    class         text        NOT NULL,
    -- The order of commit over all classes, without gaps.
    seq           bigint      NOT NULL,
    -- The row's place in the chain of its class, from 1, without gaps.
    position      bigint      NOT NULL,
    -- The event's own id.
    id            uuid        NOT NULL,
    -- `domain.action`
    type          text        NOT NULL,
    version       integer     NOT NULL CHECK (version >= 1),
    source        text        NOT NULL,
    occurred_at   timestamptz NOT NULL,
    recorded_at   timestamptz NOT NULL,
    subject_id    uuid,
    actor_kind    text        NOT NULL,
    actor_id      uuid,
    -- Of services and operators; a user's is in `sealed_client`.
    actor_name    text,
    outcome       text        NOT NULL,
    severity      text        NOT NULL,
    reason        text,
    target_kind   text,
    target_id     text,
    request_id    text,
    trace_id      text,
    -- What of it is about nobody; canonical JSON, to the letter. Not jsonb, which would spell it anew.
    detail        json        NOT NULL,
    -- Address, user agent and name of who did it, under the key of the actor, else of the subject, else of the month.
    sealed_client bytea,
    -- What else of the detail there is, under the key of the subject, else of the actor, else of the month.
    sealed_detail bytea,
    -- Of the row before it in its class; 32 zero bytes for the first.
    prev_hash     bytea       NOT NULL CHECK (octet_length(prev_hash) = 32),
    hash          bytea       NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (seq, class, recorded_at),
    CHECK ((target_kind IS NULL) = (target_id IS NULL))
) PARTITION BY LIST (class);
CREATE TABLE events_security PARTITION OF events FOR VALUES IN ('security') PARTITION BY RANGE (recorded_at);
CREATE TABLE events_routine  PARTITION OF events FOR VALUES IN ('routine')  PARTITION BY RANGE (recorded_at);

-- One index per way of searching, each ending in the order that pages are read in. ADR 0031 has what they were chosen by. `seq` is
-- never null: NULLS LAST makes it an order that the primary key does not have, so that no search becomes a walk of the log.
CREATE INDEX events_type         ON events (type, seq DESC NULLS LAST);
CREATE INDEX events_domain       ON events (split_part(type, '.', 1), seq DESC NULLS LAST);
CREATE INDEX events_actor_id     ON events (actor_id, seq DESC NULLS LAST)   WHERE actor_id IS NOT NULL;
CREATE INDEX events_subject_id   ON events (subject_id, seq DESC NULLS LAST) WHERE subject_id IS NOT NULL;
CREATE INDEX events_request_id   ON events (request_id, seq DESC NULLS LAST) WHERE request_id IS NOT NULL;
CREATE INDEX events_target_id    ON events (target_id, seq DESC NULLS LAST)  WHERE target_id IS NOT NULL;
CREATE INDEX events_trace_id     ON events (trace_id, seq DESC NULLS LAST)   WHERE trace_id IS NOT NULL;
CREATE INDEX events_reason       ON events (reason, seq DESC NULLS LAST)     WHERE reason IS NOT NULL;
-- What succeeded, and is not worth a warning, is nearly everything: a page of it needs no index.
CREATE INDEX events_outcome      ON events (outcome, seq DESC NULLS LAST)       WHERE outcome <> 'success';
CREATE INDEX events_type_outcome ON events (type, outcome, seq DESC NULLS LAST) WHERE outcome <> 'success';
CREATE INDEX events_severity     ON events (severity, seq DESC NULLS LAST)      WHERE severity <> 'info';
-- A range of times is a range of `seq`, found by this, since an event is recorded when it occurs.
CREATE INDEX events_recorded_at  ON events (recorded_at, seq);
-- But for those that came late, or from a clock that is wrong.
CREATE INDEX events_untimely     ON events (seq DESC NULLS LAST, occurred_at)
    WHERE recorded_at - occurred_at NOT BETWEEN interval '-1 hour' AND interval '1 hour';

-- Which events are in the log, and where: a second delivery changes nothing. Outlives no row and is outlived by none.
CREATE TABLE event_ids (
    id          uuid        PRIMARY KEY,
    class       text        NOT NULL,
    seq         bigint      NOT NULL,
    recorded_at timestamptz NOT NULL
);
CREATE INDEX event_ids_seq ON event_ids (class, seq);

-- Finds events by client address without naming one: a keyed hash. No part of the chain, so that it can be forgotten.
CREATE TABLE ip_tags (
    class       text        NOT NULL,
    recorded_at timestamptz NOT NULL,
    seq         bigint      NOT NULL,
    tag         bytea       NOT NULL,
    -- Whose address it was, if anybody's.
    owner_id    uuid,
    PRIMARY KEY (tag, seq, class, recorded_at)
) PARTITION BY LIST (class);
CREATE TABLE ip_tags_security PARTITION OF ip_tags FOR VALUES IN ('security') PARTITION BY RANGE (recorded_at);
CREATE TABLE ip_tags_routine  PARTITION OF ip_tags FOR VALUES IN ('routine')  PARTITION BY RANGE (recorded_at);
CREATE INDEX ip_tags_owner_id ON ip_tags (owner_id) WHERE owner_id IS NOT NULL;

-- The keys of people's data, sealed by AUDIT_PERSONAL_KEYS. Without its key a person's data is noise.
CREATE TABLE subject_keys (
    subject_id uuid        PRIMARY KEY,
    sealed     bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Never to get a key again.
    erased_at  timestamptz,
    CHECK ((sealed IS NULL) = (erased_at IS NOT NULL))
);
CREATE INDEX subject_keys_erased_at ON subject_keys (erased_at) WHERE erased_at IS NOT NULL;

-- Keys that belong to nobody: `ip-tags`, and `<class>/<month>` for events without actor or subject.
CREATE TABLE shared_keys (
    name       text        PRIMARY KEY,
    sealed     bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- What was signed of the ends of all chains, with a key that is not in this database. Each is chained to the one before.
CREATE TABLE checkpoints (
    number    bigint      PRIMARY KEY CHECK (number >= 1),
    -- The highest that the log had.
    seq       bigint      NOT NULL,
    signed_at timestamptz NOT NULL,
    key_id    text        NOT NULL,
    -- By class: seq, position and hash of the last row.
    heads     json        NOT NULL,
    -- SHA-256 of the one before with its signature.
    previous  bytea       NOT NULL CHECK (octet_length(previous) = 32),
    signature bytea       NOT NULL CHECK (octet_length(signature) = 64)
);
CREATE INDEX checkpoints_seq ON checkpoints (seq);

-- Where a chain begins after retention dropped its first months, signed before it was done.
CREATE TABLE dropped_partitions (
    class      text        NOT NULL REFERENCES classes,
    month      date        NOT NULL,
    -- Of the last row that was dropped.
    seq        bigint      NOT NULL,
    position   bigint      NOT NULL,
    hash       bytea       NOT NULL CHECK (octet_length(hash) = 32),
    key_id     text        NOT NULL,
    signature  bytea       NOT NULL CHECK (octet_length(signature) = 64),
    dropped_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (class, month)
);

-- Which publications of each publishing process arrived, to notice those that never did.
CREATE TABLE producers (
    instance   uuid        PRIMARY KEY,
    source     text        NOT NULL,
    -- Everything up to here arrived or is in `holes`.
    highest    bigint      NOT NULL,
    -- The broker confirmed everything up to here.
    settled    bigint      NOT NULL,
    -- Ranges of numbers that are missing, and since when.
    holes      json        NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % of % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

-- Makes the partitions of this month and of `ahead` more; says how many are new. It runs as the owner, so that the serving
-- role can have partitions and make nothing else. Attached, not made in place: that would wait for every reader and writer.
CREATE FUNCTION create_partitions(ahead integer) RETURNS integer LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = audit, pg_temp AS $$
DECLARE
    first_month CONSTANT date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    class_name  text;
    parent      text;
    start       date;
    leaf        text;
    made        integer := 0;
BEGIN
    IF ahead NOT BETWEEN 0 AND 24 THEN
        RAISE EXCEPTION 'partitions can be made for 0 to 24 months ahead';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('audit partitions'));
    FOR class_name IN SELECT classes.class FROM classes ORDER BY classes.class LOOP
        FOR months IN 0..ahead LOOP
            start := first_month + make_interval(months => months);
            FOREACH parent IN ARRAY ARRAY['events', 'ip_tags'] LOOP
                leaf := format('%s_%s_%s', parent, class_name, to_char(start, 'YYYY_MM'));
                CONTINUE WHEN to_regclass(format('audit.%I', leaf)) IS NOT NULL;
                EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING CONSTRAINTS)', leaf, parent);
                -- Rights on a partition would go past those on the whole.
                EXECUTE format('REVOKE ALL ON %I FROM audit_rw', leaf);
                IF parent = 'events' THEN
                    -- Two rows that follow the same row would be a fork.
                    EXECUTE format('CREATE UNIQUE INDEX %I ON %I (prev_hash)', leaf || '_prev_hash', leaf);
                    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
                        'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', leaf);
                    EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only', leaf);
                END IF;
                EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                    parent || '_' || class_name, leaf,
                    to_char(start, 'YYYY-MM-DD') || ' 00:00:00+00',
                    to_char(start + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00');
                made := made + 1;
            END LOOP;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;

-- Drops the oldest month of a class with its address hashes and its key, and keeps where its chain ended. Only after its time
-- is over, and only if a checkpoint covers all of it; `last_seq` and `last_hash` are what the signature speaks of.
CREATE FUNCTION drop_partition(
    of_class text, of_month date, last_seq bigint, last_hash bytea, by_key text, signed bytea
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = audit, pg_temp AS $$
DECLARE
    leaf      CONSTANT text := format('events_%s_%s', of_class, to_char(of_month, 'YYYY_MM'));
    ends      CONSTANT timestamptz := (of_month + interval '1 month') AT TIME ZONE 'UTC';
    kept      integer;
    last_row  record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('audit partitions'));
    SELECT keep_days INTO kept FROM classes WHERE class = of_class;
    IF kept IS NULL OR of_month <> date_trunc('month', of_month)::date OR to_regclass(format('audit.%I', leaf)) IS NULL THEN
        RAISE EXCEPTION 'there is no partition of % for %', of_class, of_month;
    END IF;
    IF ends + make_interval(days => kept) > now() THEN
        RAISE EXCEPTION '% is kept for % days', leaf, kept;
    END IF;
    IF EXISTS (SELECT FROM events WHERE class = of_class AND recorded_at < of_month AT TIME ZONE 'UTC') THEN
        RAISE EXCEPTION '% is not the oldest of its class', leaf;
    END IF;
    SELECT seq, position, hash INTO last_row FROM events
        WHERE class = of_class AND recorded_at >= of_month AT TIME ZONE 'UTC' AND recorded_at < ends
        ORDER BY seq DESC LIMIT 1;
    IF FOUND THEN
        IF last_row.seq <> last_seq OR last_row.hash <> last_hash THEN
            RAISE EXCEPTION 'the signature is not for the end of %', leaf;
        END IF;
        IF NOT EXISTS (SELECT FROM checkpoints
            WHERE seq >= last_row.seq AND (heads -> of_class ->> 'seq')::bigint >= last_row.seq) THEN
            RAISE EXCEPTION 'no checkpoint covers %', leaf;
        END IF;
        INSERT INTO dropped_partitions (class, month, seq, position, hash, key_id, signature)
            VALUES (of_class, of_month, last_row.seq, last_row.position, last_row.hash, by_key, signed);
    END IF;
    EXECUTE format('DROP TABLE %I', leaf);
    EXECUTE format('DROP TABLE %I', format('ip_tags_%s_%s', of_class, to_char(of_month, 'YYYY_MM')));
    DELETE FROM shared_keys WHERE name = format('%s/%s', of_class, to_char(of_month, 'YYYY-MM'));
END
$$;

-- Forgets up to `count` ids of events that were dropped; says how many those were.
CREATE FUNCTION forget_dropped_ids(count integer) RETURNS integer LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = audit, pg_temp AS $$
DECLARE
    forgotten integer;
BEGIN
    DELETE FROM event_ids WHERE id IN (
        SELECT id FROM event_ids
        JOIN (SELECT class, max(seq) AS seq FROM dropped_partitions GROUP BY class) AS dropped
            ON event_ids.class = dropped.class AND event_ids.seq <= dropped.seq
        LIMIT count);
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN forgotten;
END
$$;

DO $$
DECLARE
    append_only text;
BEGIN
    -- A statement fires the triggers of the table that it names, so each level of partitions has one; create_partitions gives the months theirs.
    FOREACH append_only IN ARRAY ARRAY['events', 'events_security', 'events_routine', 'checkpoints', 'dropped_partitions'] LOOP
        EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', append_only);
        -- Also for a session that calls itself a replica.
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER append_only', append_only);
    END LOOP;
    PERFORM create_partitions(3);
END
$$;

-- What bootstrap grants by default is SELECT, INSERT, UPDATE and DELETE. Of a partition nothing is granted at all.
REVOKE ALL ON events_security, events_routine, ip_tags_security, ip_tags_routine FROM audit_rw;
REVOKE UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON events, event_ids, checkpoints FROM audit_rw;
REVOKE INSERT, UPDATE, DELETE ON classes, dropped_partitions FROM audit_rw;
REVOKE INSERT, DELETE ON chain_heads FROM audit_rw;
REVOKE UPDATE, DELETE ON subject_keys, shared_keys FROM audit_rw;
REVOKE UPDATE ON ip_tags FROM audit_rw;
-- To erase, and to seal with a new key.
GRANT UPDATE (sealed, erased_at) ON subject_keys TO audit_rw;
GRANT UPDATE (sealed) ON shared_keys TO audit_rw;
REVOKE ALL ON FUNCTION create_partitions(integer), forget_dropped_ids(integer),
    drop_partition(text, date, bigint, bytea, text, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION create_partitions(integer), forget_dropped_ids(integer),
    drop_partition(text, date, bigint, bytea, text, bytea) TO audit_rw;
