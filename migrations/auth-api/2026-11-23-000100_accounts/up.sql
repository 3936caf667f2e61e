CREATE TABLE users (
    id                        uuid        PRIMARY KEY,
    -- The address in its one canonical form; mail goes here and nowhere else.
    email                     text        NOT NULL,
    status                    text        NOT NULL CHECK (status IN ('unverified', 'active', 'suspended')),
    display_name              text,
    locale                    text        NOT NULL,
    roles                     text[]      NOT NULL DEFAULT '{user}',
    -- A sealed PHC string. For an unverified account: the password of whoever registered last.
    password                  bytea       NOT NULL,
    -- SHA-256 of the handle of the browser that registered last; none once verified.
    registration_handle_hash  bytea,
    -- When the owner was last told that somebody tried to register the address.
    registration_notice_at    timestamptz,
    created_at                timestamptz NOT NULL,
    updated_at                timestamptz NOT NULL,
    verified_at               timestamptz,
    CONSTRAINT users_email_key UNIQUE (email),
    CONSTRAINT users_verified_when_open CHECK (status = 'unverified' OR verified_at IS NOT NULL),
    CONSTRAINT users_handle_only_when_unverified CHECK (registration_handle_hash IS NULL OR status = 'unverified')
);

-- Finds the registrations to forget.
CREATE INDEX users_unverified ON users (updated_at) WHERE status = 'unverified';

CREATE TABLE one_time_tokens (
    id           uuid        PRIMARY KEY,
    user_id      uuid        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    purpose      text        NOT NULL CHECK (purpose IN ('verify_email')),
    -- SHA-256 of the token; the token itself is only in the mail.
    token_hash   bytea       NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    consumed_at  timestamptz,
    CONSTRAINT one_time_tokens_hash_key UNIQUE (token_hash)
);
-- The newest token of a purpose is the only one that works.
CREATE UNIQUE INDEX one_time_tokens_live ON one_time_tokens (user_id, purpose) WHERE consumed_at IS NULL;

CREATE TABLE outbox (
    id            uuid        PRIMARY KEY,
    exchange      text        NOT NULL,
    routing_key   text        NOT NULL,
    message_type  text        NOT NULL,
    traceparent   text,
    payload       text        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_created_at ON outbox (created_at);
