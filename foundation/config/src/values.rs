// SPDX-License-Identifier: Apache-2.0
//! Values that check themselves when they are parsed.

use std::fmt;
use std::fs;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use ipnet::IpNet;

use crate::reader::{FromItem, Reader};
use crate::show::Show;
use crate::tree::{Item, Value};

/// Text in which `${…}` is left alone, because it means something else there (regex captures).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawText(pub String);

impl FromItem for RawText {
    const EXPECTS: &'static str = "a string";

    fn from_item(item: &Item, path: &str, reader: &mut Reader) -> Option<Self> {
        if let Value::String(text) = &item.value {
            return Some(Self(text.clone()));
        }
        reader.wrong_type(item, path, Self::EXPECTS);
        None
    }
}

impl Show for RawText {
    fn show(&self) -> toml::Value {
        toml::Value::String(self.0.clone())
    }
}

/// A secret: a string, `"${NAME}"`, or `{ file = "/run/secrets/x" }`. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Bytes that a secret file may have: a mistyped path (a log, a device) must not fill the memory.
    const MAX_FILE_BYTES: u64 = 64 * 1024;

    /// Wraps a secret that did not come from a file.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself. Call this only where it is used.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether none is set.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn read_file(path: &Path) -> Result<Self, String> {
        let told = |error| format!("failed to read secret file `{}`: {error}", path.display());
        let mut text = String::new();
        let file = fs::File::open(path).map_err(told)?;
        file.take(Self::MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(told)?;
        if text.len() as u64 > Self::MAX_FILE_BYTES {
            return Err(format!("secret file `{}` is larger than 64 KiB", path.display()));
        }
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(format!("secret file `{}` is empty", path.display()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Secret(unset)" } else { "Secret(***)" })
    }
}

impl FromItem for Secret {
    const EXPECTS: &'static str = "a string or { file = \"…\" }";

    fn from_item(item: &Item, path: &str, reader: &mut Reader) -> Option<Self> {
        let table = match &item.value {
            Value::String(_) => return String::from_item(item, path, reader).map(Self),
            Value::Table(table) => table,
            _ => {
                reader.wrong_type(item, path, Self::EXPECTS);
                return None;
            }
        };
        let mut keys = table.0.keys();
        if (keys.next().map(String::as_str), keys.next()) != (Some("file"), None) {
            reader.wrong_value(item, path, "expected exactly one key, `file`");
            return None;
        }
        let file: String = reader.field(table, path, "file")?;
        match Self::read_file(Path::new(&file)) {
            Ok(secret) => Some(secret),
            Err(message) => {
                reader.wrong_value(item, path, message);
                None
            }
        }
    }
}

impl Show for Secret {
    fn show(&self) -> toml::Value {
        toml::Value::String(if self.is_empty() { String::new() } else { "***".to_owned() })
    }
}

/// One value or a list of them: `"a"` and `["a", "b"]` both work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: FromItem> FromItem for OneOrMany<T> {
    const EXPECTS: &'static str = T::EXPECTS;

    fn from_item(item: &Item, path: &str, reader: &mut Reader) -> Option<Self> {
        match &item.value {
            Value::Array(_) => Vec::from_item(item, path, reader).map(Self),
            _ => T::from_item(item, path, reader).map(|one| Self(vec![one])),
        }
    }
}

impl<T: Show> Show for OneOrMany<T> {
    fn show(&self) -> toml::Value {
        self.0.show()
    }
}

/// `""` means none, as everywhere in the reference.
impl<T: FromItem> FromItem for Option<T> {
    const EXPECTS: &'static str = T::EXPECTS;

    fn from_item(item: &Item, path: &str, reader: &mut Reader) -> Option<Self> {
        match &item.value {
            Value::String(text) if text.is_empty() => Some(None),
            _ => T::from_item(item, path, reader).map(Some),
        }
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self) -> toml::Value {
        self.as_ref().map_or_else(|| toml::Value::String(String::new()), Show::show)
    }
}

/// An address range; a single address stands for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr(pub IpNet);

impl Cidr {
    /// Whether the address lies in it. IPv4 addresses mapped into IPv6 count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(network) = text.parse::<IpNet>() {
            if network.trunc() != network {
                return Err(format!(
                    "`{text}` has bits set behind its prefix; did you mean `{}`?",
                    network.trunc()
                ));
            }
            return Ok(Self(network));
        }
        text.parse::<IpAddr>()
            .map(|address| Self(IpNet::from(address)))
            .map_err(|_| format!("`{text}` is not an address range like `192.0.2.0/24`"))
    }
}

impl FromItem for Cidr {
    const EXPECTS: &'static str = "an address range";

    fn from_item(item: &Item, path: &str, reader: &mut Reader) -> Option<Self> {
        parsed(item, path, reader)
    }
}

impl Show for Cidr {
    fn show(&self) -> toml::Value {
        toml::Value::String(self.0.to_string())
    }
}

/// Reads a string and parses it; for newtypes with a [`FromStr`] whose error tells the operator what is wrong.
pub(crate) fn parsed<T>(item: &Item, path: &str, reader: &mut Reader) -> Option<T>
where
    T: FromStr<Err = String>,
{
    let text = String::from_item(item, path, reader)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(message) => {
            reader.wrong_value(item, path, message);
            None
        }
    }
}

/// Makes a [`FromStr`] + [`Display`](fmt::Display) type a type of a key.
#[macro_export]
macro_rules! parsed_value {
    ($type:ty, $expects:literal) => {
        impl $crate::FromItem for $type {
            const EXPECTS: &'static str = $expects;

            fn from_item(item: &$crate::Item, path: &str, reader: &mut $crate::Reader) -> Option<Self> {
                let text = <String as $crate::FromItem>::from_item(item, path, reader)?;
                match text.parse::<Self>() {
                    Ok(value) => Some(value),
                    Err(message) => {
                        reader.wrong_value(item, path, message.to_string());
                        None
                    }
                }
            }
        }

        impl $crate::Show for $type {
            fn show(&self) -> $crate::ShownValue {
                $crate::ShownValue::String(self.to_string())
            }
        }
    };
}

/// Declares a value that is one of a few words.
#[macro_export]
macro_rules! choice {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_meta])* $variant),* }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("`{text}` is not one of {}", [$(concat!("`", $word, "`")),*].join(", "))),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),* })
            }
        }

        $crate::parsed_value!($name, "a word");
    };
}
