DROP TABLE sessions;
DROP TABLE subjects;
