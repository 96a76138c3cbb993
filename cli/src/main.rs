// SPDX-License-Identifier: Apache-2.0
//! The program `sunbeam`. What it does stands in the library beside it, so that the reference pages
//! can be written from the same list of commands.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sunbeam_cli::run()
}
