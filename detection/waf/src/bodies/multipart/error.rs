// SPDX-License-Identifier: Apache-2.0
//! What is wrong with a multipart form.

/// Why a multipart form is not as it should be: `REQBODY_ERROR_MSG`. Only the first six stop it from being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// Not `multipart/form-data`.
    #[error("Multipart: Invalid MIME type")]
    MediaType,
    /// The header is longer than any boundary needs.
    #[error("Multipart: Invalid boundary in C-T (length)")]
    ContentTypeTooLong,
    /// There is none.
    #[error("Multipart: Boundary not found in C-T")]
    BoundaryMissing,
    /// It has no characters.
    #[error("Multipart: Invalid boundary in C-T (empty)")]
    BoundaryEmpty,
    /// It has no value, or is no parameter.
    #[error("Multipart: Invalid boundary in C-T (malformed)")]
    BoundaryMalformed,
    /// RFC 2046 forbids it: nobody can tell it from space behind a boundary.
    #[error("Multipart: Invalid boundary in C-T (ends in space)")]
    BoundaryEndsInSpace,
    /// It is there twice: backends differ in which they take.
    #[error("Multipart: Multiple boundary parameters in C-T")]
    BoundaryTwice,
    /// It stands among other parameters.
    #[error("Multipart: Invalid boundary in C-T (other parameters)")]
    OtherParameters,
    /// `Boundary=`: right, and rare.
    #[error("Multipart: Invalid boundary in C-T (case sensitivity)")]
    BoundaryCase,
    /// Only one quote.
    #[error("Multipart: Invalid boundary in C-T (quote)")]
    BoundaryQuote,
    /// What may not stand in one.
    #[error("Multipart: Invalid boundary in C-T (characters)")]
    BoundaryCharacters,
    /// A line starts with the boundary and goes on.
    #[error("Multipart: Invalid boundary (line goes on)")]
    DelimiterGoesOn,
    /// `--"boundary"`
    #[error("Multipart: Invalid boundary (quotes)")]
    DelimiterQuoted,
    /// `-- boundary`
    #[error("Multipart: Invalid boundary (whitespace)")]
    DelimiterWhitespace,
    /// There is not one.
    #[error("Multipart: No boundaries found in payload")]
    NoDelimiter,
    /// The last part has no end.
    #[error("Multipart: Final boundary missing")]
    FinalDelimiterMissing,
    /// In the header of a part.
    #[error("Multipart: Nul byte in part headers")]
    HeaderNul,
    /// In the header of a part.
    #[error("Multipart: Invalid part header (colon missing)")]
    HeaderColonMissing,
    /// In the header of a part.
    #[error("Multipart: Invalid part header (header name missing)")]
    HeaderNameMissing,
    /// In the name of a header line of a part.
    #[error("Multipart: Invalid part header (contains invalid character)")]
    HeaderCharacter,
    /// The header of a part starts with a line that goes on.
    #[error("Multipart: Invalid part header (folding error)")]
    HeaderFolding,
    /// Longer than `part_header_bytes_max`.
    #[error("Multipart: Part header too long")]
    HeaderTooLong,
    /// More than `part_headers_max`.
    #[error("Multipart: Too many part headers")]
    TooManyHeaders,
    /// A part has two headers of a name that counts; the first is taken.
    #[error("Multipart: Duplicate part header")]
    HeaderTwice,
    /// Or it has no name.
    #[error("Multipart: Part missing Content-Disposition header")]
    DispositionMissing,
    /// Not `form-data; name="x"`.
    #[error("Multipart: Invalid Content-Disposition header")]
    Disposition,
    /// More than `arguments_max`.
    #[error("Multipart: Too many fields")]
    TooManyFields,
}
