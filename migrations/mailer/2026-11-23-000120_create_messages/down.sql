DROP TABLE message_transitions;
DROP TABLE messages;
DROP FUNCTION refuse_illegal_moves;
