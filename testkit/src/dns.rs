// SPDX-License-Identifier: Apache-2.0
//! A name server that says what a test told it to, and keeps what it was asked.

use std::fmt;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The server, on one port for UDP and TCP. An answer that is longer than the asker's limit is cut short
/// over UDP, with the mark that says so, and whole over TCP.
///
/// It knows the names it was told: a known name without a record of the asked type has no records, any other
/// name does not exist (NXDOMAIN).
#[derive(Debug)]
pub struct TestDns {
    address: SocketAddr,
    memory: Memory,
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// How a [`TestDns`] treats those who ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DnsBehaviour {
    /// Answers what it was told.
    #[default]
    Honest,
    /// Takes every question and never answers.
    Silent,
    /// Answers what it was told, this much later. Over TCP at once: whoever asks there has waited already.
    Slow(Duration),
    /// Answers that it cannot answer.
    ServFail,
    /// Answers with the right number and nonsense behind it.
    Garbage,
}

type Memory = Arc<Mutex<Known>>;

#[derive(Debug, Default)]
struct Known {
    records: Vec<Record>,
    behaviour: DnsBehaviour,
    asked: Vec<String>,
}

#[derive(Debug)]
struct Record {
    name: String,
    kind: u16,
    data: Vec<u8>,
}

/// A question as it came.
struct Question<'a> {
    id: [u8; 2],
    wants_recursion: u8,
    name: String,
    kind: u16,
    /// The question itself, which every answer repeats.
    section: &'a [u8],
    udp_bytes_max: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Udp,
    Tcp,
}

const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;

const NO_ERROR: u8 = 0;
const SERV_FAIL: u8 = 2;
const NX_DOMAIN: u8 = 3;

const HEADER_BYTES: usize = 12;

/// No question is longer than this: a name has at most 255 bytes.
const QUESTION_BYTES_MAX: usize = 4096;

/// Bytes of a UDP answer to who does not say how many it takes.
const UDP_BYTES: u16 = 512;

/// Questions kept, and late answers waiting: more than any test asks.
const KEPT_MAX: usize = 10_000;

/// How long a TCP connection may be idle.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// Follows the number of the question: "an answer, and in it one question and 65535 records", and then none.
const GARBAGE: [u8; 14] = [0x81, 0x80, 0, 1, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xee, 0xdd, 0xcc];

impl TestDns {
    /// Listens on a free port of 127.0.0.1 and knows no name.
    pub fn start() -> Self {
        let (udp, tcp) = bind_both();
        let address = udp.local_addr().expect("the bound address");
        let (memory, ends) = (Memory::default(), Arc::new(AtomicBool::new(false)));
        let (udp_memory, udp_ends) = (Arc::clone(&memory), Arc::clone(&ends));
        let (tcp_memory, tcp_ends) = (Arc::clone(&memory), Arc::clone(&ends));
        let threads = vec![
            std::thread::spawn(move || serve_udp(&udp, &udp_memory, &udp_ends)),
            std::thread::spawn(move || serve_tcp(&tcp, &tcp_memory, &tcp_ends)),
        ];
        Self { address, memory, ends, threads }
    }

    /// The address it listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `address` has this name from now on, beside those it had (a PTR record).
    pub fn name_of(&self, address: IpAddr, name: &str) {
        self.tell(&reverse_name(address), PTR, encode_name(name));
    }

    /// `name` has this address from now on, beside those it had (an A or AAAA record).
    pub fn address_of(&self, name: &str, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.tell(name, A, address.octets().to_vec()),
            IpAddr::V6(address) => self.tell(name, AAAA, address.octets().to_vec()),
        }
    }

    /// Behaves like this from now on. An answer that is on its way already comes as it would have.
    pub fn behave(&self, behaviour: DnsBehaviour) {
        lock(&self.memory).behaviour = behaviour;
    }

    /// Every question so far, as in `PTR 1.2.0.192.in-addr.arpa`, in lower case. One that was sent again, or
    /// over TCP after UDP, is there again.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.memory).asked.clone()
    }

    fn tell(&self, name: &str, kind: u16, data: Vec<u8>) {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        lock(&self.memory).records.push(Record { name, kind, data });
    }
}

impl Drop for TestDns {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // Wakes the two threads; one that is gone already needs no waking.
        drop(UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(&[], self.address)));
        drop(TcpStream::connect(self.address));
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

