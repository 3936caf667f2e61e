ALTER TABLE users
    DROP CONSTRAINT users_status_check,
    ADD CONSTRAINT users_status_check CHECK (status IN ('unverified', 'active', 'suspended', 'pending_deletion')),
    -- Counts the changes of password, second factor and status: what was verified before a change opens no session after it.
    ADD COLUMN credential_epoch         bigint      NOT NULL DEFAULT 1,
    -- Since when the password opens nothing, until it is reset; and why.
    ADD COLUMN password_off_since       timestamptz,
    ADD COLUMN password_off_reason      text,
    ADD COLUMN password_changed_at      timestamptz,
    ADD COLUMN last_login_at            timestamptz,
    -- When an account whose owner asked for it is deleted.
    ADD COLUMN deletes_at               timestamptz,
    ADD CONSTRAINT users_password_off_has_reason CHECK ((password_off_since IS NULL) = (password_off_reason IS NULL)),
    ADD CONSTRAINT users_deletion_has_time CHECK ((status = 'pending_deletion') = (deletes_at IS NOT NULL));
CREATE INDEX users_to_delete ON users (deletes_at) WHERE deletes_at IS NOT NULL;

ALTER TABLE one_time_tokens
    DROP CONSTRAINT one_time_tokens_purpose_check,
    ADD CONSTRAINT one_time_tokens_purpose_check
        CHECK (purpose IN ('verify_email', 'reset_password', 'secure_account', 'restore_account'));
-- A link that secures an account stays good when a later mail brings another one: whoever took the account over must not be able to end it.
DROP INDEX one_time_tokens_live;
CREATE UNIQUE INDEX one_time_tokens_live ON one_time_tokens (user_id, purpose)
    WHERE consumed_at IS NULL AND purpose <> 'secure_account';
CREATE INDEX one_time_tokens_expired ON one_time_tokens (expires_at);
CREATE INDEX one_time_tokens_by_user ON one_time_tokens (user_id);

-- Registrations and requests for mails, written down by one statement that is the same for every address, and done in the background.
CREATE TABLE deferred_requests (
    id          uuid        PRIMARY KEY,
    kind        text        NOT NULL CHECK (kind IN ('register', 'resend_verification', 'forgot_password')),
    -- JSON, sealed and bound to the id and the kind: it names addresses and holds a password hash.
    sealed      bytea       NOT NULL,
    traceparent text,
    created_at  timestamptz NOT NULL,
    -- Failed attempts, and when the next one is due.
    failures    integer     NOT NULL DEFAULT 0,
    due_at      timestamptz NOT NULL
);
CREATE INDEX deferred_requests_due ON deferred_requests (due_at);

-- When an address was last sent a mail that anybody can ask for.
CREATE TABLE mail_allowances (
    -- Keyed hash of the address.
    key        bytea         PRIMARY KEY,
    sent_at    timestamptz[] NOT NULL,
    updated_at timestamptz   NOT NULL
);

-- Attempts at what can be guessed, reserved before they are judged.
CREATE TABLE attempts (
    scope             text        NOT NULL CHECK (scope IN ('password', 'device', 'second_factor')),
    -- Keyed hash of an address, or the id of a device or user.
    key               bytea       NOT NULL,
    -- Failures since the last success.
    consecutive       integer     NOT NULL,
    window_started_at timestamptz NOT NULL,
    window_count      integer     NOT NULL,
    blocked_until     timestamptz,
    updated_at        timestamptz NOT NULL,
    PRIMARY KEY (scope, key)
) WITH (fillfactor = 75);
CREATE INDEX attempts_updated_at ON attempts (updated_at);

-- Browsers that logged in: each has a budget of attempts of its own, and may be trusted to need no second factor.
CREATE TABLE known_devices (
    id            uuid        PRIMARY KEY,
    user_id       uuid        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- SHA-256 of the cookie's value.
    token_hash    bytea       NOT NULL,
    created_at    timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    trusted_until timestamptz,
    CONSTRAINT known_devices_hash_key UNIQUE (token_hash)
);
CREATE INDEX known_devices_by_user ON known_devices (user_id);
CREATE INDEX known_devices_expired ON known_devices (expires_at);

