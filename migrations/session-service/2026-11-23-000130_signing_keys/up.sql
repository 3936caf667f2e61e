-- Ed25519 keys of the access tokens. Several are published at once while one takes over from another.
CREATE TABLE signing_keys (
    -- PASERK id.
    kid        text        PRIMARY KEY CHECK (kid LIKE 'k4.pid.%'),
    -- PASERK of the public half.
    paserk     text        NOT NULL CHECK (paserk LIKE 'k4.public.%'),
    -- The secret half, sealed and bound to the kid.
    secret     bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    -- From when it signs.
    not_before timestamptz NOT NULL,
    -- From when nobody may trust it; null while that is not decided.
    retire_at  timestamptz CHECK (retire_at > not_before)
);
