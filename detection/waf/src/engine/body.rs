// SPDX-License-Identifier: Apache-2.0
//! What a request carries: arguments, cookies, and its body by the processor that its rules chose.

use super::Transaction;
use super::state::{Interruption, State};
use crate::bodies::json::JsonError;
use crate::bodies::multipart::{MultipartError, Part};
use crate::bodies::xml::XmlError;
use crate::bodies::{Limits, cookies, json, multipart, urlencoded, xml};
use crate::seclang::ast::{BodyProcessor, Variable};

impl Transaction {
    /// The body, as far as it is looked at; phase 2. Called for every request: an empty body has its rules, too.
    /// `is_cut`: there is more of it, which nobody will see.
    pub fn request_body(&mut self, body: &[u8], is_cut: bool) -> Option<&Interruption> {
        let whole = body;
        let body = whole.get(..self.rules.settings.request_body_max).unwrap_or(whole);
        let is_cut = is_cut || body.len() < whole.len();
        self.state.put_number(Variable::RequestBodyLength, body.len());
        self.state.put(Variable::InboundDataError, if is_cut { b"1" } else { b"0" });
        if self.state.request_body {
            self.full_request(None, body);
        }
        if self.state.request_body && !body.is_empty() {
            self.read_body(body, is_cut);
            self.combined_size();
        }
        self.phase(2)
    }

    fn read_body(&mut self, body: &[u8], is_cut: bool) {
        let processor = match self.state.processor {
            None if self.state.forces_request_body => Some(BodyProcessor::UrlEncoded),
            known => known,
        };
        // Whatever reads it, too: rules look for what a processor leaves out, as that of XML does a document type.
        if self.state.forces_request_body {
            self.state.put(Variable::RequestBody, body);
        }
        match processor {
            None => {}
            Some(BodyProcessor::UrlEncoded) => {
                self.state.put(Variable::RequestBody, body);
                self.arguments(body, Variable::ArgsPost, Variable::ArgsPostNames);
            }
            Some(BodyProcessor::Json) => self.json(body, is_cut),
            Some(BodyProcessor::Xml) => self.xml(body, is_cut),
            Some(BodyProcessor::Multipart) => self.multipart(body, is_cut),
        }
    }

    fn limits(&self) -> Limits {
        let settings = &self.rules.settings;
        let known = self.state.of(Variable::ArgsGet).len();
        Limits {
            arguments_max: settings.arguments_max.saturating_sub(known),
            depth_max: settings.json_depth_max,
            ..Limits::default()
        }
    }

    /// Of a query or a form.
    pub(super) fn arguments(&mut self, text: &[u8], values: Variable, names: Variable) {
        let limits = self.limits();
        let state = &mut self.state;
        let separator = self.rules.settings.separator;
        let outcome = urlencoded::visit(text, separator, &limits, |name, value| {
            state.argument(values, names, name, value);
        });
        self.state.has_too_many |= outcome.is_cut;
        if outcome.has_invalid_escape {
            self.state.put(Variable::UrlencodedError, b"1");
        }
    }

    pub(super) fn cookies(&mut self, header: &[u8]) {
        let limits = Limits { arguments_max: self.rules.settings.arguments_max, ..Limits::default() };
        let state = &mut self.state;
        let outcome = cookies::visit(header, &limits, |name, value| {
            state.argument(Variable::RequestCookies, Variable::RequestCookiesNames, name, value);
        });
        self.state.has_too_many |= outcome.is_cut;
    }

    fn json(&mut self, body: &[u8], is_cut: bool) {
        let limits = self.limits();
        let state = &mut self.state;
        let outcome = json::visit(body, &limits, |name, value| match value {
            Some(value) => state.argument(Variable::ArgsPost, Variable::ArgsPostNames, name, value),
            None => state.add(Variable::ArgsPostNames, name, name),
        });
        let error =
            if outcome.error == Some(JsonError::Truncated) && is_cut { outcome.odd } else { outcome.error };
        match error {
            Some(JsonError::TooManyLeaves) => self.state.has_too_many = true,
            Some(error) => self.state.body_error(&error.to_string()),
            None => {}
        }
    }

    fn xml(&mut self, body: &[u8], is_cut: bool) {
        let limits = self.limits();
        let state = &mut self.state;
        let mut text = Vec::new();
        let outcome = xml::visit(body, &limits, &mut text, |value| state.add(Variable::Xml, b"//@*", value));
        self.state.add(Variable::Xml, b"/*", &text);
        let error =
            if outcome.error == Some(XmlError::Truncated) && is_cut { outcome.odd } else { outcome.error };
        match error {
            Some(XmlError::TooManyAttributes) => self.state.has_too_many = true,
            Some(error) => self.state.body_error(&error.to_string()),
            None => {}
        }
    }

