// SPDX-License-Identifier: Apache-2.0
//! A model in a file: what it is, what it was trained on, its numbers, and a checksum over all of it.
//!
//! `magic · version · detector · fingerprint · length and text of the card · length and numbers · SHA-256 of all that`,
//! then, where it is signed, an Ed25519 signature (RFC 8032) of that hash. Numbers stand with their lowest byte first.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::models::{DdosModel, ScannerModel};
use crate::payload::PayloadModel;
use crate::schema::fingerprint;
use crate::stored::Stored;

const MAGIC: &[u8; 16] = b"sunbeam-model\r\n\n";
const VERSION: u16 = 1;
/// The largest card.
const CARD_MAX: usize = 64 * 1024;
/// Of the hash.
pub const HASH_LENGTH: usize = 32;
/// Of a signature.
pub const SIGNATURE_LENGTH: usize = 64;
/// Nothing larger is a model: no more is read.
pub const FILE_MAX: usize = 256 * 1024;

/// Whose model it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detector {
    /// Of single requests.
    Scanner,
    /// Of windows.
    Ddos,
}

impl Detector {
    /// `scanner`
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scanner => "scanner",
            Self::Ddos => "ddos",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Scanner => 1,
            Self::Ddos => 2,
        }
    }
}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A model of either detector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Model {
    /// Of single requests.
    Scanner(Box<ScannerModel>),
    /// Of windows.
    Ddos(Box<DdosModel>),
}

impl Model {
    /// Whose it is.
    pub const fn detector(&self) -> Detector {
        match self {
            Self::Scanner(_) => Detector::Scanner,
            Self::Ddos(_) => Detector::Ddos,
        }
    }
}

/// What is told of a model: names and values, in order. `version`, `trained_at`, `seed`, `data` and more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card(pub Vec<(String, String)>);

impl Card {
    /// The value of a name; empty when there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    fn text(&self) -> String {
        let line =
            |(name, value): &(String, String)| format!("{name} = {}\n", value.replace(['\n', '\r'], " "));
        self.0.iter().map(line).collect()
    }

    fn parse(text: &str) -> Self {
        let pair =
            |line: &str| line.split_once(" = ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self(text.lines().filter_map(pair).collect())
    }
}

/// A model file, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFile {
    /// What is told of it.
    pub card: Card,
    /// The model.
    pub model: Model,
    /// Of everything but the signature.
    pub hash: [u8; HASH_LENGTH],
    /// Of the hash.
    pub signature: Option<[u8; SIGNATURE_LENGTH]>,
}

/// Why a file is no model for this program. Shown to the operator as it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelFileError {
    /// Something else.
    #[error("it is no model file")]
    NoModel,
    /// From a later program.
    #[error("it is of version {found}; this program reads {VERSION}")]
    Version {
        /// Its version.
        found: u16,
    },
    /// It broke off, or goes on where it should end.
    #[error("it is cut off or too long")]
    Length,
    /// Something stands behind the hash that is shorter than a signature.
    #[error("its signature is cut off")]
    Signature,
    /// A bit is not what it was.
    #[error("its checksum is wrong: it was changed or damaged")]
    Checksum,
    /// For another detector.
    #[error("it is a model of `{found}`, not of `{wanted}`")]
    Detector {
        /// Whose it is.
        found: Detector,
        /// Whose was wanted.
        wanted: Detector,
    },
    /// Trained on other features than this program computes.
    #[error(
        "it was trained on other features (fingerprint {found:016x}, this program has {wanted:016x}): train it again"
    )]
    Features {
        /// In the file.
        found: u64,
        /// In this program.
        wanted: u64,
    },
    /// A number that no training gives.
    #[error("it holds impossible numbers: {what}")]
    Numbers {
        /// Which.
        what: &'static str,
    },
}

