// SPDX-License-Identifier: Apache-2.0
//! The program as its user meets it: arguments, files, signals, exit codes, what it prints.

mod attack;
mod commands;
mod confirm;
mod datasets;
mod exceptions;
mod judging;
mod learning;
mod program;
mod serve;
mod systemd;
mod training;
mod up;
mod upgrade;
mod validate;
mod waf;
mod waf_wire;
