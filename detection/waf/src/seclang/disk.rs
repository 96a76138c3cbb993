// SPDX-License-Identifier: Apache-2.0
//! Rule files on disk.

use std::fs::{self, File};
use std::io::{self, Read as _};

use super::load::Files;

/// The files of this machine: regular ones only, and of a larger one no more than shows that it is too large.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskFiles;

impl Files for DiskFiles {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        // Asked before it is opened: opening a pipe would wait for its other end.
        if !fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
            return Err("it is not a regular file".into());
        }
        let file = File::open(path).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        let limit = u64::try_from(super::load::FILE_BYTES_MAX).unwrap_or(u64::MAX);
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    fn matching(&self, pattern: &str) -> Result<Vec<String>, String> {
        let (root, relative) = match pattern.strip_prefix('/') {
            Some(relative) => ("/", relative),
            None => ("", pattern),
        };
        let mut paths = vec![root.to_owned()];
        for part in relative.split('/').filter(|part| !part.is_empty()) {
            paths = children(&paths, part)?;
        }
        let is_found = relative.rsplit('/').find(|part| !part.is_empty()).is_some_and(is_pattern);
        let mut files = Vec::new();
        for path in paths {
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => files.push(path),
                // It stands there under a rule file's name, and whoever put it there believes that it is read.
                Ok(metadata) if is_found && (!metadata.is_dir() || path.ends_with(".conf")) => {
                    return Err(format!("`{path}` is not a regular file"));
                }
                Err(error) if is_found => return Err(format!("`{path}` cannot be read: {error}")),
                Ok(_) => {}
                Err(error) if is_nothing(&error) => {}
                Err(error) => return Err(format!("`{path}` cannot be read: {error}")),
            }
        }
        files.sort();
        Ok(files)
    }
}

/// What of these folders has a name that fits.
fn children(folders: &[String], part: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for folder in folders {
        let join = |name: &str| match folder.as_str() {
            "" => name.to_owned(),
            "/" => format!("/{name}"),
            _ => format!("{folder}/{name}"),
        };
        if !is_pattern(part) {
            found.push(join(part));
            continue;
        }
        let listed = if folder.is_empty() { "." } else { folder.as_str() };
        let told = |error: io::Error| format!("`{listed}` cannot be listed: {error}");
        let entries = match fs::read_dir(listed) {
            Ok(entries) => entries,
            // What is not there or is no folder has nothing that fits: so other programs' patterns do.
            Err(error) if is_nothing(&error) => continue,
            // What may not be listed may well have rules.
            Err(error) => return Err(told(error)),
        };
        for entry in entries {
            let entry = entry.map_err(told)?;
            if let Some(name) = entry.file_name().to_str()
                && fits(part, name)
            {
                found.push(join(name));
            }
            if found.len() > MATCHES_MAX {
                return Err(format!("more than {MATCHES_MAX} files fit"));
            }
        }
    }
    Ok(found)
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether a path is a pattern: `*`, `?` or `[` is in it.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The pattern that only this path fits.
pub(crate) fn literal(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    for character in path.chars() {
        match character {
            '*' | '?' | '[' => pattern.extend(['[', character, ']']),
            other => pattern.push(other),
        }
    }
    pattern
}

/// Whether a name fits a pattern: `*` is any text, `?` any character, `[a-c]` and `[!a-c]` one of these or none of them.
/// A dot at the beginning must stand in the pattern.
fn fits(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut pattern, mut name) = (pattern.as_slice(), name.as_slice());
    // Where to go on when what follows the last `*` does not fit: with one character more for the `*`.
    let mut retry: Option<(&[char], &[char])> = None;
    loop {
        if let ['*', rest @ ..] = pattern {
            pattern = rest;
            retry = Some((rest, name));
            continue;
        }
        if pattern.is_empty() && name.is_empty() {
            return true;
        }
        if let Some((rest_of_pattern, rest_of_name)) = one_fits(pattern, name) {
            (pattern, name) = (rest_of_pattern, rest_of_name);
            continue;
        }
        let Some((after_star, [_, shorter @ ..])) = retry else {
            return false;
        };
        (pattern, name) = (after_star, shorter);
        retry = Some((after_star, shorter));
    }
}

/// What is left when the first of the pattern fits the first of the name.
fn one_fits<'a>(pattern: &'a [char], name: &'a [char]) -> Option<(&'a [char], &'a [char])> {
    let (first, rest_of_name) = name.split_first()?;
    match pattern {
        ['?', rest @ ..] => Some((rest, rest_of_name)),
        ['[', set @ ..] => {
            let (is_in, rest) = set_fits(set, *first)?;
            is_in.then_some((rest, rest_of_name))
        }
        [same, rest @ ..] if same == first => Some((rest, rest_of_name)),
        _ => None,
    }
}

