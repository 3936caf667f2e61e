-- One row per mail command; its id is the command's event id, which makes a second delivery recognisable.
CREATE TABLE messages (
    id                uuid        PRIMARY KEY,
    user_id           uuid,
    template          text        NOT NULL,
    locale            text        NOT NULL,
    lane              text        NOT NULL,
    recipient         text        NOT NULL,
    message_id_header text        NOT NULL,
    -- A later message with the same key makes this one obsolete.
    supersedes        text,
    state             text        NOT NULL
        CONSTRAINT messages_state CHECK (state IN
            ('queued', 'sending', 'sent', 'deferred', 'failed', 'expired', 'superseded', 'cancelled')),
    -- Every time that a worker took it; the current one is the proof of ownership.
    attempts          integer     NOT NULL DEFAULT 0,
    -- How often it was put off since it was queued, by which the next delay is found.
    deferrals         integer     NOT NULL DEFAULT 0,
    -- How often it may have been taken without our knowing, since it was queued.
    ambiguous         integer     NOT NULL DEFAULT 0,
    -- How often a worker took it and did not say what came of it, since it was queued: nearly always because its process died.
    crashes           integer     NOT NULL DEFAULT 0,
    provider          text,
    last_reply        text,
    -- Why it failed, a code; only while it is failed.
    failure           text,
    -- The command as it came, whose parameters are sealed to the mailer's key: for another try. Only while there may be one.
    command           bytea,
    requested_at      timestamptz NOT NULL,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    expires_at        timestamptz NOT NULL,
    sent_at           timestamptz,
    -- When a worker took it; only while it is being sent.
    claimed_at        timestamptz,
    -- Not to be tried before; only while it is deferred.
    retry_at          timestamptz,
    -- When the command was put into its queue again because it seemed to be lost, or until when the broker holds it; some time after this it
    -- is taken for lost.
    revived_at        timestamptz,
    CONSTRAINT messages_claimed CHECK ((state = 'sending') = (claimed_at IS NOT NULL)),
    CONSTRAINT messages_deferred CHECK ((state = 'deferred') = (retry_at IS NOT NULL)),
    CONSTRAINT messages_sent CHECK ((state = 'sent') = (sent_at IS NOT NULL)),
    CONSTRAINT messages_failed CHECK ((state = 'failed') = (failure IS NOT NULL)),
    CONSTRAINT messages_command CHECK (state IN ('queued', 'sending', 'deferred', 'failed') OR command IS NULL)
);

CREATE INDEX messages_newest ON messages (created_at DESC, id DESC);
CREATE INDEX messages_of_user ON messages (user_id, created_at DESC, id DESC) WHERE user_id IS NOT NULL;
CREATE INDEX messages_to ON messages (recipient, created_at DESC, id DESC);
-- Nearly everything is sent; who asks for a state asks for one of the others.
CREATE INDEX messages_unsent ON messages (state, created_at DESC, id DESC) WHERE state <> 'sent';
CREATE INDEX messages_superseding ON messages (supersedes, requested_at DESC, id DESC) WHERE supersedes IS NOT NULL;
-- What still holds a command, for those that look after the forgotten and the expired.
CREATE INDEX messages_unfinished ON messages (expires_at) WHERE command IS NOT NULL;

-- The moves that there are, whatever a statement says. `domain/message.rs` has the same list, and a test compares the two.
CREATE FUNCTION refuse_illegal_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.state, NEW.state) NOT IN (
        ('queued', 'sending'), ('queued', 'expired'), ('queued', 'superseded'), ('queued', 'cancelled'),
        ('sending', 'sent'), ('sending', 'deferred'), ('sending', 'failed'),
        ('sending', 'expired'), ('sending', 'superseded'),
        ('deferred', 'sending'), ('deferred', 'queued'), ('deferred', 'expired'), ('deferred', 'superseded'),
        ('deferred', 'cancelled'),
        ('failed', 'queued'), ('failed', 'superseded'), ('failed', 'cancelled')
    ) THEN
        RAISE EXCEPTION 'message % cannot go from % to %', OLD.id, OLD.state, NEW.state USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER legal_moves BEFORE UPDATE ON messages FOR EACH ROW
    WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION refuse_illegal_moves();

-- Every change of state, with what the mail server said.
CREATE TABLE message_transitions (
    id       bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message  uuid        NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    state    text        NOT NULL,
    attempt  integer     NOT NULL,
    -- Who was asked to take the mail.
    provider text,
    reply    text,
    -- The operator or service that wanted it, where it was not the mailer itself.
    actor    text,
    at       timestamptz NOT NULL
);

CREATE INDEX message_transitions_of_message ON message_transitions (message, id);
REVOKE UPDATE, DELETE ON message_transitions FROM mailer_rw;
