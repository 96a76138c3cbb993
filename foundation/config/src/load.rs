// SPDX-License-Identifier: Apache-2.0
//! Reads the files of a configuration into a typed section, or tells all that is wrong.

use std::fs;
use std::io;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::problem::{Problem, Severity};
use crate::reader::Reader;
use crate::section::Section;
use crate::source::{At, Source, Sources};
use crate::tree::Table;

/// Which files make up the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFiles {
    /// The file itself.
    pub path: PathBuf,
    /// `dev` layers `config.dev.toml` over `config.toml`.
    pub profile: Option<String>,
}

impl ConfigFiles {
    /// Where the configuration is looked for, in this order, when no file is named.
    pub const DEFAULT_PATHS: [&str; 2] = ["/etc/sunbeam/config.toml", "/etc/pingora/config.toml"];
    /// Bytes that a configuration file may have.
    pub const MAX_BYTES: u64 = 16 * 1024 * 1024;

    /// The file named on the command line, else `$SUNBEAM_CONFIG`, else the first default that exists.
    pub fn find(named: Option<PathBuf>, profile: Option<String>) -> Option<Self> {
        let path = named
            .or_else(|| std::env::var_os("SUNBEAM_CONFIG").filter(|v| !v.is_empty()).map(PathBuf::from))
            .or_else(|| Self::DEFAULT_PATHS.iter().map(PathBuf::from).find(|path| path.exists()))?;
        Some(Self { path, profile })
    }

    /// The files, lowest layer first.
    pub fn paths(&self) -> Vec<PathBuf> {
        let mut paths = vec![self.path.clone()];
        if let Some(profile) = &self.profile {
            let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
            let extension = self.path.extension().unwrap_or_default().to_string_lossy();
            paths.push(self.path.with_file_name(format!("{stem}.{profile}.{extension}")));
        }
        paths
    }

    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, is not UTF-8 or is larger than [`ConfigFiles::MAX_BYTES`].
    pub fn read(&self) -> Result<Sources, LoadError> {
        self.paths().iter().map(|path| read_source(path)).collect::<Result<_, _>>().map(Sources)
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file could not be read.
    #[error("failed to read configuration file `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The text says something that is wrong; warnings are in the list too.
    #[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Problems {
        /// Everything that was found, in the order of the files.
        problems: Vec<Problem>,
    },
}

impl LoadError {
    /// How many errors (not warnings) there are.
    pub fn errors(&self) -> usize {
        match self {
            Self::Read { .. } => 1,
            Self::Problems { problems } => {
                problems.iter().filter(|problem| problem.severity == Severity::Error).count()
            }
        }
    }
}

/// A configuration that may be used.
#[derive(Clone, Debug)]
pub struct Loaded<S> {
    /// The configuration.
    pub config: S,
    /// What will bite.
    pub warnings: Vec<Problem>,
    /// The texts it was made from.
    pub sources: Sources,
}

/// Reads the files and checks them; `check` adds the problems between keys.
///
/// # Errors
/// [`LoadError`], with every problem that was found.
pub fn load<S: Section>(
    files: &ConfigFiles,
    check: impl FnOnce(&S, &mut Reader),
) -> Result<Loaded<S>, LoadError> {
    load_sources(files.read()?, check)
}

/// As [`load`], from texts that were read already.
///
/// # Errors
/// [`LoadError::Problems`], with every problem that was found.
pub fn load_sources<S: Section>(
    sources: Sources,
    check: impl FnOnce(&S, &mut Reader),
) -> Result<Loaded<S>, LoadError> {
    let mut reader = Reader::new(sources.clone(), |name| std::env::var(name).ok());
    let mut tree = Table::default();
    let mut well_formed = true;
    for (index, source) in sources.0.iter().enumerate() {
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        well_formed &= errors.is_empty();
        for error in errors {
            let at = At { source: index, offset: error.span().map_or(0, |span| span.start) };
            reader.push(at, "", error.message().to_owned(), Severity::Error);
        }
        let mut numbers = Vec::new();
        tree.lay(Table::from_toml(table.get_ref(), index, &mut numbers));
        for (at, message) in numbers {
            reader.push(at, "", message, Severity::Error);
        }
    }
    let config = S::read(&tree, "", &mut reader);
    // Relations between keys mean nothing while the text itself is broken.
    if well_formed {
        check(&config, &mut reader);
    }
    let (problems, sources) = reader.finish();
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(LoadError::Problems { problems });
    }
    Ok(Loaded { config, warnings: problems, sources })
}

