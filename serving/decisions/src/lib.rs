// SPDX-License-Identifier: Apache-2.0
//! What was decided about requests, kept on disk: bounded by bytes and by age, searchable, whole after a crash.
//!
//! An [`Entry`] is a [`Row`] of fixed size and a text, a JSON object of which this crate knows one thing: a
//! path, if there is one, is its member `path`. Entries of a [`Class`] stand in a ring of their own, so that a
//! flood of one class cannot push out the others:
//!
//! ```text
//! FOLDER/limits/0000000007.log      row, text, row, text, …          the truth
//! FOLDER/limits/0000000007.index    rows, with places in the log     made from the log, and made again from it
//! FOLDER/content/…  FOLDER/passes/…
//! ```
//!
//! The way of an entry: [`Admission`] says on the request path whether it is kept; [`Recorder`] takes it, renders
//! and writes it on a thread of its own through a [`Writer`]; a [`Reader`], in this process or another, finds it.
//! No index is held in memory: a search reads the rows of the index files, newest first, and of the texts only
//! those whose rows fit.
//!
//! | what goes wrong | what happens |
//! |---|---|
//! | more than the ring holds, or older than it may be | the oldest segments go |
//! | a flood | [`Admission`] keeps a sample and says how many each one stands for |
//! | too much waits | [`Recorder::try_send`] refuses and counts |
//! | the disk is full or broken | entries are lost and counted, said once a minute; goes on when it works again |
//! | killed in mid-write | what [`Writer::append`] returned for is there; the torn rest is cut off at the next start |
//! | the power fails | up to a second of entries ([`Recorder`]) is lost |
//! | damaged files | [`Writer::open`] skips what is damaged, counts it and makes the index again |
//! | two processes write | each its own segments; none touches a segment that another one holds |

mod admission;
mod class;
mod cursor;
mod index;
mod merge;
mod query;
mod reader;
mod recorder;
mod repair;
mod ring;
mod row;
mod scan;
mod segment;
#[cfg(test)]
mod testing;
mod writer;

pub use admission::{Admission, Admitted};
pub use class::Class;
pub use cursor::{Cursor, CursorError};
pub use query::{IdPrefix, IdPrefixError, Query};
pub use reader::{Page, ROWS_EXAMINED_MAX, ReadError, Reader, TEXTS_READ_MAX};
pub use recorder::{QueueBounds, Recorder, RecorderCounts, StartError};
pub use repair::Repaired;
pub use row::{Entry, Row, TEXT_BYTES_MAX, text_hash};
pub use writer::{AppendError, Appended, BYTES_MIN, Bounds, OpenError, Writer};
