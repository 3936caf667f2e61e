-- One row per mail command; its id is the command's event id, which makes a second delivery recognisable.
-- The template's parameters are credentials and are nowhere in this schema.
CREATE TABLE messages (
    id                uuid        PRIMARY KEY,
    user_id           uuid,
    template          text        NOT NULL,
    locale            text        NOT NULL,
    lane              text        NOT NULL,
    recipient         text        NOT NULL,
    message_id_header text        NOT NULL,
    state             text        NOT NULL
        CONSTRAINT messages_state CHECK (state IN ('queued', 'sending', 'sent', 'deferred', 'failed', 'expired')),
    attempts          integer     NOT NULL DEFAULT 0,
    last_reply        text,
    requested_at      timestamptz NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    sent_at           timestamptz,
    -- When a worker took it; only while it is being sent.
    claimed_at        timestamptz,
    -- Not to be tried before; only while it is deferred.
    retry_at          timestamptz,
    CONSTRAINT messages_claimed CHECK ((state = 'sending') = (claimed_at IS NOT NULL)),
    CONSTRAINT messages_deferred CHECK ((state = 'deferred') = (retry_at IS NOT NULL)),
    CONSTRAINT messages_sent CHECK ((state = 'sent') = (sent_at IS NOT NULL))
);

CREATE INDEX messages_newest ON messages (created_at DESC, id DESC);
CREATE INDEX messages_of_user ON messages (user_id, created_at DESC, id DESC) WHERE user_id IS NOT NULL;
CREATE INDEX messages_to ON messages (recipient, created_at DESC, id DESC);
-- Nearly everything is sent; who asks for a state asks for one of the others.
CREATE INDEX messages_unsent ON messages (state, created_at DESC, id DESC) WHERE state <> 'sent';

-- Every change of state, with what the mail server said.
CREATE TABLE message_transitions (
    id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message uuid        NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    state   text        NOT NULL,
    attempt integer     NOT NULL,
    reply   text,
    at      timestamptz NOT NULL
);

CREATE INDEX message_transitions_of_message ON message_transitions (message, id);
REVOKE UPDATE, DELETE ON message_transitions FROM mailer_rw;