    fn multipart(&mut self, body: &[u8], is_cut: bool) {
        let limits = self.limits();
        let headers = self.state.of(Variable::RequestHeaders);
        let is_type = |name: &[u8]| name.eq_ignore_ascii_case(b"content-type");
        let kind = headers.iter().find(|entry| is_type(self.state.texts.get(entry.name)));
        let kind = kind.map(|entry| self.state.texts.get(entry.value).to_vec()).unwrap_or_default();
        let keeps_contents = self.rules.reads(Variable::FilesTmpContent);
        let state = &mut self.state;
        let mut outcome = multipart::visit_beginning(&kind, (body, is_cut), &limits, |part| {
            state.part(part);
            if keeps_contents && part.is_file() {
                state.add(Variable::FilesTmpContent, part.name(), part.value());
            }
        });
        self.state.has_too_many |= outcome.is_cut;
        // That has its own word, as in a form and in JSON.
        if outcome.error == Some(MultipartError::TooManyFields) {
            outcome.error = None;
        }
        self.state.multipart_flags(&outcome);
    }

    /// Bytes of all names and values.
    pub(super) fn combined_size(&mut self) {
        let all = self.state.of(Variable::ArgsGet).iter().chain(self.state.of(Variable::ArgsPost));
        let text = |id| self.state.texts.get(id).len();
        let size = all.map(|entry| text(entry.name) + text(entry.value)).sum();
        self.state.put_number(Variable::ArgsCombinedSize, size);
    }
}

impl State {
    /// A name with its value, and as a name.
    fn argument(&mut self, values: Variable, names: Variable, name: &[u8], value: &[u8]) {
        let (name, value) = (self.texts.intern(name), self.texts.intern(value));
        self.push(values, super::state::Entry { name, value });
        self.push(names, super::state::Entry { name, value: name });
    }

    fn body_error(&mut self, message: &str) {
        self.put(Variable::ReqbodyError, b"1");
        self.put(Variable::ReqbodyErrorMsg, message.as_bytes());
    }

    fn part(&mut self, part: &Part<'_>) {
        let name = part.name();
        for line in part.headers() {
            self.add(Variable::MultipartPartHeaders, name, line);
        }
        if part.is_field() {
            self.argument(Variable::ArgsPost, Variable::ArgsPostNames, name, part.value());
        }
        if !part.is_file() {
            return;
        }
        let names = [part.filename(), part.filename_extended()].into_iter().flatten();
        for filename in names.filter(|filename| !filename.is_empty()) {
            let is_known = self.of(Variable::Files).last().is_some_and(|last| {
                self.texts.get(last.name) == name && self.texts.get(last.value) == filename
            });
            if !is_known {
                self.add(Variable::Files, name, filename);
                self.add(Variable::MultipartFilename, name, filename);
            }
        }
        self.add(Variable::FilesNames, name, name);
        self.add(Variable::MultipartName, name, name);
        let size = part.value().len().to_string();
        self.add(Variable::FilesSizes, name, size.as_bytes());
    }

    fn multipart_flags(&mut self, outcome: &multipart::Outcome) {
        let flags = &outcome.flags;
        for (variable, is_set) in [
            (Variable::MultipartBoundaryQuoted, flags.boundary_quoted),
            (Variable::MultipartBoundaryWhitespace, flags.boundary_whitespace),
            (Variable::MultipartDataBefore, flags.data_before),
            (Variable::MultipartDataAfter, flags.data_after),
            (Variable::MultipartHeaderFolding, flags.header_folding),
            (Variable::MultipartInvalidHeaderFolding, flags.invalid_header_folding),
            (Variable::MultipartLfLine, flags.lf_line),
            (Variable::MultipartCrlfLfLines, flags.crlf_lf_lines),
            (Variable::MultipartMissingSemicolon, flags.missing_semicolon),
            (Variable::MultipartInvalidQuoting, flags.invalid_quoting),
            (Variable::MultipartInvalidPart, flags.invalid_part),
            (Variable::MultipartFileLimitExceeded, flags.file_limit_exceeded),
            (Variable::MultipartStrictError, outcome.strict_error()),
        ] {
            self.put(variable, if is_set { b"1" } else { b"0" });
        }
        self.put_number(Variable::MultipartUnmatchedBoundary, flags.unmatched_boundary as usize);
        self.put_number(Variable::FilesCombinedSize, outcome.files_bytes);
        if let Some(error) = outcome.error {
            self.body_error(&error.to_string());
        }
    }
}
