//! all_or_none
