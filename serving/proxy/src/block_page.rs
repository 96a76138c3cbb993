// SPDX-License-Identifier: Apache-2.0
//! The operator's own page for what layers stop (`detection.block_page`), in place of the built-in one for browsers.

use std::fs::File;
use std::io::Read as _;

use uuid::Uuid;

/// Bytes that the file may have: it is sent to whoever attacks, too.
const BYTES_MAX: u64 = 64 * 1024;

/// Where the request's id is put.
const PLACEHOLDER: &str = "{request_id}";

/// See the module. Read at start and reload; no request reads a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BlockPage {
    /// Between them stands the id.
    pieces: Vec<String>,
}

impl BlockPage {
    /// The page in the file `path`; nothing where that is empty.
    ///
    /// # Errors
    /// For the operator, with the path: it cannot be read, is too large or no text, or has no place for the id.
    pub(crate) fn read(path: &str) -> Result<Option<Self>, String> {
        if path.is_empty() {
            return Ok(None);
        }
        let unread = |error: &dyn std::fmt::Display| format!("failed to read `{path}`: {error}");
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|error| unread(&error))?;
        if !file.metadata().map_err(|error| unread(&error))?.is_file() {
            return Err(unread(&"it is no file"));
        }
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| unread(&error))?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(format!("`{path}` is larger than {} KiB", BYTES_MAX / 1024));
        }
        let text = String::from_utf8(bytes).map_err(|_| format!("`{path}` is no text in UTF-8"))?;
        let pieces: Vec<String> = text.split(PLACEHOLDER).map(str::to_owned).collect();
        if pieces.len() < 2 {
            return Err(format!(
                "`{path}` does not contain `{PLACEHOLDER}`: whoever is stopped by mistake could not say which request it was"
            ));
        }
        Ok(Some(Self { pieces }))
    }

    /// The page of one request. An id is hexadecimal digits and hyphens: nothing in it needs an escape, and nothing that a
    /// client sent is in the page.
    pub(crate) fn of(&self, id: Uuid) -> String {
        self.pieces.join(&id.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_place_for_the_id_and_an_end() {
        let folder = std::env::temp_dir().join(format!("sunbeam-block-page-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("page.html").display().to_string();
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            BlockPage::read(&path)
        };
        let page = read(b"<p>{request_id}</p><a href='mailto:a@b?subject={request_id}'>").unwrap().unwrap();
        let id = Uuid::from_u128(7);
        assert_eq!(page.of(id), format!("<p>{id}</p><a href='mailto:a@b?subject={id}'>"));
        let largest = [b"{request_id}".to_vec(), vec![b'a'; 64 * 1024 - 12]].concat();
        assert!(read(&largest).is_ok());
        for (name, bytes, part) in [
            ("no place", b"<p>{id}</p>".to_vec(), "does not contain `{request_id}`"),
            ("nothing", Vec::new(), "does not contain"),
            ("too large", [largest, vec![b'a']].concat(), "larger than 64 KiB"),
            ("no text", b"\xff{request_id}".to_vec(), "no text in UTF-8"),
        ] {
            let error = read(&bytes).unwrap_err();
            assert!(error.contains(part) && error.contains(&path), "{name}: {error}");
        }
        assert!(BlockPage::read(&folder.display().to_string()).unwrap_err().contains("no file"));
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(BlockPage::read(&path).unwrap_err().contains("failed to read"));
        assert_eq!(BlockPage::read(""), Ok(None));
    }
}
