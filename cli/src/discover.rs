// SPDX-License-Identifier: Apache-2.0
//! Finds the node that a command is meant for.
//!
//! In this order: `--node` or `SUNBEAM_NODE`; the node of the configuration file; the node that
//! `sunbeam up` started; `/var/lib/sunbeam`. A node writes `node.json` beside its state file.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sunbeam_config::ConfigFiles;

use crate::cli::GlobalArgs;
use crate::configuration;
use crate::exit::CliError;

/// The file in which a node says where it can be reached.
pub(crate) const NODE_FILE: &str = "node.json";
/// The file in which it keeps its token when none is configured.
const TOKEN_FILE: &str = "management.token";
/// Bytes that either file may have.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Where a packaged node keeps its state.
const SYSTEM_STATE_DIR: &str = "/var/lib/sunbeam";

/// Where a node's API is, and the token that it asks for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct NodeAddress {
    /// `127.0.0.1:9999`
    pub(crate) authority: String,
    /// Never printed.
    pub(crate) token: String,
}

impl std::fmt::Debug for NodeAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeAddress").field("authority", &self.authority).finish_non_exhaustive()
    }
}

/// What a running node wrote about itself.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NodeFile {
    /// `http://127.0.0.1:9999`; `None` when its management API is off.
    #[serde(default)]
    pub(crate) api: Option<String>,
    /// Where its token is.
    #[serde(default)]
    pub(crate) token_path: Option<PathBuf>,
    /// Its process.
    pub(crate) pid: i32,
}

impl NodeFile {
    /// What stands in `directory`, if the node that wrote it still lives.
    ///
    /// # Errors
    /// When the file is there and may not be read.
    pub(crate) fn alive_in(directory: &Path) -> Result<Option<Self>, CliError> {
        let path = directory.join(NODE_FILE);
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(denied(&path)),
            Err(_) => return Ok(None),
        };
        let node: Option<Self> = serde_json::from_str(&text).ok();
        Ok(node.filter(|node| is_alive(node.pid)))
    }

    fn address(&self, own_token: Option<String>) -> Result<NodeAddress, CliError> {
        let api = self.api.as_ref().ok_or_else(|| {
            CliError::unreachable(format!(
                "the node runs (process {}), but its management API is off",
                self.pid
            ))
            .hint("set `management.bind` to an address like 127.0.0.1:9999")
        })?;
        let token = match (own_token, &self.token_path) {
            (Some(token), _) => token,
            (None, Some(path)) => read_token(path)?,
            (None, None) => String::new(),
        };
        Ok(NodeAddress { authority: authority_of(api)?, token })
    }
}

/// The node that the options mean.
///
/// # Errors
/// Exit code 3 when none is found, 4 when its token may not be read.
pub(crate) fn find(global: &GlobalArgs) -> Result<NodeAddress, CliError> {
    let token = given_token(global)?;
    if let Some(url) = global.node.clone().or_else(|| variable("SUNBEAM_NODE")) {
        return named(global, &url, token);
    }
    let mut looked = Vec::new();
    if let Some(files) = ConfigFiles::find(global.config.clone(), global.profile.clone()) {
        let place = configuration::node_place(&files);
        if let Some(node) = NodeFile::alive_in(&place.directory)? {
            return node.address(token.or(place.token));
        }
        looked.push(place.directory.join(NODE_FILE));
        if global.config.is_some() {
            return beside(&files, &place, token);
        }
    }
    for directory in [up_directory(), PathBuf::from(SYSTEM_STATE_DIR)] {
        if let Some(node) = NodeFile::alive_in(&directory)? {
            return node.address(token);
        }
        looked.push(directory.join(NODE_FILE));
    }
    looked.dedup();
    let looked: Vec<String> = looked.iter().map(|path| path.display().to_string()).collect();
    Err(CliError::unreachable(format!("found no running node (looked for {})", looked.join(", ")))
        .hint("start one with `sunbeam up` or `sunbeam serve --config FILE`, or name one with `--node URL`"))
}

