DROP TABLE message_transitions;
DROP TABLE messages;
