// SPDX-License-Identifier: Apache-2.0
//! One reading of every message: clients and backends that lie, and readers that compare notes.

mod answers;
mod cases;
mod http2;
mod naive;
mod oracle;
mod readers;
mod round_trip;
mod strict;

use std::collections::{BTreeMap, HashSet};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sunbeam_testkit::{TestFolder, TestProxy, eventually};
use sunbeam_traffic::AuditRecord;

use cases::{Case, Want};
use oracle::{Evidence, Outcome, Record};
use readers::Reader;
use strict::Read;

/// How long a connection may take that must answer or close. The machine may be busy.
const MOST: Duration = Duration::from_secs(20);

/// How long we listen for what should not come.
const QUIET: Duration = Duration::from_millis(20);

#[test]
fn a_backend_reads_exactly_what_the_proxy_read_or_nothing_at_all() {
    let folder = TestFolder::new();
    let readers = readers::start(&folder);
    let proxy = TestProxy::builder().config("waf.enabled = false\n").config(&routes(&readers)).start();
    let cases = cases::all();
    assert!(cases.len() > 500, "{}", cases.len());
    let (mut faults, mut passed) = (Vec::new(), 0);
    // To the three servers as one piece, to the strict reader in small ones.
    for piece in [usize::MAX, 7] {
        let jobs: Vec<(&Reader, usize)> = readers
            .iter()
            .filter(|reader| (piece == usize::MAX) != (reader.name == "bytes"))
            .flat_map(|reader| (0..cases.len()).map(move |number| (reader, number)))
            .collect();
        let outcomes = at_once(&jobs, |(reader, number)| {
            let bytes = cases[*number].bytes(&host(reader), *number);
            exchange(proxy.http(), &bytes, if bytes.len() > 4000 { usize::MAX } else { piece })
        });
        let told = judge_all(&proxy, &jobs, &cases, &outcomes);
        passed += told.passed;
        faults.extend(told.faults);
    }
    for reader in &readers {
        faults
            .extend(reader.complaints().into_iter().map(|complaint| format!("{}: {complaint}", reader.name)));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(passed > 800, "{passed} requests were passed on");
    assert!(proxy.metric("sunbeam_panics_total", &[]) < 0.5);
}

struct Told {
    faults: Vec<String>,
    passed: usize,
}

fn judge_all(proxy: &TestProxy, jobs: &[(&Reader, usize)], cases: &[Case], outcomes: &[Outcome]) -> Told {
    let mut told = Told { faults: Vec::new(), passed: 0 };
    let answered: Vec<HashSet<String>> = jobs
        .iter()
        .zip(outcomes)
        .map(|((reader, number), outcome)| {
            let (asked, _) = strict::requests(&cases[*number].bytes(&host(reader), *number));
            let (answers, _) = oracle::answers(&asked, outcome);
            answers
                .iter()
                .filter_map(|answer| strict::value(&answer.headers, "x-request-id"))
                .map(str::to_owned)
                .collect()
        })
        .collect();
    let all: HashSet<String> = answered.iter().flatten().cloned().collect();
    let records = eventually("an audit record of each answer", || {
        let records = records(proxy.audit().records());
        all.iter().all(|id| records.contains_key(id)).then_some(records)
    });
    let mut by_reader = BTreeMap::new();
    for (reader, _) in jobs {
        by_reader.entry(reader.name).or_insert_with(|| evidence(records.clone(), reader));
    }
    for ((reader, number), outcome) in jobs.iter().zip(outcomes) {
        let case = &cases[*number];
        let bytes = case.bytes(&host(reader), *number);
        let evidence = &by_reader[reader.name];
        let mut faults = oracle::judge(&bytes, outcome, evidence);
        let first = strict::answer(&outcome.received, "GET", true);
        let status = match &first {
            Read::Whole(answer, _) => answer.status,
            _ => 0,
        };
        told.passed += usize::from(status == 200);
        let is_wanted = match case.want {
            Want::Any => true,
            Want::Passed => [100, 200].contains(&status),
            Want::Status(want) => status == want,
        };
        if !is_wanted {
            faults.push(format!("wanted {:?}, got {status}", case.want));
        }
        told.faults.extend(
            faults.into_iter().map(|fault| format!("{} at {} (c{number}): {fault}", case.name, reader.name)),
        );
    }
    for evidence in by_reader.values() {
        // A client may have left before its answer came; then the audit log knows the request all the same.
        let known: HashSet<String> = records.keys().cloned().collect();
        told.faults
            .extend(oracle::strays(evidence, &known).iter().map(|seen| format!("nobody sent {seen:?}")));
    }
    told
}

#[test]
fn the_oracle_finds_what_a_naive_proxy_does_wrong() {
    let folder = TestFolder::new();
    let readers = readers::start(&folder);
    let node = readers.iter().find(|reader| reader.name == "node").expect("node");
    let proxy = naive::NaiveProxy::start(node.address);
    let chunked = "5\r\nhello\r\n0\r\n\r\n";
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for (name, first, is_wrong) in [
        ("plain", "GET /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), false),
        ("a length", "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".to_owned(), false),
        (
            "chunks",
            format!("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
            false,
        ),
        (
            "both framings",
            format!(
                "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding:chunked\r\n\r\n{chunked}"
            ),
            true,
        ),
        (
            "a coding in disguise",
            format!("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n{chunked}"),
            true,
        ),
        (
            "a request in a body",
            format!(
                "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nTransfer-Encoding:chunked\r\n\r\n0\r\n\r\n{smuggled}",
                smuggled.len() + 5
            ),
            true,
        ),
        ("bare line feeds", "GET /x HTTP/1.1\nHost: a\n\n".to_owned(), true),
        (
            "a length twice",
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
            true,
        ),
        ("two hosts", "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), true),
        ("hop by hop", "GET /x HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n".to_owned(), true),
    ] {
        let bytes = format!("{first}{smuggled}").into_bytes();
        let outcome =
            exchange_within(proxy.listener.address(), &bytes, usize::MAX, Duration::from_millis(400));
        let evidence = evidence(proxy.records().into_iter().collect(), node);
        let mut faults = oracle::judge(&bytes, &outcome, &evidence);
        let known = evidence.records.keys().cloned().collect();
        faults.extend(oracle::strays(&evidence, &known).iter().map(|seen| format!("nobody sent {seen:?}")));
        if is_wrong {
            assert!(!faults.is_empty(), "{name}: the oracle saw nothing");
            // Strays of one case must not be found again with the next.
            node.forget();
        } else {
            assert_eq!(faults, Vec::<String>::new(), "{name}");
        }
    }
}

fn routes(readers: &[Reader]) -> String {
    let route = |reader: &Reader| {
        format!(
            "[[routes]]\nhost_prefix = \"{}\"\nbackend = \"http://{}\"\ndisable_secure_redirection = true\n",
            reader.name, reader.address
        )
    };
    readers.iter().map(route).collect()
}

fn host(reader: &Reader) -> String {
    format!("{}.example.test", reader.name)
}

fn evidence(records: BTreeMap<String, Record>, reader: &Reader) -> Evidence {
    let mut seen: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for request in reader.seen() {
        seen.entry(request.id().to_owned()).or_default().push(request);
    }
    Evidence { records, seen }
}

fn records(found: Vec<AuditRecord>) -> BTreeMap<String, Record> {
    let record = |record: AuditRecord| {
        let query = if record.query.is_empty() { String::new() } else { format!("?{}", record.query) };
        let target = format!("{}{query}", record.path);
        (
            record.request_id,
            Record {
                method: record.method,
                target,
                status: record.status,
                is_refusal: record.error.is_some(),
            },
        )
    };
    found.into_iter().map(record).collect()
}

/// Runs `work` on every job, many at once, in their order.
fn at_once<J: Sync, R: Send>(jobs: &[J], work: impl Fn(&J) -> R + Sync) -> Vec<R> {
    const WORKERS: usize = 24;
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(jobs.len()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((number, job)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    jobs.get(number).map(|job| (number, job))
                } {
                    let result = work(job);
                    done.lock().expect("no worker panicked").push((number, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no worker panicked");
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

fn exchange(address: SocketAddr, bytes: &[u8], piece: usize) -> Outcome {
    exchange_within(address, bytes, piece, MOST)
}

/// Sends `bytes` and reads until the connection closes, or until all that can be answered is answered and
/// it has been quiet for a while.
fn exchange_within(address: SocketAddr, bytes: &[u8], piece: usize, most: Duration) -> Outcome {
    let (asked, rest) = strict::requests(bytes);
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.set_nodelay(true).expect("set TCP_NODELAY");
    stream.set_read_timeout(Some(QUIET)).expect("set a read timeout");
    for part in bytes.chunks(piece) {
        // A proxy that refuses early may close before it has read everything.
        if stream.write_all(part).is_err() {
            break;
        }
    }
    let deadline = Instant::now() + most;
    let mut outcome = Outcome { received: Vec::new(), is_closed: false };
    let mut buffer = [0; 16 * 1024];
    while Instant::now() < deadline {
        match stream.read(&mut buffer) {
            Ok(0) => outcome.is_closed = true,
            Ok(count) => outcome.received.extend(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                let (answers, _) = oracle::answers(&asked, &outcome);
                let is_answered = answers.len() >= asked.len() && !matches!(rest, Read::Malformed(_));
                if is_answered || answers.len() > asked.len() && most < MOST {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => outcome.is_closed = true,
        }
        if outcome.is_closed {
            break;
        }
    }
    outcome
}