/// Whether a character is of the set that was opened before, and what follows the set.
fn set_fits(set: &[char], c: char) -> Option<(bool, &[char])> {
    let (is_inverted, mut rest) = match set {
        ['!' | '^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let mut is_in = false;
    let mut is_first = true;
    loop {
        match rest {
            [']', after @ ..] if !is_first => return Some((is_in != is_inverted, after)),
            [from, '-', to, after @ ..] if *to != ']' => {
                is_in |= (*from..=*to).contains(&c);
                rest = after;
            }
            [one, after @ ..] => {
                is_in |= *one == c;
                rest = after;
            }
            [] => return None,
        }
        is_first = false;
    }
}

/// More rule files than anyone has.
const MATCHES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_fit_patterns() {
        for (pattern, name, want) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            (".*", ".conf", true),
            ("*.conf", "a.conf.example", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxx", false),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("RE[QS]*-9[0-4]*", "REQUEST-942", true),
            ("RE[QS]*-9[0-4]*", "REQUEST-952", false),
            ("[!a-c]x", "dx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[a", "a", false),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn files_are_read_and_found() {
        let folder = std::env::temp_dir().join(format!("sunbeam-waf-disk-{}", std::process::id()));
        let root = folder.to_str().unwrap();
        for name in ["a/2.conf", "a/1.conf", "b/3.conf", "b/x.data"] {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let found = |pattern: &str| {
            let paths = DiskFiles.matching(&format!("{root}/{pattern}")).unwrap();
            paths.iter().map(|path| path.strip_prefix(root).unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found("*/*.conf"), ["/a/1.conf", "/a/2.conf", "/b/3.conf"]);
        assert_eq!(found("[b-z]/*"), ["/b/3.conf", "/b/x.data"]);
        assert_eq!(found("a/1.conf"), ["/a/1.conf"]);
        assert_eq!(found("a/9.conf").len() + found("c/*").len() + found("*").len(), 0);
        assert_eq!(DiskFiles.read(&format!("{root}/a/1.conf")), Ok(b"a/1.conf".to_vec()));
        assert_eq!(DiskFiles.read(root), Err("it is not a regular file".to_owned()));
        assert!(DiskFiles.read(&format!("{root}/none")).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_may_be_named_as_a_pattern_is() {
        for name in ["r[1]", "a*", "[", "what?", "[!a]"] {
            assert!(fits(&literal(name), name), "{name}");
            assert!(!fits(&literal(name), "r1") && !fits(&literal(name), "ab"), "{name}");
        }
        let folder = std::env::temp_dir().join(format!("sunbeam-waf-literal-{}", std::process::id()));
        for name in ["r[1]", "r1"] {
            fs::create_dir_all(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("a.conf"), name).unwrap();
        }
        let rules = folder.join("r[1]");
        let rules = rules.to_str().unwrap();
        let found = DiskFiles.matching(&format!("{}/*.conf", literal(rules))).unwrap();
        assert_eq!(found, [format!("{rules}/a.conf")]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_names_it() {
        let folder = std::env::temp_dir().join(format!("sunbeam-waf-unread-{}", std::process::id()));
        let root = folder.to_str().unwrap();
        fs::create_dir_all(folder.join("folder/a.conf")).unwrap();
        for name in ["dangling", "loop"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        std::os::unix::fs::symlink("/nonexistent", folder.join("dangling/b.conf")).unwrap();
        std::os::unix::fs::symlink("c.conf", folder.join("loop/c.conf")).unwrap();
        for (pattern, names) in [
            ("folder/*.conf", "folder/a.conf"),
            ("dangling/*.conf", "dangling/b.conf"),
            ("loop/*.conf", "loop/c.conf"),
            // A folder that nobody may list, as root sees it, too.
            ("loop/c.conf/*.conf", "loop/c.conf"),
        ] {
            let error = DiskFiles.matching(&format!("{root}/{pattern}")).unwrap_err();
            assert!(error.contains(&format!("`{root}/{names}`")), "{pattern}: {error}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    /// As plainly as can be.
    fn fits_slowly(pattern: &str, name: &str) -> bool {
        let (mut of_pattern, mut of_name) = (pattern.chars(), name.chars());
        match (of_pattern.next(), of_name.next()) {
            (None, None) => true,
            (Some('*'), None) => fits_slowly(of_pattern.as_str(), name),
            (Some('*'), Some(_)) => {
                fits_slowly(of_pattern.as_str(), name) || fits_slowly(pattern, of_name.as_str())
            }
            (Some('?'), Some(_)) => fits_slowly(of_pattern.as_str(), of_name.as_str()),
            (Some(a), Some(b)) => a == b && fits_slowly(of_pattern.as_str(), of_name.as_str()),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn stars_fit_as_the_slow_way_says(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}", any in "[\\[\\]!a-c^*-]{0,12}") {
            prop_assert_eq!(fits(&pattern, &name), fits_slowly(&pattern, &name));
            fits(&any, &name);
        }
    }
}
