//! Trees written as tar streams, and what a writable layer changed.