/// `$XDG_STATE_HOME/sunbeam/up`, where `sunbeam up` keeps its state.
pub(crate) fn up_directory() -> PathBuf {
    state_home(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME")).join("sunbeam/up")
}

/// `127.0.0.1:9999` of `http://127.0.0.1:9999`, `127.0.0.1:9999` or `localhost`.
pub(crate) fn authority_of(url: &str) -> Result<String, CliError> {
    let wrong = |why: &str| {
        CliError::usage(format!("`{url}` is not the URL of a node: {why}"))
            .hint("it looks like http://127.0.0.1:9999")
    };
    if url.starts_with("https://") {
        return Err(wrong("the management API speaks plain HTTP; reach a far one through an SSH tunnel"));
    }
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let parsed: http::uri::Authority = authority.parse().map_err(|_| wrong("it does not name a host"))?;
    if authority.contains('@') || parsed.host().is_empty() {
        return Err(wrong("it does not name a host"));
    }
    Ok(if parsed.port().is_some() { authority.to_owned() } else { format!("{authority}:9999") })
}

/// Whether a process with this number exists. One of another user counts.
pub(crate) fn is_alive(pid: i32) -> bool {
    rustix::process::Pid::from_raw(pid).is_some_and(|pid| {
        matches!(rustix::process::test_kill_process(pid), Ok(()) | Err(rustix::io::Errno::PERM))
    })
}

fn named(global: &GlobalArgs, url: &str, token: Option<String>) -> Result<NodeAddress, CliError> {
    let authority = authority_of(url)?;
    if let Some(token) = token {
        return Ok(NodeAddress { authority, token });
    }
    // A node on this host that listens there has left its token in a file.
    let configured = ConfigFiles::find(global.config.clone(), global.profile.clone());
    let place = configured.map(|files| configuration::node_place(&files));
    let directories =
        place.iter().map(|place| place.directory.clone()).chain([up_directory(), SYSTEM_STATE_DIR.into()]);
    for directory in directories {
        if let Ok(Some(node)) = NodeFile::alive_in(&directory)
            && node.api.as_deref().and_then(|api| authority_of(api).ok()).as_ref() == Some(&authority)
        {
            return node.address(place.and_then(|place| place.token));
        }
    }
    Err(CliError::not_permitted(format!("no token for the node at http://{authority}"))
        .hint("give `--token-file FILE` (the node writes `management.token` beside its state file), or set SUNBEAM_TOKEN"))
}

/// The node of a configuration file whose `node.json` is missing: at its configured address, if that
/// and the token are known.
fn beside(
    files: &ConfigFiles,
    place: &configuration::NodePlace,
    token: Option<String>,
) -> Result<NodeAddress, CliError> {
    let missing = || {
        CliError::unreachable(format!("the node of `{}` is not running", files.path.display()))
            .hint(format!("start it with `sunbeam serve --config {}`", files.path.display()))
    };
    let bind = place.bind.clone().ok_or_else(|| {
        CliError::unreachable(format!("the management API is off in `{}`", files.path.display()))
            .hint("set `management.bind` to an address like 127.0.0.1:9999")
    })?;
    let token = match token.or_else(|| place.token.clone()) {
        Some(token) => token,
        None => read(&place.directory.join(TOKEN_FILE)).map_err(|_| missing())?.trim().to_owned(),
    };
    Ok(NodeAddress { authority: authority_of(&bind)?, token })
}

fn given_token(global: &GlobalArgs) -> Result<Option<String>, CliError> {
    match &global.token_file {
        Some(path) => read_token(path).map(Some),
        None => Ok(variable("SUNBEAM_TOKEN")),
    }
}

fn read_token(path: &Path) -> Result<String, CliError> {
    let text = read(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => denied(path),
        _ => CliError::not_permitted(format!("failed to read the token file `{}`: {error}", path.display())),
    })?;
    Ok(text.trim().to_owned())
}

fn denied(path: &Path) -> CliError {
    CliError::not_permitted(format!("`{}` may be read by the node's user only", path.display()))
        .hint("run the command as that user, for example with sudo, or give `--token-file FILE`")
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// A relative `XDG_STATE_HOME` is to be ignored, says its specification.
fn state_home(xdg: Option<OsString>, home: Option<OsString>) -> PathBuf {
    let xdg = xdg.map(PathBuf::from).filter(|path| path.is_absolute());
    let home = home.map(PathBuf::from).filter(|path| path.is_absolute());
    xdg.or_else(|| home.map(|home| home.join(".local/state"))).unwrap_or_else(std::env::temp_dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitCode;

    #[test]
    fn a_node_is_named_by_url_or_address() {
        for (url, want) in [
            ("http://127.0.0.1:9999", Some("127.0.0.1:9999")),
            ("http://127.0.0.1:9999/", Some("127.0.0.1:9999")),
            ("localhost:1", Some("localhost:1")),
            ("localhost", Some("localhost:9999")),
            ("http://[::1]", Some("[::1]:9999")),
            ("https://a:1", None),
            ("http://u:p@a:1", None),
            ("http://", None),
            ("a/b", None),
        ] {
            assert_eq!(authority_of(url).ok().as_deref(), want, "{url}");
        }
    }

    #[test]
    fn the_state_directory_follows_the_xdg_rules() {
        let path = |text: &str| Some(OsString::from(text));
        assert_eq!(state_home(path("/x"), path("/home/a")), Path::new("/x"));
        assert_eq!(state_home(path("x"), path("/home/a")), Path::new("/home/a/.local/state"));
        assert_eq!(state_home(None, None), std::env::temp_dir());
    }

    #[test]
    fn a_node_file_counts_only_while_its_process_lives() {
        let directory = std::env::temp_dir().join(format!("sunbeam-discover-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let write = |pid: u32| {
            let text = format!(
                "{{\"api\":\"http://127.0.0.1:5\",\"token_path\":\"{}\",\"pid\":{pid}}}",
                directory.join("t").display()
            );
            fs::write(directory.join(NODE_FILE), text).unwrap();
            NodeFile::alive_in(&directory).unwrap()
        };
        assert!(write(4_000_000).is_none(), "above the kernel's largest process number");
        let node = write(std::process::id()).unwrap();
        assert_eq!(node.address(None).unwrap_err().code, ExitCode::NotPermitted);
        fs::write(directory.join("t"), "secret\n").unwrap();
        let address = node.address(None).unwrap();
        assert_eq!((address.authority.as_str(), address.token.as_str()), ("127.0.0.1:5", "secret"));
        assert!(!format!("{address:?}").contains("secret"));
        fs::remove_dir_all(&directory).unwrap();
    }
}
