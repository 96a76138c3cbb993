// SPDX-License-Identifier: Apache-2.0
//! The value of a `backend` key: one URL, or a list with weights.

use sunbeam_config::{FromItem, Item, Reader, Show, ShownValue, Value, section};

use crate::url::BackendUrl;

/// Backends of one list: each choice looks at all of them.
const MEMBERS_MAX: usize = 256;

section! {
    /// An entry of a list of backends.
    pub struct BackendSection {
        /// `http://name:port` or `https://name:port`.
        url: Option<BackendUrl> = None,
        /// Its share of the requests beside the others' weights.
        weight: u32 = 1 => 1..=1_000,
    }
}

/// One backend and its weight.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendEntry {
    /// Where; without a path.
    pub url: BackendUrl,
    /// 1 to 1000.
    pub weight: u32,
}

/// At least one backend, no two the same.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendList(Vec<BackendEntry>);

impl BackendList {
    /// In the order of the file.
    pub fn entries(&self) -> &[BackendEntry] {
        &self.0
    }

    /// Each URL with its key, where `at` is the list's: `routes[0].backend[1]`, and `at` itself for a single one.
    pub fn urls(&self, at: &str) -> Vec<(String, &BackendUrl)> {
        let key = |index| if self.0.len() == 1 { at.to_owned() } else { format!("{at}[{index}]") };
        self.0.iter().enumerate().map(|(index, entry)| (key(index), &entry.url)).collect()
    }
}

impl FromItem for BackendList {
    const EXPECTS: &'static str = "a URL or a list of them";

    fn from_item(item: &Item, path: &str, reader: &mut Reader) -> Option<Self> {
        let Value::Array(items) = &item.value else {
            return BackendEntry::from_item(item, path, reader).map(|entry| Self(vec![entry]));
        };
        if items.is_empty() {
            reader.wrong_value(item, path, "the list is empty");
            return None;
        }
        if items.len() > MEMBERS_MAX {
            let message = format!("{} backends; at most {MEMBERS_MAX} fit in a list", items.len());
            reader.wrong_value(item, path, message);
            return None;
        }
        let mut entries: Vec<BackendEntry> = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let Some(entry) = BackendEntry::from_item(item, &path, reader) else { continue };
            let is_same = |other: &BackendEntry| other.url.same_place(&entry.url);
            if entries.iter().any(is_same) {
                let message = format!("`{}` stands in this list already; use `weight`", entry.url);
                reader.wrong_value(item, &path, message);
            } else {
                entries.push(entry);
            }
        }
        (!entries.is_empty()).then_some(Self(entries))
    }
}

impl FromItem for BackendEntry {
    const EXPECTS: &'static str = "a URL or { url = \"…\", weight = 1 }";

    fn from_item(item: &Item, path: &str, reader: &mut Reader) -> Option<Self> {
        let (url, weight) = match &item.value {
            Value::String(_) => (BackendUrl::from_item(item, path, reader)?, 1),
            Value::Table(table) => {
                let section = BackendSection::from_item(item, path, reader)?;
                let Some(url) = section.url else {
                    // A `url` that is wrong was reported; one that is not there was not.
                    if !table.0.contains_key("url") {
                        reader.wrong_value(item, path, "needs `url`");
                    }
                    return None;
                };
                (url, section.weight)
            }
            _ => {
                reader.wrong_type(item, path, Self::EXPECTS);
                return None;
            }
        };
        if url.path_and_query != "/" {
            let message = "a backend's URL has no path; use `upstream_path_prefix` in `[[routes.paths]]`";
            // The rest of it still takes part in the checks.
            reader.wrong_value(item, path, message);
        }
        Some(Self { url, weight })
    }
}

impl Show for BackendEntry {
    fn show(&self) -> ShownValue {
        if self.weight == 1 {
            return self.url.show();
        }
        let section = BackendSection { url: Some(self.url.clone()), weight: self.weight };
        section.show()
    }
}

impl Show for BackendList {
    fn show(&self) -> ShownValue {
        match self.0.as_slice() {
            [one] if one.weight == 1 => one.show(),
            all => ShownValue::Array(all.iter().map(Show::show).collect()),
        }
    }
}