fn read_source(path: &Path) -> Result<Source, LoadError> {
    let failed = |source| LoadError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(ConfigFiles::MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > ConfigFiles::MAX_BYTES {
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB")));
    }
    Ok(Source { name: path.display().to_string(), path: Some(path.to_owned()), text })
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "`section!` makes public types")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Cidr, OneOrMany, RawText, Secret, diff, section};

    section! {
        /// Listeners.
        pub struct Listen {
            /// Addresses.
            http: OneOrMany<String> = OneOrMany(vec!["0.0.0.0:80".to_owned()]),
            /// Ranges.
            trusted: Vec<Cidr> = Vec::new(),
        }
        later { http3 }
    }
    section! {
        /// One route.
        pub struct Route {
            /// Name.
            host: String = String::new(),
            /// Pattern.
            target: RawText = RawText::default(),
        }
    }
    section! {
        /// Everything.
        pub struct Whole {
            /// Listeners.
            listen: Listen = Listen::default(),
            /// Secret.
            token: Secret = Secret::default(),
            /// Bound.
            most: u32 = 5 => 1..=10,
            /// Share.
            ratio: f64 = 1.0 => 0.0..=1.0,
            /// Routes.
            routes: Vec<Route> = Vec::new(),
        }
        later { waf }
    }

    fn read(texts: &[&str]) -> Result<Loaded<Whole>, LoadError> {
        let sources = texts.iter().enumerate().map(|(index, text)| Source {
            name: format!("c{index}.toml"),
            path: None,
            text: (*text).to_owned(),
        });
        load_sources(Sources(sources.collect()), |_: &Whole, _| {})
    }

    fn problems(text: &str) -> Vec<String> {
        match read(&[text]) {
            Err(LoadError::Problems { problems }) => problems.iter().map(ToString::to_string).collect(),
            other => panic!("expected problems, got {other:?}"),
        }
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(read(&[""]).unwrap().config, Whole::default());
    }

    #[test]
    fn all_problems_are_told_at_once_in_file_order() {
        let text = "most = 99\ntokn = 1\n[listen]\nhttp = 7\ntrusted = [\"10.0.0.1/8\", \"x\"]\nhttp3 = true\n\
                    [waf]\nmode = 1\n[[routes]]\nhost = \"a\"\n[[routes]]\nhots = \"b\"\nhost = true\n";
        assert_eq!(
            problems(text),
            [
                "c0.toml:1:1: `most`: 99 is out of range: 1 to 10",
                "c0.toml:2:1: `tokn`: unknown key; did you mean `token`?",
                "c0.toml:4:8: `listen.http`: expected a string, found an integer",
                "c0.toml:5:12: `listen.trusted[0]`: `10.0.0.1/8` has bits set behind its prefix; did you mean `10.0.0.0/8`?",
                "c0.toml:5:26: `listen.trusted[1]`: `x` is not an address range like `192.0.2.0/24`",
                "c0.toml:6:1: `listen.http3`: not supported yet by this version",
                "c0.toml:7:2: `waf`: not supported yet by this version",
                "c0.toml:12:1: `routes[1].hots`: unknown key; did you mean `host`?",
                "c0.toml:13:8: `routes[1].host`: expected a string, found a boolean",
            ]
        );
    }

    #[test]
    fn broken_syntax_has_a_place() {
        let told = problems("most = 1\n[listen\n");
        assert!(told[0].starts_with("c0.toml:2:"), "{told:?}");
    }

    #[test]
    fn a_profile_lies_over_the_file_key_by_key() {
        let below = "most = 2\n[listen]\nhttp = \"a:1\"\ntrusted = [\"10.0.0.0/8\"]\n";
        let above = "[listen]\nhttp = [\"b:2\", \"c:3\"]\n";
        let config = read(&[below, above]).unwrap().config;
        assert_eq!(config.most, 2);
        assert_eq!(config.listen.http.0, ["b:2", "c:3"]);
        assert_eq!(config.listen.trusted.len(), 1);
    }

    #[test]
    fn environment_variables_are_replaced_and_missing_ones_told() {
        let path = std::env::var("PATH").unwrap();
        let config =
            read(&["[[routes]]\nhost = \"x${PATH}y$${PATH}\"\ntarget = \"${name}\"\n"]).unwrap().config;
        assert_eq!(config.routes[0].host, format!("x{path}y${{PATH}}"));
        assert_eq!(config.routes[0].target.0, "${name}", "captures are left alone");
        assert_eq!(
            problems("[[routes]]\nhost = \"${SUNBEAM_SURELY_UNSET}\"\n"),
            ["c0.toml:2:1: `routes[0].host`: environment variable `SUNBEAM_SURELY_UNSET` is not set"]
        );
    }

    #[test]
    fn a_secret_comes_from_a_file_and_is_never_printed() {
        let file = std::env::temp_dir().join(format!("sunbeam-secret-{}", std::process::id()));
        fs::write(&file, "hunter2\n").unwrap();
        let loaded = read(&[&format!("token = {{ file = {:?} }}", file.display().to_string())]).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(loaded.config.token.expose(), "hunter2");
        assert!(!format!("{:?}", loaded.config).contains("hunter2"));
        assert!(!crate::render(&loaded.config.shown()).contains("hunter2"));
        assert!(problems("token = { file = \"/nonexistent/x\" }")[0].contains("failed to read secret file"));
    }

    #[test]
    fn what_is_shown_reads_back_the_same() {
        let config = read(&["most = 3\n[[routes]]\nhost = \"a\"\n"]).unwrap().config;
        let again = read(&[&crate::render(&config.shown())]).unwrap().config;
        assert_eq!(again, config);
        assert_eq!(
            diff(&Whole::default().shown(), &config.shown()),
            ["most: 5 -> 3", "routes[0]: (none) -> { host = \"a\", target = \"\" }"]
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            drop(read(&[&text]));
        }

        #[test]
        fn no_toml_like_text_makes_it_panic(text in "[a-z\\[\\]{}=\"'.,0-9\n $#-]{0,120}") {
            drop(read(&[&text]));
        }
    }
}
