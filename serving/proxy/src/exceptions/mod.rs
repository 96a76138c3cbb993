// SPDX-License-Identifier: Apache-2.0
//! Exceptions: the narrowest thing that would have let a request pass, made from a decision that is kept. They stand
//! beside the configuration, outlive it, and end by themselves.
//!
//! [`Scope`] says what one is about; [`Known`] is one that holds, with what came of it; [`ExceptionsInUse`] is all of
//! them ready for one configuration; [`Replay`] says what one would have let pass.

mod covers;
mod in_use;
mod known;
mod replay;
mod scope;
mod upkeep;

pub(crate) use in_use::{ExceptionsAdded, ExceptionsInUse};
pub(crate) use known::{KeptException, Known, id_text, moment};
pub(crate) use replay::{Replay, is_of};
pub(crate) use scope::{Judges, Scope, has_address};
pub(crate) use upkeep::{ExceptionBook, flush, restore};
