-- What has ended before its beginning is retired already, and stays so.
UPDATE signing_keys SET not_before = retire_at - interval '1 microsecond' WHERE retire_at <= not_before;
ALTER TABLE signing_keys ADD CONSTRAINT signing_keys_check CHECK (retire_at > not_before);
