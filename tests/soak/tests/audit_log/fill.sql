-- Fills the log with so many events of a year, month by month, in place of those that there are. Indexes are built when a month is
-- attached, as `create_partitions` attaches it.
CREATE OR REPLACE PROCEDURE audit.fill(events bigint) LANGUAGE plpgsql AS $$
DECLARE
    first_day  CONSTANT date := (date_trunc('month', now()) - interval '11 months')::date;
    per_month  CONSTANT bigint := events / 12;
    class_name text;
    parent     text;
    leaf       text;
    start      date;
    low        bigint;
BEGIN
    -- A procedure that is made with SET must not commit.
    PERFORM set_config('search_path', 'audit', false), set_config('timezone', 'UTC', false);
    TRUNCATE event_ids;
    FOR month IN 0..11 LOOP
        start := first_day + make_interval(months => month);
        low := month * per_month;
        CREATE TEMP TABLE batch ON COMMIT DROP AS SELECT n AS seq,
            CASE WHEN n % 10 < 3 THEN 'routine' ELSE 'security' END AS class,
            CASE WHEN n % 10 < 3 THEN 'session.refreshed'
                 WHEN n % 1000 < 500 THEN 'auth.login' WHEN n % 1000 < 600 THEN 'auth.logout'
                 WHEN n % 1000 < 700 THEN 'session.created' WHEN n % 1000 < 800 THEN 'session.revoked'
                 WHEN n % 1000 < 820 THEN 'user.registered' WHEN n % 1000 < 825 THEN 'admin.user_created'
                 WHEN n % 1000 < 826 THEN 'security.account_locked' ELSE 'auth.login_challenge' END AS type,
            start + (n - low) * (interval '27 days' / per_month) AS recorded_at,
            CASE WHEN n % 10007 = 0 THEN 'denied' WHEN n % 10 = 7 THEN 'failure' ELSE 'success' END AS outcome,
            md5((abs(hashint8(n)) % greatest(events / 40, 1))::text)::uuid AS subject_id
            FROM generate_series(low + 1, low + per_month) AS n;
        FOREACH class_name IN ARRAY ARRAY['security', 'routine'] LOOP
            FOREACH parent IN ARRAY ARRAY['events', 'ip_tags'] LOOP
                leaf := format('%s_%s_%s', parent, class_name, to_char(start, 'YYYY_MM'));
                EXECUTE format('DROP TABLE IF EXISTS %I', leaf);
                EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING CONSTRAINTS)', leaf, parent);
                IF parent = 'events' THEN
                    EXECUTE format($sql$
                        INSERT INTO %I (class, seq, position, id, type, version, source, occurred_at, recorded_at, subject_id, actor_kind,
                            actor_id, outcome, severity, reason, target_kind, target_id, request_id, trace_id, detail, sealed_client,
                            prev_hash, hash)
                        SELECT class, seq, seq, md5('id' || seq)::uuid, type, 1, 'auth-api',
                            recorded_at - CASE WHEN seq %% 5003 = 0 THEN interval '3 hours' ELSE interval '20 milliseconds' END,
                            recorded_at, subject_id, CASE outcome WHEN 'success' THEN 'user' ELSE 'anonymous' END,
                            CASE outcome WHEN 'success' THEN subject_id END, outcome,
                            CASE WHEN seq %% 50021 = 0 THEN 'critical' WHEN outcome = 'success' THEN 'info' ELSE 'warning' END,
                            CASE outcome WHEN 'failure' THEN 'wrong_password' WHEN 'denied' THEN 'locked' END,
                            CASE WHEN type LIKE 'session.%%' THEN 'session' END,
                            CASE WHEN type LIKE 'session.%%' THEN md5('session' || seq / 4) END,
                            md5('request' || seq), md5('trace' || seq), '{"methods":["pwd"]}', decode(repeat('7f', 110), 'hex'),
                            sha256(int8send(seq - 1)), sha256(int8send(seq))
                        FROM batch WHERE class = %L$sql$, leaf, class_name);
                END IF;
                EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent || '_' || class_name, leaf,
                    to_char(start, 'YYYY-MM-DD') || ' 00:00:00+00',
                    to_char(start + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00');
            END LOOP;
        END LOOP;
        INSERT INTO event_ids SELECT md5('id' || seq)::uuid, class, seq, recorded_at FROM batch;
        COMMIT;
    END LOOP;
    UPDATE chain_heads SET seq = per_month * 12, position = per_month * 12, recorded_at = first_day + interval '11 months 27 days';
    COMMIT;
END
$$
