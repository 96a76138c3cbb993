// SPDX-License-Identifier: Apache-2.0
//! What was logged.

use std::io;
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// The log, line by line.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Lines of this level that say this.
    pub(super) fn lines(&self, level: &str, message: &str) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let says = |line: &Value| {
            line["level"] == level && line["fields"]["message"].as_str().unwrap_or("").contains(message)
        };
        lines.filter(says).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
