// SPDX-License-Identifier: Apache-2.0
//! Who changed what over the API, and from where: a file beside the state, a line a change, refused ones too. Bodies are
//! not in it (a configuration has secrets); what the node answered is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::http::{Method, Uri};
use axum::response::Response;
use http_body::Body as _;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::guard::{Caller, Peer};
use crate::core::Core;

/// Bytes of the file; then it becomes the older one, and the one before that goes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Bytes of an answer that is looked at: those to changes are short. Of a longer one only the status is told.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// Characters of a path, a message or an undo.
const TEXT_MAX: usize = 400;

/// What is read back at most.
const READ_BYTES_MAX: u64 = 512 * 1024;
const LINES_MAX: usize = 500;

/// POSTs that only ask.
const ASKING: [&str; 2] = ["/api/v1/explain", "/api/v1/config/validate"];

/// Whether a call is to be written down.
pub(super) fn is_change(method: &Method, path: &str) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) && !ASKING.contains(&path)
}

/// Writes a change down, by what was answered; the answer is as it was.
pub(super) async fn told(
    core: &std::sync::Arc<Core>,
    caller: &Caller,
    Peer(from): Peer,
    (method, uri): (Method, Uri),
    answer: Response,
) -> Response {
    let (head, body) = answer.into_parts();
    let is_short = body.size_hint().exact().is_some_and(|bytes| bytes <= ANSWER_BYTES_MAX);
    let (body, said) = if is_short {
        // It is in memory already, whole.
        let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        (Body::from(bytes), said)
    } else {
        (body, Value::Null)
    };
    let text = |key: &str| said.get(key).and_then(Value::as_str).map(cut);
    let note = json!({
        "who": caller.to_string(),
        "from": from,
        "what": format!("{method} {}", cut(uri.path_and_query().map_or_else(|| uri.path(), |both| both.as_str()))),
        "status": head.status.as_u16(),
        "said": text("message").or_else(|| text("error")),
        "undo": text("undo"),
    });
    let core = std::sync::Arc::clone(core);
    // Written before it is answered.
    drop(tokio::task::spawn_blocking(move || core.trail(&note)).await);
    Response::from_parts(head, body)
}

/// As much of a text as a line has room for.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(TEXT_MAX).collect()
}

impl Core {
    /// Adds a line. Where the disk refuses, the log has it all the same, and the change stays: it was made.
    pub(crate) fn trail(&self, note: &Value) {
        static WRITING: Mutex<()> = Mutex::new(());
        tracing::info!(target: "audit_trail", %note, "changed over the management API");
        let _turn = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        let written = append(self.state.folder(), note, &Timestamp::now().to_string());
        let result = if written.is_ok() { "written" } else { "failed" };
        self.shared.metrics.audit_trail(result).inc();
        if let Err(error) = written {
            tracing::error!(%error, "a change is not in the audit trail's file");
        }
    }
}

fn place(folder: &Path) -> PathBuf {
    folder.join("audit-trail.jsonl")
}

fn append(folder: &Path, note: &Value, at: &str) -> io::Result<()> {
    let place = place(folder);
    if fs::metadata(&place).is_ok_and(|metadata| metadata.len() >= FILE_BYTES_MAX) {
        fs::rename(&place, folder.join("audit-trail.old.jsonl"))?;
    }
    let mut line = json!({"at": at});
    if let (Some(line), Some(note)) = (line.as_object_mut(), note.as_object()) {
        line.extend(note.clone());
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(place)?;
    // The disk may have been full in the middle of the last one.
    let begins = if ends_in_a_line(&mut file)? { "" } else { "\n" };
    file.write_all(format!("{begins}{line}\n").as_bytes())?;
    file.sync_data()
}

/// Whether the next line can follow; also where there is none yet.
fn ends_in_a_line(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// The newest changes, newest first.
pub(super) fn newest(core: &Core) -> Result<Value, super::lists::Refused> {
    let read = read(core.state.folder())
        .map_err(|error| super::lists::Refused::Failed(format!("failed to read the audit trail: {error}")))?;
    Ok(json!({"changes": read}))
}

fn read(folder: &Path) -> io::Result<Vec<Value>> {
    let mut file = match File::open(place(folder)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let skipped = file.metadata()?.len().saturating_sub(READ_BYTES_MAX);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // The first line may have lost its beginning; then it is no JSON.
    let lines = text.lines().rev().filter_map(|line| serde_json::from_str(line).ok());
    Ok(lines.take(LINES_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_asks_is_no_change() {
        for (method, path, want) in [
            (Method::GET, "/api/v1/blocklist", false),
            (Method::POST, "/api/v1/blocklist", true),
            (Method::DELETE, "/api/v1/blocklist/192.0.2.1", true),
            (Method::POST, "/api/v1/explain", false),
            (Method::POST, "/api/v1/config/validate", false),
            (Method::POST, "/api/v1/config/apply", true),
        ] {
            assert_eq!(is_change(&method, path), want, "{method} {path}");
        }
    }

    #[test]
    fn a_change_after_one_that_was_cut_short_is_a_line_of_its_own() {
        let folder = std::env::temp_dir().join(format!("sunbeam-trail-cut-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        append(&folder, &json!({"what": "whole"}), "now").unwrap();
        let mut file = OpenOptions::new().append(true).open(place(&folder)).unwrap();
        file.write_all(b"{\"at\":\"now\",\"wh").unwrap();
        append(&folder, &json!({"what": "after"}), "now").unwrap();
        let told: Vec<Value> = read(&folder).unwrap().iter().map(|line| line["what"].clone()).collect();
        assert_eq!(told, [json!("after"), json!("whole")]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_newest_come_first_and_the_file_does_not_grow_for_ever() {
        let folder = std::env::temp_dir().join(format!("sunbeam-trail-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(read(&folder).unwrap(), Vec::<Value>::new());
        for number in 0..3 {
            append(&folder, &json!({"what": number}), "now").unwrap();
        }
        let told: Vec<Value> = read(&folder).unwrap().iter().map(|line| line["what"].clone()).collect();
        assert_eq!(told, [json!(2), json!(1), json!(0)]);
        let file = OpenOptions::new().write(true).open(place(&folder)).unwrap();
        file.set_len(FILE_BYTES_MAX).unwrap();
        append(&folder, &json!({"what": "after"}), "now").unwrap();
        assert_eq!(read(&folder).unwrap().len(), 1);
        assert!(fs::metadata(place(&folder)).unwrap().len() < 100);
        fs::remove_dir_all(&folder).unwrap();
    }
}
