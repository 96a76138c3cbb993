// SPDX-License-Identifier: Apache-2.0
//! `sunbeam download-datasets`

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Run;
use crate::cli::GlobalArgs;
use crate::exit::{CliError, ExitCode, told};
use crate::http1;
use crate::https;
use crate::log_file::hex;
use crate::output::{Colour, Printer, escape};
use crate::placed_file::{PlacedFile, refused, shown};
use crate::progress::Progress;

/// Fetch the public data sets that models are trained on and measured with, and check them
///
/// What is there already with the right checksum is kept; nothing with another checksum is ever put there. Without
/// --from it says what is missing and where a person gets it. Exit code 0 when all are there.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DownloadDatasets {
    /// Where they are kept
    #[arg(long, value_name = "DIR", default_value = "datasets")]
    dir: PathBuf,
    /// Take them from this folder, or from a mirror at this `https://` or `http://` address
    #[arg(long, value_name = "DIR_OR_URL", value_parser = origin)]
    from: Option<Origin>,
    /// Who may vouch for the mirror, in the place of the system's roots: a PEM file
    #[arg(long, value_name = "FILE", requires = "from")]
    ca: Option<PathBuf>,
}

/// A public data set.
#[derive(Debug)]
pub(super) struct DataSet {
    name: &'static str,
    /// Its place in the folder.
    file: &'static str,
    sha256: &'static str,
    bytes: u64,
    pub(super) licence: &'static str,
    /// Where a person gets it, or reads of it.
    page: &'static str,
    /// What it is good for.
    note: &'static str,
}

/// Packed with zstd. The order is that of the output.
const DATA_SETS: &[DataSet] = &[
    DataSet {
        name: "HTTP CSIC 2010, normal",
        file: "csic/raw_normal.txt.zst",
        sha256: "6f8670cca887c08b0226cd07f4e0f445b702f56fcd39600b5b3073e0f53db6ce",
        bytes: 168_361,
        licence: "CSIC research data, no licence given",
        page: "https://github.com/simple1007/CSIC2010_M2019066- (norm_test.txt, a sample)",
        note: "requests of one web shop, with made-up headers",
    },
    DataSet {
        name: "HTTP CSIC 2010, anomalous",
        file: "csic/raw_anomalous.txt.zst",
        sha256: "a2a516b08b2c398e4d8450b5ba020727873bfbbb64506951afc0fb66c672e9f2",
        bytes: 165_760,
        licence: "CSIC research data, no licence given",
        page: "https://github.com/simple1007/CSIC2010_M2019066- (anomal_test.txt, a sample)",
        note: "attacks, and requests that are merely odd, on the same shop",
    },
    DataSet {
        name: "access log of semicomplete.com, 2015",
        file: "logs/semicomplete_apache_logs.zst",
        sha256: "30a9b1285e0a30c18a0feed8f8f0148bb678bb01c50520ffa5be6ce0ff4ff3b3",
        bytes: 142_944,
        licence: "Apache-2.0",
        page: "https://github.com/elastic/examples (Common Data Formats/apache_logs)",
        note: "people and crawlers, a few probes among them",
    },
    DataSet {
        name: "access log of an Acunetix scan",
        file: "ocatak/acunetix.txt.zst",
        sha256: "2929c1fd6c6e274cf0bb440827e31745624190c151c107b3b58e035af51994b9",
        bytes: 52_173,
        licence: "none given; its author asks to cite the paper",
        page: "https://github.com/ocatak/apache-http-logs",
        note: "one scanner at work",
    },
    DataSet {
        name: "CIC-IDS2017, a sample",
        file: "cicids/CICIDS2017_sample.csv.zst",
        sha256: "251f7146e06fa2ecfd90bed4cddac14aced42388717378113a65fb743cccd136",
        bytes: 393_827,
        licence: "free for research, citing its authors",
        page: "https://www.unb.ca/cic/datasets/ids-2017.html",
        note: "flows without method, path, cookie or client: they cannot train the 14 features of HTTP windows",
    },
    DataSet {
        name: "requests of public corpora in one form",
        file: "requests.jsonl.zst",
        sha256: "b3d7826a53e6927c97afc3e76db1881cb5cf5653adfe0cd4def6624fcbae8db2",
        bytes: 5_040_584,
        licence: "mixed: Apache-2.0, MIT, BSD-3-Clause, MPL-2.0, GPL; some without one",
        page: "",
        note: "labelled payloads, URLs, and browsers' requests; each line names its source",
    },
];

