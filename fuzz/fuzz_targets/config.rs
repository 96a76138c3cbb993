// SPDX-License-Identifier: Apache-2.0
//! Routes as an operator writes them: every text is read or refused with places that exist, and what was
//! accepted is shown in words that are accepted again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sunbeam_config::{LoadError, Reader, Section as _, Source, Sources, load_sources, render, section};
use sunbeam_routing::{BackendUrl, RouteSection, Table};

section! {
    /// What the fuzzer writes.
    pub struct Configuration {
        /// Hosts.
        routes: Vec<RouteSection> = Vec::new(),
    }
}

fuzz_target!(|text: &str| {
    url(text);
    match load(text) {
        Ok(configuration) => {
            let shown = render(&configuration.shown());
            let again = load(&shown).unwrap_or_else(|error| panic!("{error}\n{shown}"));
            assert_eq!(render(&again.shown()), shown);
            let table = Table::compile(&configuration.routes, &mut |at, message| panic!("{at}: {message}"));
            for name in table.host_names() {
                assert!(table.find(name).is_some(), "{name}");
            }
        }
        Err(LoadError::Problems { problems }) => {
            let lines = text.lines().count() + 1;
            assert!(!problems.is_empty());
            for problem in problems {
                assert!((1..=lines).contains(&problem.line) && problem.column >= 1, "{problem}");
            }
        }
        Err(error) => panic!("{error}"),
    }
});

fn load(text: &str) -> Result<Configuration, LoadError> {
    let source = Source { name: "fuzz".to_owned(), path: None, text: text.to_owned() };
    let check = |configuration: &Configuration, reader: &mut Reader| {
        Table::compile(&configuration.routes, &mut |at, message| reader.error(at, message));
    };
    load_sources(Sources(vec![source]), check).map(|loaded| loaded.config)
}

fn url(text: &str) {
    let Ok(url) = text.parse::<BackendUrl>() else { return };
    assert!(url.port != 0 && !url.host.is_empty() && url.path_and_query.starts_with(['/', '?']));
    assert!(!url.host.contains(['/', '@', '[', ']']));
    let again: BackendUrl = format!("http://{}/", url.authority()).parse().expect("an authority");
    assert_eq!(again.host, url.host);
}
