DROP FUNCTION forget_dropped_ids(integer);
DROP FUNCTION drop_partition(text, date, bigint, bytea, text, bytea);
DROP FUNCTION create_partitions(integer);
DROP TABLE producers, dropped_partitions, checkpoints, shared_keys, subject_keys, ip_tags, event_ids, events, chain_heads, classes;
DROP FUNCTION refuse_change();