/// The licence of a known file.
pub(super) fn licence_of(sha256: &str) -> Option<&'static str> {
    DATA_SETS.iter().find(|known| known.sha256 == sha256).map(|known| known.licence)
}

/// Where files are taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Folder(PathBuf),
    /// Of a mirror, without the slash at its end.
    Mirror(String),
}

fn origin(text: &str) -> Result<Origin, String> {
    let starts =
        |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if !starts("http://") && !starts("https://") {
        return Ok(Origin::Folder(text.into()));
    }
    let uri: Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
    if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) || uri.query().is_some() {
        return Err("write it as https://host:port/path".to_owned());
    }
    Ok(Origin::Mirror(text.trim_end_matches('/').to_owned()))
}

impl Run for DownloadDatasets {
    const NAME: &'static str = "download-datasets";

    fn run(self, global: &GlobalArgs) -> Result<ExitCode, CliError> {
        if let Some(Origin::Folder(folder)) = &self.from
            && !folder.is_dir()
        {
            return Err(CliError::usage(format!("there is no folder {}", shown(folder))));
        }
        let mut from = self.from.as_ref().map(|from| Source::open(from, self.ca.as_deref())).transpose()?;
        let mut progress =
            Progress::new("fetching data sets", Some(DATA_SETS.iter().map(|set| set.bytes).sum()));
        let mut bytes = 0;
        let mut rows = Vec::new();
        for set in DATA_SETS {
            rows.push((set, self.fetch(from.as_mut(), set)?));
            bytes += set.bytes;
            progress.tell(bytes, rows.len() as u64);
        }
        drop(progress);
        let code =
            if rows.iter().all(|(_, state)| state.is_there()) { ExitCode::Done } else { ExitCode::Findings };
        tell(global.printer(), &self.dir, &rows)?;
        Ok(code)
    }
}

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// It was there.
    Kept,
    /// It is there now.
    Fetched,
    /// It is not; why.
    Missing(String),
}

impl State {
    const fn is_there(&self) -> bool {
        matches!(self, Self::Kept | Self::Fetched)
    }

    const fn as_str(&self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Fetched => "fetched",
            Self::Missing(_) => "missing",
        }
    }
}

