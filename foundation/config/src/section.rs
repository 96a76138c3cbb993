// SPDX-License-Identifier: Apache-2.0
//! What a section is, and the macro that declares one.

use crate::reader::Reader;
use crate::tree::Table;

/// A key as the reference page shows it.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the file.
    pub name: &'static str,
    /// Its doc comment.
    pub doc: &'static str,
    /// What its value must be.
    pub expects: &'static str,
    /// The keys below it, when it is a section or a list of them.
    pub nested: fn() -> Option<SectionDoc>,
}

/// A section as the reference page shows it.
#[derive(Clone, Debug)]
pub struct SectionDoc {
    /// The doc comment of the section.
    pub doc: &'static str,
    /// Its keys, in order.
    pub keys: &'static [Key],
    /// What an empty section means.
    pub defaults: toml::Table,
    /// Whether it may stand several times (`[[…]]`).
    pub repeated: bool,
}

/// A set of keys. Implemented by [`section!`](crate::section!), never by hand.
pub trait Section: Default {
    /// Its keys, in the order of the reference page.
    const KEYS: &'static [Key];
    /// Keys of parts that do not exist yet: refused, and never taken for a misspelling.
    const LATER: &'static [&'static str];
    /// The doc comment of the section.
    const DOC: &'static str;

    /// Reads every key, reports every problem; a key that is absent or wrong keeps its default.
    fn read(table: &Table, path: &str, reader: &mut Reader) -> Self;

    /// The section as TOML, secrets masked.
    fn shown(&self) -> toml::Table;
}

/// Declares a section: one line a key.
///
/// ```
/// sunbeam_config::section! {
///     /// Bounds on what clients may do.
///     pub struct Limits {
///         /// Bytes of a request's head.
///         max_header_bytes: usize = 32_768 => 1024..=1_048_576,
///         /// Seconds between two requests.
///         keepalive_secs: u64 = 75,
///     }
///     later { max_connections_per_ip }
/// }
/// assert_eq!(Limits::default().keepalive_secs, 75);
/// ```
///
/// `=> range` bounds the value; `later { … }` names the keys that a later version will read.
#[macro_export]
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        pub struct $name:ident {
            $(
                $(#[doc = $key_doc:literal])*
                $key:ident: $type:ty = $default:expr $(=> $range:expr)?
            ),* $(,)?
        }
        $(later { $($later:ident),* $(,)? })?
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( $(#[doc = $key_doc])* pub $key: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $key: $default, )* }
            }
        }

        impl $crate::Section for $name {
            const KEYS: &'static [$crate::Key] = &[$(
                $crate::Key {
                    name: stringify!($key),
                    doc: concat!($($key_doc, "\n",)*),
                    expects: <$type as $crate::FromItem>::EXPECTS,
                    nested: <$type as $crate::FromItem>::nested,
                },
            )*];
            const LATER: &'static [&'static str] = &[$($(stringify!($later)),*)?];
            const DOC: &'static str = concat!($($doc, "\n",)*);

            fn read(table: &$crate::Table, path: &str, reader: &mut $crate::Reader) -> Self {
                let mut section = Self::default();
                reader.unknown_keys(table, path, Self::KEYS, Self::LATER);
                $(
                    if let Some(value) = $crate::section!(@read reader, table, path, $key $(, $range)?) {
                        section.$key = value;
                    }
                )*
                section
            }

            fn shown(&self) -> $crate::__private::Table {
                let mut table = $crate::__private::Table::new();
                $(
                    table.insert(stringify!($key).to_owned(), $crate::Show::show(&self.$key));
                )*
                table
            }
        }

        impl $crate::FromItem for $name {
            const EXPECTS: &'static str = "a table";

            fn from_item(
                item: &$crate::Item,
                path: &str,
                reader: &mut $crate::Reader,
            ) -> Option<Self> {
                let $crate::Value::Table(table) = &item.value else {
                    reader.wrong_type(item, path, <Self as $crate::FromItem>::EXPECTS);
                    return None;
                };
                Some(<Self as $crate::Section>::read(table, path, reader))
            }

            fn nested() -> Option<$crate::SectionDoc> {
                Some($crate::SectionDoc {
                    doc: <Self as $crate::Section>::DOC,
                    keys: <Self as $crate::Section>::KEYS,
                    defaults: $crate::Section::shown(&Self::default()),
                    repeated: false,
                })
            }
        }

        impl $crate::Show for $name {
            fn show(&self) -> $crate::ShownValue {
                $crate::ShownValue::Table($crate::Section::shown(self))
            }
        }
    };
    (@read $reader:ident, $table:ident, $path:ident, $key:ident) => {
        $reader.field($table, $path, stringify!($key))
    };
    (@read $reader:ident, $table:ident, $path:ident, $key:ident, $range:expr) => {
        $reader.field_in($table, $path, stringify!($key), $range)
    };
}