impl ModelFile {
    /// Writes a model.
    pub fn bytes(model: &Model, card: &Card) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        VERSION.write(&mut out);
        out.push(model.detector().number());
        out.extend_from_slice(&fingerprint(model.detector()).to_le_bytes());
        part(&mut out, card.text().as_bytes());
        let mut numbers = Vec::new();
        match model {
            Model::Scanner(model) => model.write(&mut numbers),
            Model::Ddos(model) => model.write(&mut numbers),
        }
        part(&mut out, &numbers);
        let hash = Sha256::digest(&out);
        out.extend_from_slice(&hash);
        out
    }

    /// The bytes of a model file with a signature of its hash behind them, in the place of one that is there.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn signed(
        bytes: &[u8],
        sign: impl FnOnce(&[u8; HASH_LENGTH]) -> [u8; SIGNATURE_LENGTH],
    ) -> Result<Vec<u8>, ModelFileError> {
        let file = Self::read(bytes)?;
        let unsigned = bytes.len() - file.signature.map_or(0, |signature| signature.len());
        let unsigned = bytes.get(..unsigned).ok_or(ModelFileError::Length)?;
        Ok([unsigned, &sign(&file.hash)].concat())
    }

    /// Reads a model; nothing in it is used before its checksum was found right.
    ///
    /// # Errors
    /// See [`ModelFileError`].
    pub fn read(bytes: &[u8]) -> Result<Self, ModelFileError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(ModelFileError::NoModel)?;
        let mut rest = rest;
        let version = u16::read(&mut rest).ok_or(ModelFileError::Length)?;
        if version != VERSION {
            return Err(ModelFileError::Version { found: version });
        }
        let detector = u8::read(&mut rest).ok_or(ModelFileError::Length)?;
        let found = u64::from_le_bytes(take(&mut rest)?);
        let card = taken_part(&mut rest, CARD_MAX)?;
        let numbers = taken_part(&mut rest, FILE_MAX)?;
        let covered = bytes.get(..bytes.len() - rest.len()).ok_or(ModelFileError::Length)?;
        let hash: [u8; HASH_LENGTH] = take(&mut rest)?;
        if hash[..] != Sha256::digest(covered)[..] {
            return Err(ModelFileError::Checksum);
        }
        let signature = match rest.len() {
            0 => None,
            1..SIGNATURE_LENGTH => return Err(ModelFileError::Signature),
            _ => Some(take(&mut rest)?),
        };
        if !rest.is_empty() {
            return Err(ModelFileError::Length);
        }
        let detector =
            [Detector::Scanner, Detector::Ddos].into_iter().find(|known| known.number() == detector);
        let detector = detector.ok_or(ModelFileError::NoModel)?;
        let wanted = fingerprint(detector);
        if found != wanted {
            return Err(ModelFileError::Features { found, wanted });
        }
        let model = model(detector, numbers)?;
        let card = Card::parse(&String::from_utf8_lossy(card));
        Ok(Self { card, model, hash, signature })
    }
}

fn model(detector: Detector, numbers: &[u8]) -> Result<Model, ModelFileError> {
    let mut rest = numbers;
    let model = match detector {
        Detector::Scanner => ScannerModel::read(&mut rest).map(|model| Model::Scanner(Box::new(model))),
        Detector::Ddos => DdosModel::read(&mut rest).map(|model| Model::Ddos(Box::new(model))),
    };
    let model = model.filter(|_| rest.is_empty()).ok_or(ModelFileError::Length)?;
    check(&model)?;
    Ok(model)
}

/// No logit of a model, nor any bound of its zones, is larger: so no sum or difference of them overflows. It is 65,536
/// in whole logits, and a probability of 1 has none.
const LOGIT_MAX: i32 = 1 << 24;
/// What a text says is added that many times at most, where the tree does not know; in 1/256.
const PAYLOAD_SHARE_MAX: i32 = 16 * 256;