impl DownloadDatasets {
    fn fetch(&self, from: Option<&mut Source<'_>>, set: &DataSet) -> Result<State, CliError> {
        let place = self.dir.join(set.file);
        let found = place.is_file().then(|| File::open(&place)).transpose();
        let found = found.map_err(|error| refused("read", &place, &error))?;
        let is_here = found.is_some();
        if let Some(file) = found
            && copied(file, &mut io::sink(), set).is_ok()
        {
            return Ok(State::Kept);
        }
        let Some(from) = from else {
            if is_here {
                let why = "what lies here is damaged or another file, and no `--from` is given";
                return Ok(State::Missing(why.to_owned()));
            }
            return Ok(State::Missing("not here, and no `--from` is given".to_owned()));
        };
        let folder = place.parent().unwrap_or(&self.dir);
        fs::create_dir_all(folder).map_err(|error| refused("make", folder, &error))?;
        let mut why = String::new();
        // A mirror may be laid out as the collection of originals that these are from.
        for prefix in ["", "orig/"] {
            let mut output = PlacedFile::create(&place)?;
            match from.copy(&format!("{prefix}{}", set.file), &mut output, set) {
                Ok(()) => {
                    output.settle()?;
                    return Ok(State::Fetched);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && !why.is_empty() => {}
                Err(error) => why = error.to_string(),
            }
        }
        Ok(State::Missing(why))
    }
}

/// An origin, ready to be asked.
enum Source<'a> {
    Folder(&'a Path),
    Mirror(Box<Mirror<'a>>),
}

impl<'a> Source<'a> {
    fn open(origin: &'a Origin, ca: Option<&Path>) -> Result<Self, CliError> {
        match origin {
            Origin::Folder(_) if ca.is_some() => Err(CliError::usage("`--ca` is for a mirror at `https://`")),
            Origin::Folder(folder) => Ok(Self::Folder(folder)),
            Origin::Mirror(url) => Ok(Self::Mirror(Box::new(Mirror::new(url, ca)?))),
        }
    }

    fn copy(&mut self, name: &str, output: &mut PlacedFile, set: &DataSet) -> io::Result<()> {
        match self {
            Self::Folder(folder) => copied(File::open(folder.join(name))?, output, set),
            Self::Mirror(mirror) => {
                let body = mirror.get(name)?;
                copied(Body { body, runtime: &mirror.runtime, piece: Default::default() }, output, set)
            }
        }
    }
}

/// A server of files.
struct Mirror<'a> {
    url: &'a str,
    /// For one at `https://`.
    tls: Option<TlsConnector>,
    runtime: Runtime,
    /// Why it cannot be reached, once that is known: it is not waited for again.
    lost: Option<String>,
}

impl<'a> Mirror<'a> {
    fn new(url: &'a str, ca: Option<&Path>) -> Result<Self, CliError> {
        let is_encrypted = url.parse::<Uri>().is_ok_and(|uri| uri.scheme() == Some(&Scheme::HTTPS));
        if ca.is_some() && !is_encrypted {
            return Err(CliError::usage("`--ca` is for a mirror at `https://`"));
        }
        let tls = is_encrypted.then(|| https::connector(ca)).transpose()?;
        let runtime = http1::runtime().map_err(|error| CliError::failed(error.to_string()))?;
        Ok(Self { url, tls, runtime, lost: None })
    }

    fn get(&mut self, name: &str) -> io::Result<Incoming> {
        if let Some(why) = &self.lost {
            return Err(io::Error::new(io::ErrorKind::NotConnected, why.as_str()));
        }
        let uri: Uri =
            format!("{}/{name}", self.url).parse().map_err(|error| wrong(format!("not a URL: {error}")))?;
        let authority = uri.authority().ok_or_else(|| wrong("no host".to_owned()))?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let request = Request::get(target).header("Host", authority.as_str()).body(String::new());
        let request = request.map_err(|error| wrong(told(&error)))?;
        let answer = self.runtime.block_on(self.ask(authority, request));
        let answer = answer.unwrap_or_else(|error| {
            let why = format!("failed to reach `{authority}`: {error}");
            self.lost = Some(why.clone());
            Err(io::Error::new(io::ErrorKind::NotConnected, why))
        })?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            StatusCode::NOT_FOUND => {
                Err(io::Error::new(io::ErrorKind::NotFound, "the mirror does not have it"))
            }
            status => Err(wrong(format!("the mirror answered {status}"))),
        }
    }

    /// The outer error is that there is nobody to ask.
    async fn ask(
        &self,
        authority: &Authority,
        request: Request<String>,
    ) -> io::Result<io::Result<Response<Incoming>>> {
        let usual = if self.tls.is_some() { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(usual);
        let stream = http1::connect(&format!("{}:{port}", authority.host()), http1::TIMEOUT).await?;
        let Some(tls) = &self.tls else {
            return Ok(http1::exchange(stream, request, http1::TIMEOUT).await);
        };
        let stream = https::greet(tls, authority.host(), stream).await?;
        Ok(http1::exchange(stream, request, http1::TIMEOUT).await)
    }
}

/// Copies at most what it should have, and checks it.
fn copied(input: impl Read, output: &mut impl io::Write, set: &DataSet) -> io::Result<()> {
    let mut hash = Sha256::new();
    let (mut input, mut buffer, mut bytes) = (input.take(set.bytes + 1), vec![0; 1 << 16], 0);
    loop {
        let count = input.read(&mut buffer)?;
        let piece = buffer.get(..count).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        hash.update(piece);
        output.write_all(piece)?;
        bytes += count as u64;
    }
    if bytes != set.bytes {
        let relation = if bytes < set.bytes { "shorter" } else { "longer" };
        return Err(wrong(format!("what is there is {relation} than {} bytes", set.bytes)));
    }
    let found = hex(&hash.finalize());
    if found != set.sha256 {
        return Err(wrong(format!("what is there has another checksum: sha256 {found}")));
    }
    Ok(())
}

fn wrong(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// A body that is read piece by piece.
struct Body<'a> {
    body: Incoming,
    runtime: &'a Runtime,
    piece: bytes::Bytes,
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let next = async { timeout(http1::TIMEOUT, http1::piece(&mut self.body)).await };
            match self.runtime.block_on(next).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        // A slice is read from as a file would be.
        let count = (&self.piece[..]).read(buffer)?;
        drop(self.piece.split_to(count));
        Ok(count)
    }
}

