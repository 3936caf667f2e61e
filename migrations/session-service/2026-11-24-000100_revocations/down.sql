DROP INDEX sessions_ended;
DROP TABLE revocations;