CREATE TABLE totp_factors (
    user_id    uuid        PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    -- Sealed and bound to the user.
    secret     bytea       NOT NULL,
    enabled_at timestamptz NOT NULL,
    -- The time step of the last code that was accepted: neither it nor an earlier one is accepted again.
    last_step  bigint      NOT NULL
);

-- Second factors that wait for their first code.
CREATE TABLE totp_enrolments (
    user_id        uuid        PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    challenge_hash bytea       NOT NULL,
    secret         bytea       NOT NULL,
    created_at     timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL
);

CREATE TABLE recovery_codes (
    user_id    uuid        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- HMAC with a key that is not in the database.
    code_hash  bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    used_at    timestamptz,
    PRIMARY KEY (user_id, code_hash)
);

-- Logins whose password was right and whose second factor is awaited.
CREATE TABLE login_challenges (
    id               uuid        PRIMARY KEY,
    challenge_hash   bytea       NOT NULL,
    user_id          uuid        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    credential_epoch bigint      NOT NULL,
    device_name      text,
    remember_me      boolean     NOT NULL,
    created_at       timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL,
    tries            integer     NOT NULL DEFAULT 0,
    consumed_at      timestamptz,
    CONSTRAINT login_challenges_hash_key UNIQUE (challenge_hash)
);
CREATE INDEX login_challenges_by_user ON login_challenges (user_id);
CREATE INDEX login_challenges_expired ON login_challenges (expires_at);

-- Changes of address, each with the link that confirms it and, once confirmed, the link that undoes it.
CREATE TABLE email_changes (
    id                 uuid        PRIMARY KEY,
    user_id            uuid        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    old_email          text        NOT NULL,
    new_email          text        NOT NULL,
    requested_at       timestamptz NOT NULL,
    confirm_hash       bytea       NOT NULL,
    confirm_expires_at timestamptz NOT NULL,
    confirmed_at       timestamptz,
    undo_hash          bytea,
    undo_expires_at    timestamptz,
    undone_at          timestamptz,
    CONSTRAINT email_changes_confirm_key UNIQUE (confirm_hash),
    CONSTRAINT email_changes_undo_key UNIQUE (undo_hash)
);
-- The newest request of a user is the only one that can be confirmed.
CREATE UNIQUE INDEX email_changes_pending ON email_changes (user_id) WHERE confirmed_at IS NULL;
CREATE INDEX email_changes_by_user ON email_changes (user_id);
-- Finds who has an open undo for an address, at each registration of it.
CREATE INDEX email_changes_undoable ON email_changes (old_email) WHERE undo_expires_at IS NOT NULL;

-- Sessions that have to end because of a committed change, until session-service has said that they did.
CREATE TABLE pending_revocations (
    id           uuid        PRIMARY KEY,
    user_id      uuid        NOT NULL,
    kept_session uuid,
    reason       text        NOT NULL,
    created_at   timestamptz NOT NULL
);

-- Sessions that were stolen and whose owner was told so: once.
CREATE TABLE stolen_sessions (
    session_id uuid        PRIMARY KEY,
    user_id    uuid        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    told_at    timestamptz NOT NULL
);
CREATE INDEX stolen_sessions_by_user ON stolen_sessions (user_id);
CREATE INDEX stolen_sessions_told_at ON stolen_sessions (told_at);

-- Answers to repeat when a request comes again with the same Idempotency-Key.
CREATE TABLE idempotency_keys (
    -- SHA-256 of route, caller and key.
    key_hash     bytea       PRIMARY KEY,
    request_hash bytea       NOT NULL,
    -- Sealed and bound to the key; none while the first request is being answered.
    answer       bytea,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL
);
CREATE INDEX idempotency_keys_expired ON idempotency_keys (expires_at);

CREATE TABLE data_exports (
    id         uuid        PRIMARY KEY,
    user_id    uuid        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- Sealed JSON, bound to the id and the user; none while it is being written.
    document   bytea,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX data_exports_by_user ON data_exports (user_id);
CREATE INDEX data_exports_expired ON data_exports (expires_at);