/// A shift past the width would be no shift, a zone that ends before it begins no zone, and a sum that overflows says the
/// opposite of what it should.
fn check(model: &Model) -> Result<(), ModelFileError> {
    let wrong = |what| Err(ModelFileError::Numbers { what });
    let cascade = match model {
        Model::Scanner(model) => {
            check_payload(&model.payload)?;
            if !model.application.is_possible() {
                return wrong("what is odd for the application is out of range");
            }
            if !(0..=PAYLOAD_SHARE_MAX).contains(&model.payload_share) {
                return wrong("the share of what texts say is out of range");
            }
            &model.cascade
        }
        Model::Ddos(model) => &model.cascade,
    };
    if cascade.mlp.shift > 31 {
        return wrong("the perceptron shifts its sums out");
    }
    if !cascade.mlp.is_possible(LOGIT_MAX) {
        return wrong("the sums of the perceptron are out of range");
    }
    if cascade.tree.allow >= cascade.tree.block {
        return wrong("the tree lets go what it stops");
    }
    if !is_bound(cascade.certain) {
        return wrong("what is certain is out of range");
    }
    Ok(())
}

fn check_payload(payload: &PayloadModel) -> Result<(), ModelFileError> {
    let wrong = |what| Err(ModelFileError::Numbers { what });
    if payload.floor >= payload.doubtful {
        return wrong("what it did not look at is doubtful");
    }
    if payload.certain < payload.doubtful {
        return wrong("what is certain is less than what is doubtful");
    }
    let sums = [payload.forest.base, payload.site.base, payload.floor];
    if !sums.into_iter().all(is_logit) || ![payload.doubtful, payload.certain].into_iter().all(is_bound) {
        return wrong("what texts say is out of range");
    }
    Ok(())
}

const fn is_logit(number: i32) -> bool {
    number.unsigned_abs() <= LOGIT_MAX.unsigned_abs()
}

/// Where a zone begins; the greatest number is one that never does.
const fn is_bound(number: i32) -> bool {
    is_logit(number) || number == i32::MAX
}

fn part(out: &mut Vec<u8>, bytes: &[u8]) {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).write(out);
    out.extend_from_slice(bytes);
}

