// SPDX-License-Identifier: Apache-2.0
//! Which rules cannot match, found out without running them. It never changes a result: tests hold it to that.

pub(crate) mod index;
pub(crate) mod needs;
mod words;
