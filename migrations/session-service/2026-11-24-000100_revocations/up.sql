-- What was revoked lately, for the replicas that answer from memory. The truth about a session stays in its own row.
CREATE TABLE revocations (
    -- The transaction that wrote the row. Whoever remembers the oldest transaction that was running when it last looked (its snapshot's xmin) finds
    -- with it exactly what it has not seen, however late a transaction commits.
    xid        xid8        NOT NULL DEFAULT pg_current_xact_id(),
    -- All access tokens of this session …
    session_id uuid,
    -- … or those of this user from before the epoch.
    user_id    uuid,
    epoch      bigint,
    revoked_at timestamptz NOT NULL,
    -- When the last token that it concerns has expired.
    forget_at  timestamptz NOT NULL CHECK (forget_at > revoked_at),
    CHECK ((session_id IS NULL) <> (user_id IS NULL)),
    CHECK ((user_id IS NULL) = (epoch IS NULL))
);
CREATE INDEX revocations_xid ON revocations (xid);
CREATE INDEX revocations_forget_at ON revocations (forget_at);

-- For the clean-up of what ended long ago. When a session would end by itself is in no index: every refresh changes that.
CREATE INDEX sessions_ended ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;
