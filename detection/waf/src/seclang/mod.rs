// SPDX-License-Identifier: Apache-2.0
//! `SecLang`: from the text of rule files to what it says.

pub mod ast;
