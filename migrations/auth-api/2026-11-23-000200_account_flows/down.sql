DROP TABLE data_exports;
DROP TABLE idempotency_keys;
DROP TABLE stolen_sessions;
DROP TABLE pending_revocations;
DROP TABLE email_changes;
DROP TABLE login_challenges;
DROP TABLE recovery_codes;
DROP TABLE totp_enrolments;
DROP TABLE totp_factors;
DROP TABLE known_devices;
DROP TABLE attempts;
DROP TABLE mail_allowances;
DROP TABLE deferred_requests;

DELETE FROM one_time_tokens WHERE purpose <> 'verify_email';
DROP INDEX one_time_tokens_by_user;
DROP INDEX one_time_tokens_expired;
DROP INDEX one_time_tokens_live;
CREATE UNIQUE INDEX one_time_tokens_live ON one_time_tokens (user_id, purpose) WHERE consumed_at IS NULL;
ALTER TABLE one_time_tokens
    DROP CONSTRAINT one_time_tokens_purpose_check,
    ADD CONSTRAINT one_time_tokens_purpose_check CHECK (purpose IN ('verify_email'));

DROP INDEX users_to_delete;
ALTER TABLE users DROP CONSTRAINT users_deletion_has_time;
UPDATE users SET status = 'suspended' WHERE status = 'pending_deletion';
ALTER TABLE users
    DROP CONSTRAINT users_password_off_has_reason,
    DROP COLUMN deletes_at,
    DROP COLUMN last_login_at,
    DROP COLUMN password_changed_at,
    DROP COLUMN password_off_reason,
    DROP COLUMN password_off_since,
    DROP COLUMN credential_epoch,
    DROP CONSTRAINT users_status_check,
    ADD CONSTRAINT users_status_check CHECK (status IN ('unverified', 'active', 'suspended'));
