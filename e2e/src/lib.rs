//! Whole nodes between real clients and real backends: see `tests/`.
