// SPDX-License-Identifier: Apache-2.0
//! What requests carry, taken apart into names and values: query strings and forms, cookies, multipart forms, JSON and
//! XML. Each parser goes through its bytes once, in time linear in them, and hands over what it finds as it finds it.
//!
//! None of them stops at what is only odd: a firewall that stops reading where a backend goes on has not looked at the
//! rest. What is odd is told as an error or a flag beside everything that could be read, and rules decide.

pub mod content_type;
pub mod cookies;
pub mod json;
pub mod multipart;
pub mod percent;
pub mod urlencoded;
pub mod xml;

/// How much is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `SecArgumentsLimit`: how many arguments (leaves, fields, cookies) are handed over.
    pub arguments_max: usize,
    /// `SecRequestBodyJsonDepthLimit`: how deep arrays, objects and elements may stand in each other.
    pub depth_max: usize,
    /// How long all names of JSON leaves together may be. They are longer than the body where many leaves stand under
    /// long keys: without this bound a body of 1 MiB could make 1 GiB of names.
    pub names_bytes_max: usize,
    /// How many values of XML attributes are handed over.
    pub attributes_max: usize,
    /// `SecUploadFileLimit`: how many files of a multipart form are handed over.
    pub files_max: usize,
    /// How many header lines of a part are handed over; its first `Content-Disposition` is, wherever it stands.
    pub part_headers_max: usize,
    /// How long a header line of a part may be before it is an error; it is read all the same.
    pub part_header_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            arguments_max: 10_000,
            depth_max: 512,
            names_bytes_max: 4 << 20,
            attributes_max: 10_000,
            files_max: 100,
            part_headers_max: 32,
            part_header_bytes_max: 4096,
        }
    }
}
