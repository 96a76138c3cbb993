// SPDX-License-Identifier: Apache-2.0
//! What the decision store costs a request, on the request's own thread: its whole way without sockets, with the store and
//! without it (`decisions.max_bytes = 0`), in turn. Three requests: a plain pass that is not sampled; one that a layer
//! doubts, of a network of its own each time, so that it is kept; and the same of one network, so that few stand for many.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]
#![allow(clippy::expect_used, reason = "a benchmark that cannot begin says so and ends")]

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use sunbeam_config::{ConfigFiles, load};
use sunbeam_pipeline::Decision;
use sunbeam_proxy::{Config, RequestCosts};

/// Few enough that none finds the queue full, and that a class's bucket lasts.
const REQUESTS: u32 = 500;
const ROUNDS: usize = 21;

/// Name, what is asked for, what is to be decided, whether each is of another network.
const KINDS: [(&str, &str, Decision, bool); 3] = [
    ("pass", "/item?id=42", Decision::Passed, false),
    ("kept", "/list?q=x+--+y", Decision::Observed, true),
    ("sampled", "/list?q=x+--+y", Decision::Observed, false),
];

fn main() {
    let folder = std::env::temp_dir().join(format!("sunbeam-decision-store-{}", std::process::id()));
    // Set for the whole process, once.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    for (name, target, want, many) in KINDS {
        measure(&folder, name, target, (want, many));
    }
    drop(fs::remove_dir_all(&folder));
}

fn measure(folder: &Path, name: &str, target: &str, (want, many): (Decision, bool)) {
    let mut with = start(&folder.join(format!("{name}-with")), target, "");
    let mut without = start(&folder.join(format!("{name}-without")), target, "max_bytes = 0\n");
    let mut next = 0;
    let mut rounds = Vec::new();
    let mut allocated = (0, 0);
    for round in 0..=ROUNDS {
        let networks = next..next + REQUESTS;
        next += REQUESTS;
        let ask = |costs: &mut RequestCosts| {
            let begun = RequestCosts::worked_ns();
            let allocated = allocation_counter::measure(|| {
                for network in networks.clone() {
                    let decision = costs.request(if many { network } else { 0 });
                    assert_eq!(decision, Some(want), "{name}");
                }
            });
            let ns = (RequestCosts::worked_ns() - begun) as f64 / f64::from(REQUESTS);
            (ns, allocated.count_total / u64::from(REQUESTS))
        };
        // Now the one first, now the other.
        let (first, second) = if round % 2 == 0 {
            let first = ask(&mut with);
            (first, ask(&mut without))
        } else {
            let second = ask(&mut without);
            (ask(&mut with), second)
        };
        // The first round fills tables and pools.
        if round > 0 {
            rounds.push((first.0 - second.0, second.0));
            allocated = (first.1, second.1);
        }
        settle(&with, if many { next } else { 0 }, name);
    }
    let (written, sampled) = with.written_and_sampled();
    match name {
        "pass" => assert_eq!((written, sampled), (0, 0)),
        "kept" => assert_eq!((written, sampled), (u64::from(next), 0)),
        _ => assert!(sampled > written * 100, "{written} {sampled}"),
    }
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!("{name}_ns {:.0}", median(|round| round.0));
    println!("{name}_without_ns {:.0}", median(|round| round.1));
    println!("{name}_allocations {}", allocated.0.saturating_sub(allocated.1));
}

/// Until all that were handed over are on the disk.
fn settle(costs: &RequestCosts, written: u32, name: &str) {
    for _ in 0..1_000 {
        if costs.written_and_sampled().0 >= u64::from(written) {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("{name}: {:?} of {written} were written", costs.written_and_sampled());
}

fn start(folder: &Path, target: &str, decisions: &str) -> RequestCosts {
    fs::create_dir_all(folder).expect("make a folder");
    let path = folder.join("config.toml");
    let at = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "[listen]\nhttp = \"127.0.0.1:0\"\nhttps = \"127.0.0.1:0\"\n[audit]\npath = {:?}\n[state]\npath = {:?}\n[waf]\nenabled = false\n\
         [rate_limit]\nenabled = false\n[ddos]\nenabled = false\n\
         [decisions]\nsample_passes = 0.0\nmax_bytes = 4294967296\n{decisions}\
         [[routes]]\nhost = \"shop.example\"\nbackend = \"http://127.0.0.1:9\"\n",
        at("audit.log"),
        at("state.redb"),
    );
    let text = if decisions.is_empty() { text } else { text.replace("max_bytes = 4294967296\n", "") };
    fs::write(&path, text).expect("write the configuration");
    let loaded = load(&ConfigFiles { path, profile: None }, Config::check).expect("the configuration");
    RequestCosts::new(loaded, target).expect("a node's parts").expect("a route")
}