fn tell(printer: Printer, folder: &Path, rows: &[(&DataSet, State)]) -> Result<(), CliError> {
    if printer.is_json() {
        let all: Vec<Value> = rows.iter().map(|(set, state)| as_json(folder, set, state)).collect();
        return printer.json(&all.into());
    }
    let table: Vec<Vec<String>> = rows.iter().map(|(set, state)| row(printer, set, state)).collect();
    printer.table(&["STATE", "FILE", "DATA SET", "LICENCE", "NOTE"], &table)?;
    for (set, state) in rows {
        if let State::Missing(why) = state {
            printer.line("")?;
            printer.line(format_args!("{}: {}", set.file, escape(why)))?;
            printer.line(format_args!("  {}", remedy(set)))?;
        }
    }
    Ok(())
}

fn remedy(set: &DataSet) -> String {
    let given = "name a folder or mirror that has it with `--from`";
    if set.page.is_empty() { given.to_owned() } else { format!("{given}; it is from {}", set.page) }
}

fn row(printer: Printer, set: &DataSet, state: &State) -> Vec<String> {
    let (glyph, colour) = if state.is_there() { ('✓', Colour::Green) } else { ('✗', Colour::Red) };
    let state = printer.paint(colour, &format!("{glyph} {}", state.as_str()));
    let texts = [set.file, set.name, set.licence, set.note].map(str::to_owned);
    [vec![state], texts.to_vec()].concat()
}

fn as_json(folder: &Path, set: &DataSet, state: &State) -> Value {
    let why = if let State::Missing(why) = state { Some(why) } else { None };
    json!({
        "name": set.name, "file": folder.join(set.file), "sha256": set.sha256, "bytes": set.bytes,
        "licence": set.licence, "page": set.page, "note": set.note, "state": state.as_str(), "reason": why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_data_set_has_a_place_of_its_own_a_hash_and_a_licence() {
        for (index, set) in DATA_SETS.iter().enumerate() {
            assert!(set.sha256.len() == 64 && set.bytes > 0 && !set.licence.is_empty(), "{}", set.file);
            assert!(DATA_SETS.iter().skip(index + 1).all(|other| other.file != set.file), "{}", set.file);
            assert_eq!(licence_of(set.sha256), Some(set.licence));
        }
        assert_eq!(licence_of(""), None);
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        assert_eq!(origin("/a"), Ok(Origin::Folder("/a".into())));
        assert_eq!(origin("http://a.test:8/b/"), Ok(Origin::Mirror("http://a.test:8/b".into())));
        assert_eq!(origin("HTTPS://a.test/"), Ok(Origin::Mirror("HTTPS://a.test".into())));
        for text in ["https://", "http://", "https://u:p@a.test/", "http://a.test/?x=1", "https://a.test/?x"]
        {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_right_bytes_are_taken() {
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let set = DataSet { name: "", file: "", sha256, bytes: 3, licence: "", page: "", note: "" };
        for (name, bytes, part) in [
            ("right", &b"abc"[..], None),
            ("changed", b"abd", Some("checksum")),
            ("short", b"ab", Some("shorter")),
            ("long", b"abcd", Some("longer")),
        ] {
            let mut output = Vec::new();
            let error = copied(bytes, &mut output, &set).err().map(|error| error.to_string());
            assert_eq!(
                error.as_deref().map(|error| error.contains(part.unwrap_or("?"))),
                part.map(|_| true),
                "{name}"
            );
        }
    }
}
