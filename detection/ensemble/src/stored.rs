// SPDX-License-Identifier: Apache-2.0
//! Models as bytes and as Rust: both forms are of the very structs that judge, field by field, so they cannot differ.

use crate::cascade::Cascade;
use crate::forest::{Forest, Level};
use crate::grams::Grams;
use crate::mlp::Mlp;
use crate::models::{DdosModel, ScannerModel};
use crate::paths::PathModel;
use crate::payload::PayloadModel;
use crate::reference::Reference;
use crate::tree::Tree;

/// What can be kept.
pub trait Stored: Sized {
    /// Appends its numbers, the lowest byte first.
    fn write(&self, out: &mut Vec<u8>);

    /// Takes it from the front of `input`; nothing when that is too short.
    fn read(input: &mut &[u8]) -> Option<Self>;

    /// Appends it as a Rust expression.
    fn literal(&self, out: &mut String);
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Stored for $type {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn read(input: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = input.split_first_chunk()?;
                *input = rest;
                Some(Self::from_le_bytes(*bytes))
            }

            fn literal(&self, out: &mut String) {
                out.push_str(&self.to_string());
            }
        }
    )*};
}

number!(i8, u8, i16, u16, i32, u32);

impl<T: Stored + Copy, const N: usize> Stored for [T; N] {
    fn write(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|one| one.write(out));
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        let mut array = [T::read(input)?; N];
        for place in array.iter_mut().skip(1) {
            *place = T::read(input)?;
        }
        Some(array)
    }

    fn literal(&self, out: &mut String) {
        out.push('[');
        for (at, one) in self.iter().enumerate() {
            out.push_str(if at == 0 { "" } else { ", " });
            one.literal(out);
        }
        out.push(']');
    }
}

macro_rules! structure {
    ($name:ident $(<$(const $size:ident: usize),*>)? { $($field:ident),* }) => {
        impl $(<$(const $size: usize),*>)? Stored for $name $(<$($size),*>)? {
            fn write(&self, out: &mut Vec<u8>) {
                $(self.$field.write(out);)*
            }

            fn read(input: &mut &[u8]) -> Option<Self> {
                $(let $field = Stored::read(input)?;)*
                Some(Self { $($field),* })
            }

            fn literal(&self, out: &mut String) {
                out.push_str(concat!("crate::", stringify!($name), " {"));
                $(
                    out.push_str(concat!(" ", stringify!($field), ": "));
                    self.$field.literal(out);
                    out.push(',');
                )*
                out.push_str(" }");
            }
        }
    };
}

structure!(Level { column, border });
structure!(Forest<const TREES: usize> { base, levels, leaves });
structure!(Grams<const N: usize> { weights });
structure!(PayloadModel { grams, scales, gate, floor, doubtful, certain, forest, site });
structure!(PathModel { grams, scale, middle });
structure!(Tree { levels, leaves, allow, block });
structure!(Mlp { hidden, biases, output, output_bias, shift, scale });
structure!(Cascade { tree, mlp, certain });
structure!(Reference { usual, inputs, scores });
structure!(ScannerModel { payload, application, paths, cascade, cookie, payload_share, reference });
structure!(DdosModel { cascade, reference });
