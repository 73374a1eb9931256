//! Files below a directory that no name leads out of: openat2(2) and the calls that end in `at`.
