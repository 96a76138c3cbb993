// SPDX-License-Identifier: Apache-2.0
//! A store as its users see it: written, killed, damaged, filled, searched.

mod bounds;
mod damage;
mod full_disk;
mod killed;
mod recorder;
mod store;
#[path = "../src/testing.rs"]
mod testing;
mod writing;
