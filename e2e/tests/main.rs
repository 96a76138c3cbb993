//! End-to-end tests, one module a subject, one binary.

mod routing;
