REVOKE DELETE ON notes FROM pgtest_rw;
