// SPDX-License-Identifier: Apache-2.0
//! End-to-end tests, one module a subject, one binary.

mod routing;
