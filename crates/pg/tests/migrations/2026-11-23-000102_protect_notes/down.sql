GRANT DELETE ON notes TO pgtest_rw;
