// SPDX-License-Identifier: Apache-2.0
//! `SecLang`: from the text of rule files to what it says.
//!
//! [`load()`] reads the files: `lines` makes words of their lines, `directives` knows what the words of each directive
//! are, and `targets`, `operator`, `actions`, `ctl` and `template` read the small languages within them.

mod actions;
pub mod ast;
mod ctl;
mod directives;
mod disk;
mod error;
mod lines;
mod load;
mod operator;
mod targets;
mod template;
mod unicode_map;

pub use directives::{DIRECTIVES, DirectiveRow};
pub use disk::DiskFiles;
pub(crate) use disk::literal;
pub use error::RuleError;
pub use load::{Files, load};