fn taken_part<'a>(rest: &mut &'a [u8], most: usize) -> Result<&'a [u8], ModelFileError> {
    let length =
        u32::read(rest).and_then(|length| usize::try_from(length).ok()).filter(|length| *length <= most);
    let (part, behind) =
        rest.split_at_checked(length.ok_or(ModelFileError::Length)?).ok_or(ModelFileError::Length)?;
    *rest = behind;
    Ok(part)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ModelFileError> {
    let (bytes, behind) = rest.split_first_chunk().ok_or(ModelFileError::Length)?;
    *rest = behind;
    Ok(*bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::builtin;

    fn scanner() -> Vec<u8> {
        let card = Card(vec![("version".to_owned(), "7".to_owned()), ("data".to_owned(), "a\nb".to_owned())]);
        ModelFile::bytes(&Model::Scanner(Box::new(builtin::SCANNER.clone())), &card)
    }

    #[test]
    fn a_model_comes_back_as_it_was() {
        let bytes = scanner();
        assert!(bytes.len() < FILE_MAX);
        let file = ModelFile::read(&bytes).unwrap();
        assert_eq!(file.model, Model::Scanner(Box::new(builtin::SCANNER.clone())));
        assert_eq!((file.card.get("version"), file.card.get("data"), file.signature), ("7", "a b", None));
        let signed = ModelFile::signed(&bytes, |hash| [hash[0]; SIGNATURE_LENGTH]).unwrap();
        assert_eq!(ModelFile::read(&signed).unwrap().signature, Some([file.hash[0]; SIGNATURE_LENGTH]));
        let again = ModelFile::signed(&signed, |_| [9; SIGNATURE_LENGTH]).unwrap();
        assert_eq!(again, [&bytes[..], &[9; SIGNATURE_LENGTH]].concat());
        assert!(ModelFile::signed(&signed[..99], |_| [9; SIGNATURE_LENGTH]).is_err());
        let ddos = ModelFile::bytes(&Model::Ddos(Box::new(builtin::DDOS.clone())), &Card::default());
        assert_eq!(ModelFile::read(&ddos).unwrap().model.detector(), Detector::Ddos);
    }

    /// With a right checksum over it.
    fn resealed(mut bytes: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
        bytes[at] = value;
        bytes.truncate(bytes.len() - HASH_LENGTH);
        let hash = Sha256::digest(&bytes);
        bytes.extend_from_slice(&hash);
        bytes
    }

    #[test]
    fn what_is_no_model_for_this_program_is_refused_and_said() {
        let bytes = scanner();
        assert_eq!(ModelFile::read(b"hello"), Err(ModelFileError::NoModel));
        assert_eq!(ModelFile::read(&bytes[..40]), Err(ModelFileError::Length));
        for (more, want) in
            [(1, ModelFileError::Signature), (63, ModelFileError::Signature), (65, ModelFileError::Length)]
        {
            assert_eq!(
                ModelFile::read(&[&bytes[..], &vec![9; more]].concat()),
                Err(want),
                "{more} bytes behind it"
            );
        }
        assert_eq!(
            ModelFile::read(&resealed(bytes.clone(), 16, 9)),
            Err(ModelFileError::Version { found: 9 })
        );
        assert_eq!(ModelFile::read(&resealed(bytes.clone(), 18, 7)), Err(ModelFileError::NoModel));
        // A model of the one detector that says it is of the other.
        let other = resealed(bytes.clone(), 18, Detector::Ddos.number());
        assert!(matches!(ModelFile::read(&other), Err(ModelFileError::Features { .. })));
        let stale = resealed(bytes.clone(), 19, !bytes[19]);
        assert!(matches!(ModelFile::read(&stale), Err(ModelFileError::Features { .. })));
        let mut model = builtin::DDOS.clone();
        model.cascade.mlp.shift = 32;
        let impossible = ModelFile::bytes(&Model::Ddos(Box::new(model)), &Card::default());
        assert!(matches!(ModelFile::read(&impossible), Err(ModelFileError::Numbers { .. })));
    }

    /// Writes one of the numbers of a model that are not bounded by their size.
    fn forge(model: &mut ScannerModel, field: usize, number: i32) {
        let (payload, mlp) = (&mut model.payload, &mut model.cascade.mlp);
        let ([mean, worst, sum], [first, .., last]) = (&mut payload.scales, &mut mlp.biases);
        let places = [
            &mut payload.forest.base,
            &mut payload.site.base,
            &mut payload.floor,
            &mut payload.doubtful,
            &mut payload.certain,
            &mut payload.gate,
            mean,
            worst,
            sum,
            &mut model.payload_share,
            &mut model.paths.scale,
            &mut model.paths.middle,
            &mut model.application.bias,
            &mut model.application.scale,
            &mut model.application.doubtful,
            &mut model.cascade.certain,
            &mut mlp.output_bias,
            &mut mlp.scale,
            first,
            last,
        ];
        match places.into_iter().nth(field) {
            Some(place) => *place = number,
            None => mlp.shift = number.cast_unsigned(),
        }
    }

    const FIELDS: usize = 21;

    fn numbers() -> impl Strategy<Value = i32> {
        let edge = LOGIT_MAX;
        prop_oneof![
            any::<i32>(),
            prop_oneof![Just(i32::MAX), Just(i32::MIN), Just(i32::MIN + 1), Just(edge), Just(-edge)],
            -4096..4096_i32,
        ]
    }

    /// Everything that is computed of a request and of a window; in tests a sum that overflows is a panic.
    fn judge(model: &Model, text: &[u8], inputs: [u8; crate::INPUTS], threshold: i32) {
        use sunbeam_features::application::{Part, PartKind};
        use sunbeam_features::payload::{Facts, read};

        let cascade = match model {
            Model::Scanner(model) => {
                let mut facts = Facts::default();
                read(text, &mut facts);
                let reading = model.payload.read(&facts);
                assert!(is_logit(reading.logit / 2), "{reading:?}");
                model.payload.shares(&reading.columns);
                model.paths.score(&facts.symbols);
                let tokens: Vec<u32> = text.iter().map(|byte| u32::from(*byte) << 24).collect();
                model.application.read(&Part { kind: PartKind::Path, name: b"", tokens: &tokens });
                let features = std::array::from_fn(|at| inputs[at]);
                crate::score_bin(model.judge(&features, reading.logit, threshold).logit);
                &model.cascade
            }
            Model::Ddos(model) => {
                let features = std::array::from_fn(|at| u32::from(inputs[at]) << 24);
                crate::score_bin(model.judge(&features, threshold).logit);
                &model.cascade
            }
        };
        cascade.shares(&inputs, &[0; crate::INPUTS]);
        assert_eq!(cascade.mlp.logit(&inputs), cascade.mlp.logit_plain(&inputs));
    }

    #[test]
    fn numbers_that_overflow_a_sum_are_refused_and_those_that_training_gives_are_not() {
        let base = builtin::SCANNER.clone();
        for (name, field, number) in [
            ("the forest's base", 0, i32::MAX),
            ("the base of the site's forest", 1, i32::MIN),
            ("the floor", 2, i32::MIN),
            ("the share of texts", 9, i32::MAX),
            ("a negative share", 9, -1),
            ("the perceptron's bias", 16, i32::MAX),
            ("its scale", 17, i32::MIN),
            ("a neuron's bias", 18, i32::MIN),
            ("the last neuron's", 19, i32::MAX),
            ("its shift", 20, -1),
            ("certainty", 15, i32::MIN),
        ] {
            let mut model = base.clone();
            forge(&mut model, field, number);
            let bytes = ModelFile::bytes(&Model::Scanner(Box::new(model)), &Card::default());
            assert!(matches!(ModelFile::read(&bytes), Err(ModelFileError::Numbers { .. })), "{name}");
        }
        // Zones that never begin.
        let mut model = base;
        [3, 4, 15].into_iter().for_each(|field| forge(&mut model, field, i32::MAX));
        assert!(
            ModelFile::read(&ModelFile::bytes(&Model::Scanner(Box::new(model)), &Card::default())).is_ok()
        );
    }

    proptest! {
        #[test]
        fn whatever_is_forged_is_refused_or_judges_without_overflow(
            forged in proptest::collection::vec((0..FIELDS, numbers()), 0..3), heavy in any::<bool>(),
            text in proptest::collection::vec(any::<u8>(), 0..64), inputs in any::<[u8; crate::INPUTS]>(),
            threshold in -2048..2048_i32,
        ) {
            let mut model = builtin::SCANNER.clone();
            if heavy {
                model.payload.forest.leaves = [[i16::MIN; 16]; crate::TREES];
                model.payload.site.leaves = [[i16::MIN; 16]; crate::SITE_TREES];
                model.payload.grams.weights = [i8::MIN; crate::GRAMS];
                (model.cascade.mlp.output, model.cascade.tree.leaves) = ([i8::MIN; 32], [i16::MIN; 64]);
                model.cascade.mlp.hidden = [[[i8::MIN; 4]; 32]; 4];
            }
            forged.iter().for_each(|(field, number)| forge(&mut model, *field, *number));
            let cascade = model.cascade.clone();
            let ddos = DdosModel { cascade, ..builtin::DDOS.clone() };
            for model in [Model::Scanner(Box::new(model)), Model::Ddos(Box::new(ddos))] {
                match ModelFile::read(&ModelFile::bytes(&model, &Card::default())) {
                    Ok(file) => judge(&file.model, &text, inputs, threshold),
                    Err(error) => prop_assert!(matches!(error, ModelFileError::Numbers { .. }), "{error}"),
                }
            }
        }

        #[test]
        fn any_changed_bit_is_found(at in 0..usize::MAX, bit in 0..8_u32) {
            let mut bytes = scanner();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(ModelFile::read(&bytes).is_err());
        }

        #[test]
        fn any_cut_is_found(length in 0..usize::MAX) {
            let bytes = scanner();
            prop_assert!(ModelFile::read(&bytes[..length % bytes.len()]).is_err());
        }

        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(ModelFile::read(&[&MAGIC[..], &bytes].concat()).is_err());
        }
    }
}
