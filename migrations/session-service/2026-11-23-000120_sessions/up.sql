-- One row for each user who ever had a session: the row to lock when the user's sessions change as a set, and the epoch.
CREATE TABLE subjects (
    user_id uuid   PRIMARY KEY,
    -- Access tokens that were minted in an earlier epoch are dead.
    epoch   bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0)
);

CREATE TABLE sessions (
    id                uuid        PRIMARY KEY,
    user_id           uuid        NOT NULL REFERENCES subjects,
    roles             text[]      NOT NULL,
    permissions       text[]      NOT NULL,
    amr               text[]      NOT NULL,
    aal               smallint    NOT NULL CHECK (aal IN (1, 2)),
    auth_time         timestamptz NOT NULL,
    device_name       text,
    ip                inet,
    user_agent        text,
    -- The key of the refresh tokens' MAC, sealed and bound to the id.
    refresh_key       bytea       NOT NULL,
    generation        bigint      NOT NULL CHECK (generation >= 1),
    parent_generation bigint      CHECK (parent_generation < generation),
    rotated_at        timestamptz NOT NULL,
    -- When the generation was told to anybody for the last time.
    handed_out_at     timestamptz NOT NULL,
    -- jti of the access token that belongs to the generation.
    access_token_id   uuid        NOT NULL,
    -- Whether that access token was seen, so that the client surely has the generation.
    generation_seen   boolean     NOT NULL DEFAULT false,
    created_at        timestamptz NOT NULL,
    last_seen_at      timestamptz NOT NULL,
    idle_seconds      integer     NOT NULL CHECK (idle_seconds > 0),
    idle_expires_at   timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    revoked_at        timestamptz,
    revoked_reason    text,
    CHECK ((revoked_at IS NULL) = (revoked_reason IS NULL))
)
-- Refreshing changes no indexed column; with room left in the page the new version of a row stays there (HOT).
WITH (fillfactor = 75);

CREATE INDEX sessions_unrevoked_by_user ON sessions (user_id, created_at DESC) WHERE revoked_at IS NULL;
