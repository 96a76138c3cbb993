// SPDX-License-Identifier: Apache-2.0
//! The configuration language: sections of keys, values that cannot be wrong, and problems that name
//! file, line and column.
//!
//! A part of Sunbeam declares what it reads with [`section!`]: one line a key gives the field, its
//! default, its reader, its printer and its entry in the reference page. [`load()`] reads the file (and
//! the profile's file over it) and reports *every* problem, not the first.

mod load;
mod problem;
mod reader;
mod section;
mod show;
mod source;
mod tree;
mod values;

pub use load::{ConfigFiles, LoadError, Loaded, load, load_sources};
pub use problem::{Problem, Severity};
pub use reader::{FromItem, Reader};
pub use section::{Key, Section, SectionDoc};
pub use show::{Show, diff, render};
pub use source::{At, Source, Sources};
pub use toml::Value as ShownValue;
pub use tree::{Item, Table, Value};
#[doc(hidden)]
pub mod __private {
    pub use toml::Table;
}
pub use values::{Cidr, OneOrMany, RawText, Secret};