impl Known {
    /// The answer to a packet, if it gets one, and how long it waits.
    fn answer(&mut self, packet: &[u8], transport: Transport) -> Option<(Vec<u8>, Duration)> {
        let question = Question::parse(packet)?;
        if self.asked.len() < KEPT_MAX {
            self.asked.push(question.to_string());
        }
        let delay = match self.behaviour {
            DnsBehaviour::Silent => return None,
            DnsBehaviour::Garbage => {
                return Some(([question.id.as_slice(), &GARBAGE].concat(), Duration::ZERO));
            }
            DnsBehaviour::ServFail => return Some((question.answer(SERV_FAIL, &[]), Duration::ZERO)),
            DnsBehaviour::Slow(delay) if transport == Transport::Udp => delay,
            DnsBehaviour::Slow(_) | DnsBehaviour::Honest => Duration::ZERO,
        };
        let of_name: Vec<&Record> =
            self.records.iter().filter(|record| record.name == question.name).collect();
        let code = if of_name.is_empty() { NX_DOMAIN } else { NO_ERROR };
        let records: Vec<&Record> =
            of_name.into_iter().filter(|record| record.kind == question.kind).collect();
        let whole = question.answer(code, &records);
        let bytes_max = match transport {
            Transport::Udp => question.udp_bytes_max,
            Transport::Tcp => usize::from(u16::MAX),
        };
        let fits = whole.len() <= bytes_max;
        Some((if fits { whole } else { question.cut_short() }, delay))
    }
}

impl<'a> Question<'a> {
    /// Reads one question that stands alone; `None` for anything else, which gets no answer.
    fn parse(packet: &'a [u8]) -> Option<Self> {
        let flags = *packet.get(2)?;
        let is_plain_question = flags & 0b1111_1000 == 0;
        if !is_plain_question || number_at(packet, 4)? != 1 {
            return None;
        }
        let (name, name_end) = decode_name(packet, HEADER_BYTES)?;
        let end = name_end + 4;
        let section = packet.get(HEADER_BYTES..end)?;
        // EDNS: the root's name, the type OPT, and the bytes that the asker takes.
        let udp_bytes_max = match packet.get(end..end + 5) {
            Some([0, 0, 41, high, low]) => u16::from_be_bytes([*high, *low]).max(UDP_BYTES),
            _ => UDP_BYTES,
        };
        Some(Self {
            id: *packet.first_chunk()?,
            wants_recursion: flags & 1,
            name,
            kind: number_at(packet, name_end)?,
            section,
            udp_bytes_max: usize::from(udp_bytes_max),
        })
    }

    fn answer(&self, code: u8, records: &[&Record]) -> Vec<u8> {
        let count = u16::try_from(records.len()).expect("at most 65535 records");
        let mut answer = self.head(0, code, count);
        for record in records {
            // The name as a pointer to the question's; class IN; a minute.
            answer.extend_from_slice(&[0xc0, 12]);
            answer.extend_from_slice(&record.kind.to_be_bytes());
            answer.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            let length = u16::try_from(record.data.len()).expect("a name or an address is short");
            answer.extend_from_slice(&length.to_be_bytes());
            answer.extend_from_slice(&record.data);
        }
        answer
    }

    fn cut_short(&self) -> Vec<u8> {
        const TRUNCATED: u8 = 0b10;
        self.head(TRUNCATED, NO_ERROR, 0)
    }

    /// The header of an answer from a server with authority that also recurses, and the question.
    fn head(&self, flag: u8, code: u8, answers: u16) -> Vec<u8> {
        let mut head = self.id.to_vec();
        head.extend_from_slice(&[0b1000_0100 | flag | self.wants_recursion, 0b1000_0000 | code]);
        for count in [1, answers, 0, 0] {
            head.extend_from_slice(&count.to_be_bytes());
        }
        head.extend_from_slice(self.section);
        head
    }
}

impl fmt::Display for Question<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            A => write!(formatter, "A {}", self.name),
            PTR => write!(formatter, "PTR {}", self.name),
            AAAA => write!(formatter, "AAAA {}", self.name),
            other => write!(formatter, "TYPE{other} {}", self.name),
        }
    }
}

/// A port that is free for UDP may be taken for TCP.
fn bind_both() -> (UdpSocket, TcpListener) {
    let both = || {
        let udp = UdpSocket::bind("127.0.0.1:0").ok()?;
        let tcp = TcpListener::bind(udp.local_addr().ok()?).ok()?;
        Some((udp, tcp))
    };
    (0..100).find_map(|_| both()).expect("a port that is free for UDP and TCP")
}

