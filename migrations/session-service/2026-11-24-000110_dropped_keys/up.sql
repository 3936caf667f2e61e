-- A key that is dropped in an emergency may have begun just now or not at all, so it can end before its beginning.
ALTER TABLE signing_keys DROP CONSTRAINT signing_keys_check;
