// SPDX-License-Identifier: Apache-2.0
//! Finds and loads the configuration for the commands that need one, and says clearly why it cannot.

use std::io;
use std::path::{Path, PathBuf};

use sunbeam_config::{ConfigFiles, LoadError, Loaded, Section as _, Source, Sources, load, load_sources};
use sunbeam_proxy::Config;

use crate::api::RunningConfig;
use crate::cli::GlobalArgs;
use crate::client::{Client, typed};
use crate::exit::CliError;
use crate::output::note;

/// The files that the options mean; `named` is a command's own FILE.
///
/// # Errors
/// When no file is named and none of the usual ones exists.
pub(crate) fn files(global: &GlobalArgs, named: Option<PathBuf>) -> Result<ConfigFiles, CliError> {
    let named = named.or_else(|| global.config.clone());
    ConfigFiles::find(named, global.profile.clone()).ok_or_else(|| {
        let looked = ConfigFiles::DEFAULT_PATHS.join(", ");
        CliError::usage(format!("found no configuration (looked at --config, $SUNBEAM_CONFIG, {looked})"))
            .hint("name one with `--config FILE`; `sunbeam up --to URL` needs none")
    })
}

/// Loads and checks; prints every problem on standard error.
///
/// # Errors
/// Exit code 2, with the number of problems.
pub(crate) fn checked(files: &ConfigFiles) -> Result<Loaded<Config>, CliError> {
    load(files, Config::check).map_err(|error| refused(files, &error))
}

/// The error for a configuration that cannot be used, after its problems are printed.
pub(crate) fn refused(files: &ConfigFiles, error: &LoadError) -> CliError {
    let LoadError::Problems { problems } = error else {
        return match error {
            LoadError::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                CliError::not_permitted(error.to_string()).hint("run as a user that may read it")
            }
            _ => CliError::usage(error.to_string()),
        };
    };
    for problem in problems {
        note(problem);
    }
    CliError::usage(format!("{} in `{}`", count(error.errors(), "problem"), files.path.display()))
}

/// `1 problem`, `2 problems`.
pub(crate) fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A configuration to look at, and what it is called: of the file, else of the running node.
///
/// # Errors
/// When there is neither, or it is broken.
pub(crate) fn file_or_running(global: &GlobalArgs) -> Result<(String, Config), CliError> {
    match files(global, None) {
        Ok(files) => Ok((files.path.display().to_string(), checked(&files)?.config)),
        Err(missing) => match Client::connect_if_running(global)? {
            Some(client) => running(&client),
            None => Err(missing),
        },
    }
}

/// What the node runs with. Secrets are masked, so it is read without the checks.
pub(crate) fn running(client: &Client) -> Result<(String, Config), CliError> {
    let answer: RunningConfig = typed(&client.get("/api/v1/config")?)?;
    let name = format!("the node at {}", client.url());
    let text = answer.toml.replace("${", "$${");
    let source = Source { name: name.clone(), path: None, text };
    let loaded = load_sources(Sources(vec![source]), |_: &Config, _| {})
        .map_err(|error| CliError::failed(format!("the node's configuration cannot be read: {error}")))?;
    Ok((name, loaded.config))
}

/// Where the node of a configuration leaves its traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodePlace {
    /// Of the state file.
    pub(crate) directory: PathBuf,
    /// `management.bind`; `None` = off.
    pub(crate) bind: Option<String>,
    /// `management.token`, if one is configured.
    pub(crate) token: Option<String>,
}

impl NodePlace {
    fn of(config: &Config) -> Self {
        let directory = Path::new(&config.state.path).parent().unwrap_or_else(|| Path::new("."));
        let token = config.management.token.expose();
        Self {
            directory: directory.to_owned(),
            bind: config.management.bind.map(|address| address.to_string()),
            token: Some(token.to_owned()).filter(|token| !token.is_empty()),
        }
    }
}

/// Where to look for the node of these files. A broken file must not keep anyone from asking the node
/// that runs with its older version: then the few keys are picked out of it, or the defaults are taken.
pub(crate) fn node_place(files: &ConfigFiles) -> NodePlace {
    if let Ok(loaded) = load(files, |_: &Config, _| {}) {
        return NodePlace::of(&loaded.config);
    }
    let mut place = NodePlace::of(&Config::default());
    let sources = files.read().unwrap_or_default();
    for source in &sources.0 {
        // What can be read of a text with broken syntax is enough.
        let (table, _) = toml::de::DeTable::parse_recoverable(&source.text);
        let text = |section: &str, key: &str| {
            let section = table.get_ref().get(section)?.get_ref().as_table()?;
            Some(section.get(key)?.get_ref().as_str()?.to_owned())
        };
        if let Some(path) = text("state", "path") {
            place.directory = Path::new(&path).parent().unwrap_or_else(|| Path::new(".")).to_owned();
        }
        if let Some(bind) = text("management", "bind") {
            place.bind = Some(bind).filter(|bind| !bind.is_empty());
        }
    }
    place
}

/// The effective configuration as TOML text, secrets masked.
pub(crate) fn text(config: &Config) -> String {
    sunbeam_config::render(&config.shown())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_of_a_broken_file_is_still_found() {
        let path = std::env::temp_dir().join(format!("sunbeam-place-{}.toml", std::process::id()));
        let files = ConfigFiles { path: path.clone(), profile: None };
        for (name, text, bind) in [
            (
                "sound",
                "[state]\npath = \"/a/b/s.redb\"\n[management]\nbind = \"127.0.0.1:7\"\n",
                Some("127.0.0.1:7"),
            ),
            (
                "unknown key",
                "nonsense = 1\n[state]\npath = \"/a/b/s.redb\"\n[management]\nbind = \"127.0.0.1:7\"\n",
                Some("127.0.0.1:7"),
            ),
            ("off", "nonsense = 1\n[state]\npath = \"/a/b/s.redb\"\n[management]\nbind = \"\"\n", None),
        ] {
            std::fs::write(&path, text).unwrap();
            let place = node_place(&files);
            assert_eq!(
                (place.directory.as_path(), place.bind.as_deref()),
                (Path::new("/a/b"), bind),
                "{name}"
            );
        }
        std::fs::write(&path, "[[[").unwrap();
        assert_eq!(node_place(&files), NodePlace::of(&Config::default()));
        std::fs::remove_file(&path).unwrap();
    }
}