fn serve_udp(socket: &UdpSocket, memory: &Memory, ends: &AtomicBool) {
    let mut packet = [0; QUESTION_BYTES_MAX];
    let mut late: Vec<(Instant, Vec<u8>, SocketAddr)> = Vec::new();
    loop {
        let now = Instant::now();
        // An asker that is gone is not the server's business.
        for (_, answer, peer) in late.extract_if(.., |(due, ..)| *due <= now) {
            drop(socket.send_to(&answer, peer));
        }
        let next = late.iter().map(|(due, ..)| *due).min();
        // Zero would mean "for ever".
        let wait = next.map(|due| due.saturating_duration_since(now).max(Duration::from_millis(1)));
        socket.set_read_timeout(wait).expect("set a timeout");
        let (count, peer) = match socket.recv_from(&mut packet) {
            Ok(received) => received,
            Err(error) if is_passing(error.kind()) => continue,
            Err(_) => return,
        };
        if ends.load(Ordering::Relaxed) {
            return;
        }
        let packet = packet.get(..count).unwrap_or_default();
        let answer = lock(memory).answer(packet, Transport::Udp);
        match answer {
            Some((answer, Duration::ZERO)) => drop(socket.send_to(&answer, peer)),
            Some((answer, delay)) if late.len() < KEPT_MAX => late.push((now + delay, answer, peer)),
            Some(_) | None => {}
        }
    }
}

fn serve_tcp(listener: &TcpListener, memory: &Memory, ends: &Arc<AtomicBool>) {
    while let Ok((stream, _)) = listener.accept() {
        if ends.load(Ordering::Relaxed) {
            return;
        }
        let (memory, ends) = (Arc::clone(memory), Arc::clone(ends));
        std::thread::spawn(move || serve_connection(stream, &memory, &ends));
    }
}

/// Until the asker hangs up, asks nothing for [`IDLE_MAX`], or asks what gets no answer.
fn serve_connection(mut stream: TcpStream, memory: &Memory, ends: &AtomicBool) {
    stream.set_read_timeout(Some(IDLE_MAX)).expect("set a timeout");
    let mut packet = [0; QUESTION_BYTES_MAX];
    while !ends.load(Ordering::Relaxed) {
        let mut length = [0; 2];
        if stream.read_exact(&mut length).is_err() {
            return;
        }
        let Some(packet) = packet.get_mut(..usize::from(u16::from_be_bytes(length))) else { return };
        if stream.read_exact(packet).is_err() {
            return;
        }
        let answer = lock(memory).answer(packet, Transport::Tcp);
        let Some((answer, _)) = answer else { return };
        let length = u16::try_from(answer.len()).expect("cut short at 65535 bytes").to_be_bytes();
        if stream.write_all(&[length.as_slice(), &answer].concat()).is_err() {
            return;
        }
    }
}

