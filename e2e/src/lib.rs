// SPDX-License-Identifier: Apache-2.0
//! Whole nodes between real clients and real backends: see `tests/`.
