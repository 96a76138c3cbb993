// SPDX-License-Identifier: Apache-2.0
//! What is known about addresses beforehand: lists that operators keep, blocks that layers made, and crawlers that
//! are who they say. Pure: proofs by DNS are asked for and brought by whoever has sockets.

mod bans;
mod bots;
mod config;
mod crawlers;
mod lists;
mod proofs;

pub use bans::{Ban, BanRules, Bans, Held, Offence};
pub use bots::{Bot, BotCategory, BotPolicy, Bots, Named};
pub use config::{AllowlistSection, BotsSection, ListsSection};
pub use lists::{AddError, Entry, List, Listed, Lists, NewEntry, Origin};
pub use proofs::{BotProofs, Proof, Question};
