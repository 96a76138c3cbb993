// SPDX-License-Identifier: Apache-2.0
//! What it costs a request to read the configuration that a reload may swap at any time (row H22).
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

fn main() {
    const READS: u32 = 20_000_000;
    let mut rounds: Vec<f64> = (0..5)
        .map(|_| sunbeam_proxy::time_config_reads(READS).as_secs_f64() * 1e9 / f64::from(READS))
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("config_read_ns {:.2}", rounds[2]);
}