fn is_passing(error: ErrorKind) -> bool {
    matches!(error, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn lock(memory: &Memory) -> MutexGuard<'_, Known> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number_at(packet: &[u8], at: usize) -> Option<u16> {
    packet.get(at..)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// The name at `at` in lower case, and where it ends. A question's name has no pointers in it.
fn decode_name(packet: &[u8], mut at: usize) -> Option<(String, usize)> {
    let start = at;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        if length > 63 || at + length - start > 255 {
            return None;
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
}

fn encode_name(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        assert!((1..=63).contains(&label.len()), "a label of `{name}` is empty or too long");
        bytes.push(u8::try_from(label.len()).expect("at most 63"));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    assert!(bytes.len() <= 255, "`{name}` is too long");
    bytes
}

fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let digits = |byte: &u8| format!("{:x}.{:x}.", byte & 15, byte >> 4);
            address.octets().iter().rev().map(digits).collect::<String>() + "ip6.arpa"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventually;

    const LONG_WAIT: Duration = Duration::from_secs(30);

    fn asker() -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LONG_WAIT)).unwrap();
        socket
    }

    fn question(id: u8, name: &str, kind: u16) -> Vec<u8> {
        let head = [0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        [head.as_slice(), &encode_name(name), &kind.to_be_bytes(), &[0, 1]].concat()
    }

    fn receive(socket: &UdpSocket) -> Vec<u8> {
        let mut packet = [0; 4096];
        let (count, _) = socket.recv_from(&mut packet).unwrap();
        packet[..count].to_vec()
    }

    fn ask(dns: &TestDns, name: &str, kind: u16) -> Vec<u8> {
        let socket = asker();
        socket.send_to(&question(7, name, kind), dns.address()).unwrap();
        receive(&socket)
    }

    fn code(answer: &[u8]) -> u8 {
        answer[3] & 15
    }

    fn answers(answer: &[u8]) -> u16 {
        number_at(answer, 6).unwrap()
    }

    #[test]
    fn it_knows_what_it_was_told_and_keeps_what_it_was_asked() {
        let dns = TestDns::start();
        dns.name_of("192.0.2.1".parse().unwrap(), "crawl-1.googlebot.com");
        dns.name_of("2001:db8::1".parse().unwrap(), "crawl-6.googlebot.com.");
        dns.address_of("crawl-1.googlebot.com", "192.0.2.1".parse().unwrap());
        dns.address_of("Crawl-1.googlebot.com", "192.0.2.2".parse().unwrap());
        dns.address_of("crawl-6.googlebot.com", "2001:db8::1".parse().unwrap());
        let six = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        for (name, asked, kind, want, count, end) in [
            ("reverse", "1.2.0.192.in-addr.arpa", PTR, NO_ERROR, 1, encode_name("crawl-1.googlebot.com")),
            ("reverse of IPv6", six, PTR, NO_ERROR, 1, encode_name("crawl-6.googlebot.com")),
            ("forward", "CRAWL-1.googlebot.com", A, NO_ERROR, 2, vec![192, 0, 2, 2]),
            ("forward of IPv6", "crawl-6.googlebot.com", AAAA, NO_ERROR, 1, vec![0, 0, 0, 1]),
            ("no such record", "crawl-1.googlebot.com", AAAA, NO_ERROR, 0, vec![0, 1]),
            ("no such name", "crawl-2.googlebot.com", A, NX_DOMAIN, 0, vec![0, 1]),
            ("another type", "example.com", 15, NX_DOMAIN, 0, vec![0, 1]),
        ] {
            let answer = ask(&dns, asked, kind);
            assert_eq!((code(&answer), answers(&answer)), (want, count), "{name}");
            assert_eq!((&answer[..2], answer[2] >> 7), ([0, 7].as_slice(), 1), "{name}: an answer to it");
            assert!(answer.ends_with(&end), "{name}: {answer:?}");
        }
        let asked = dns.asked();
        assert_eq!(asked.len(), 7);
        assert_eq!(asked[0], "PTR 1.2.0.192.in-addr.arpa");
        assert_eq!(asked[2], "A crawl-1.googlebot.com");
        assert_eq!(asked[6], "TYPE15 example.com");
    }

    #[test]
    fn it_misbehaves_when_told_to() {
        let dns = TestDns::start();
        dns.address_of("a.example", "192.0.2.1".parse().unwrap());
        dns.behave(DnsBehaviour::ServFail);
        let answer = ask(&dns, "a.example", A);
        assert_eq!((code(&answer), answers(&answer)), (SERV_FAIL, 0));

        dns.behave(DnsBehaviour::Garbage);
        assert_eq!(ask(&dns, "a.example", A), [&[0, 7], GARBAGE.as_slice()].concat());

        let slow = Duration::from_millis(50);
        dns.behave(DnsBehaviour::Slow(slow));
        let start = Instant::now();
        assert_eq!(answers(&ask(&dns, "a.example", A)), 1);
        assert!(start.elapsed() >= slow, "{:?}", start.elapsed());

        dns.behave(DnsBehaviour::Silent);
        let socket = asker();
        socket.send_to(&question(8, "b.example", A), dns.address()).unwrap();
        eventually("the question is there", || dns.asked().contains(&"A b.example".to_owned()).then_some(()));
        dns.behave(DnsBehaviour::Honest);
        socket.send_to(&question(9, "a.example", A), dns.address()).unwrap();
        assert_eq!(receive(&socket)[..2], [0, 9], "the first answer is to the second question");
    }

    #[test]
    fn nonsense_gets_no_answer_and_ends_nothing() {
        let dns = TestDns::start();
        let socket = asker();
        let whole = question(1, "a.example", A);
        for end in 0..whole.len() {
            socket.send_to(&whole[..end], dns.address()).unwrap();
        }
        let pointer = [&whole[..HEADER_BYTES], &[0xc0, 12, 0, 1, 0, 1]].concat();
        socket.send_to(&pointer, dns.address()).unwrap();
        socket.send_to(&question(2, "a.example", A), dns.address()).unwrap();
        assert_eq!(receive(&socket)[..2], [0, 2]);
        assert_eq!(dns.asked(), ["A a.example"]);
    }

    #[test]
    fn what_does_not_fit_is_cut_short_and_whole_over_tcp() {
        let dns = TestDns::start();
        for host in 0..100 {
            dns.address_of("many.example", IpAddr::from([192, 0, 2, host]));
        }
        let short = ask(&dns, "many.example", A);
        assert_eq!((short[2] & 0b10, answers(&short)), (0b10, 0));

        // With EDNS, which says that there is room.
        let mut with_room = question(3, "many.example", A);
        with_room[11] = 1;
        with_room.extend_from_slice(&[0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
        let socket = asker();
        socket.send_to(&with_room, dns.address()).unwrap();
        assert_eq!(answers(&receive(&socket)), 100);

        let mut stream = TcpStream::connect(dns.address()).unwrap();
        stream.set_read_timeout(Some(LONG_WAIT)).unwrap();
        for id in [4, 5] {
            let packet = question(id, "many.example", A);
            let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
            stream.write_all(&[length.as_slice(), &packet].concat()).unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!((answer[1], answers(&answer)), (id, 100));
        }
    }
}
