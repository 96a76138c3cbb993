// SPDX-License-Identifier: Apache-2.0
//! A store of a million decisions: what it costs to write them, to search them, and to decide what is kept.
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::fs;
use std::time::{Duration, Instant};

use sunbeam_decisions::{Admission, Bounds, Class, Entry, IdPrefix, Query, Reader, Row, Writer, text_hash};

const ENTRIES: u64 = 1_000_000;
const BOUNDS: Bounds = Bounds { max_bytes: 8 << 30, max_age: Duration::from_secs(30 * 86_400) };

fn main() {
    let folder = std::env::temp_dir().join(format!("sunbeam-decisions-million-{}", std::process::id()));
    write(&folder);
    let reader = Reader::new(&folder);
    let client = |number: u64| format!("198.51.{}.{}", number / 250 % 250, number % 250);
    let oldest = id(0);
    let prefix: IdPrefix = format!("{oldest:032x}")[..12].parse().expect("digits");
    let (client_hash, host_hash) = (text_hash(&client(7)), text_hash("shop.example"));
    let is_client = |text: &str| text.contains("\"client\":\"198.51.0.7\"");
    let none = |_: &str| false;
    let queries = [
        ("newest_50", Query::default(), 50),
        ("id_prefix_of_the_oldest", Query { id: Some(prefix), ..Query::default() }, 50),
        (
            "client_exact",
            Query { client: Some(client_hash), filter: Some(&is_client), ..Query::default() },
            50,
        ),
        ("host_exact_50", Query { host: Some(host_hash), ..Query::default() }, 50),
        ("path_that_nobody_asked_for", Query { path: Some(text_hash("/none")), ..Query::default() }, 50),
        ("text_filter_of_20000", Query { filter: Some(&none), ..Query::default() }, 50),
    ];
    time("find_the_oldest", || usize::from(reader.find(oldest).expect("read").is_some()));
    time("find_nothing", || usize::from(reader.find(7).expect("read").is_some()));
    for (name, query, limit) in queries {
        time(name, || reader.search(&query, None, limit).expect("read").entries.len());
    }
    let middle = Query { until_micros: Some(ENTRIES / 2 * 1000), ..Query::default() };
    time("page_in_the_middle", || reader.search(&middle, None, 50).expect("read").entries.len());
    fs::remove_dir_all(&folder).expect("remove the store");
    admission();
}

fn id(number: u64) -> u128 {
    u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

fn write(folder: &std::path::Path) {
    let (mut writer, _) = Writer::open(folder, BOUNDS).expect("open the store");
    let mut spent = Duration::ZERO;
    for batch in 0..ENTRIES / 250 {
        let entries: Vec<Entry> = (batch * 250..(batch + 1) * 250).map(entry).collect();
        let begin = Instant::now();
        assert_eq!(writer.append(&entries).written, 250);
        spent += begin.elapsed();
    }
    println!("append_us_an_entry {:.2}", spent.as_secs_f64() * 1e6 / ENTRIES as f64);
}

fn entry(number: u64) -> Entry {
    let (client, path) =
        (format!("198.51.{}.{}", number / 250 % 250, number % 250), format!("/item/{number}"));
    let host = if number.is_multiple_of(3) { "shop.example" } else { "blog.example" };
    let class = Class::ALL[usize::try_from(number % 3).unwrap_or(0)];
    let row = Row {
        at_micros: number * 1000,
        id: id(number),
        client: text_hash(&client),
        host: text_hash(host),
        path: text_hash(&path),
        layer: 1,
        decision: 2,
    };
    let rest = "x".repeat(700);
    let text =
        format!("{{\"client\":\"{client}\",\"host\":\"{host}\",\"path\":\"{path}\",\"rest\":\"{rest}\"}}");
    Entry { class, row, text }
}

fn time(name: &str, mut job: impl FnMut() -> usize) {
    let mut rounds = [0.0; 5];
    let mut found = 0;
    for round in &mut rounds {
        let begin = Instant::now();
        found = job();
        *round = begin.elapsed().as_secs_f64() * 1e3;
    }
    rounds.sort_by(f64::total_cmp);
    println!("{name}_ms {:.2} (found {found})", rounds[2]);
}

fn admission() {
    const CALLS: u64 = 10_000_000;
    for (name, keys) in [("one_key", 1), ("a_thousand_keys", 1000), ("new_keys", u64::MAX)] {
        let admission = Admission::new(BOUNDS);
        let begin = Instant::now();
        for call in 0..CALLS {
            let key = (call % keys).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            std::hint::black_box(admission.admit(
                Class::Content,
                key,
                Some(key),
                false,
                Duration::from_micros(call),
            ));
        }
        println!("admit_{name}_ns {:.1}", begin.elapsed().as_secs_f64() * 1e9 / CALLS as f64);
    }
}
