// SPDX-License-Identifier: Apache-2.0
//! Whose models a node takes: an Ed25519 key (RFC 8032), and what it signed, which is a model's hash. Without a key every
//! model is taken; with one that cannot be read, none is.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use aws_lc_rs::signature::{ED25519, ED25519_PUBLIC_KEY_LEN, UnparsedPublicKey};
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use sunbeam_ensemble::{HASH_LENGTH, SIGNATURE_LENGTH};

use super::{Chosen, ModelProblem, Origin};
use crate::config::Config;

/// The public half of the key that signs models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPublicKey([u8; ED25519_PUBLIC_KEY_LEN]);

/// Why a file gives no such key. Shown to the operator as it stands.
#[derive(Debug, thiserror::Error)]
pub enum ModelKeyError {
    /// The file system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no PEM, or a broken one.
    #[error("it is no PEM file: {0}")]
    Pem(String),
    /// The half that signs. It has no business on a node.
    #[error("it holds a private key; `openssl pkey -pubout` writes the public one")]
    Private,
    /// None, or more than one: which one was meant?
    #[error("it holds {found} public keys, not one")]
    Count {
        /// So many.
        found: usize,
    },
    /// RSA, ECDSA and the like.
    #[error("its key is no Ed25519 key")]
    Type,
}

/// Why a model is not taken for one that the key signed. Shown to the operator as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelSignatureError {
    /// There is none.
    #[error("it is not signed")]
    Missing,
    /// By another key, or of another hash: nobody can tell the two apart.
    #[error("its signature is not by this key, or is of something else")]
    Wrong,
}

impl ModelPublicKey {
    /// Of a PEM file, as `openssl pkey -pubout` writes it.
    ///
    /// # Errors
    /// When it cannot be read, or is not one Ed25519 key.
    pub fn read(path: &Path) -> Result<Self, ModelKeyError> {
        Self::of_pem(&pem_bytes(path)?)
    }

    fn of_pem(bytes: &[u8]) -> Result<Self, ModelKeyError> {
        use SectionKind::{EcPrivateKey, PrivateKey, PublicKey, RsaPrivateKey};
        let sections: Result<Vec<(SectionKind, Vec<u8>)>, _> =
            <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes).collect();
        let sections = sections.map_err(|error| ModelKeyError::Pem(error.to_string()))?;
        if sections.iter().any(|(kind, _)| matches!(kind, PrivateKey | EcPrivateKey | RsaPrivateKey)) {
            return Err(ModelKeyError::Private);
        }
        let keys: Vec<&Vec<u8>> =
            sections.iter().filter(|(kind, _)| *kind == PublicKey).map(|(_, der)| der).collect();
        let [der] = keys.as_slice() else { return Err(ModelKeyError::Count { found: keys.len() }) };
        let key = der.strip_prefix(&ED25519_SPKI).and_then(|key| key.try_into().ok());
        key.map(Self).ok_or(ModelKeyError::Type)
    }

    /// Whether the key signed the hash of a model.
    ///
    /// # Errors
    /// When it did not.
    pub fn check(
        &self,
        hash: &[u8; HASH_LENGTH],
        signature: Option<&[u8; SIGNATURE_LENGTH]>,
    ) -> Result<(), ModelSignatureError> {
        let signature = signature.ok_or(ModelSignatureError::Missing)?;
        let verified = UnparsedPublicKey::new(&ED25519, &self.0).verify(hash, signature);
        verified.map_err(|_| ModelSignatureError::Wrong)
    }
}

/// Those whose models are taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signers(Option<ModelPublicKey>);

impl Signers {
    /// Of `detection.model_public_key`.
    pub(super) fn of(config: &Config) -> Result<Self, ModelProblem> {
        let path = &config.detection.model_public_key;
        if path.is_empty() {
            return Ok(Self::default());
        }
        let read = ModelPublicKey::read(Path::new(path));
        let problem = |error| ModelProblem { key: KEY, message: format!("`{path}` cannot be used: {error}") };
        read.map(|key| Self(Some(key))).map_err(problem)
    }

    /// Whether a model may be asked. What is compiled in came with the program, and always may.
    pub(crate) fn accept(&self, chosen: &Chosen) -> Result<(), String> {
        let Some(key) = self.0.as_ref().filter(|_| chosen.origin != Origin::CompiledIn) else {
            return Ok(());
        };
        key.check(&chosen.hash, chosen.signature.as_ref())
            .map_err(|error| format!("{error}, and `{KEY}` takes only what its key signed"))
    }
}

/// The key of the configuration.
pub(super) const KEY: &str = "detection.model_public_key";
/// What stands before the 32 bytes of an Ed25519 key in a `SubjectPublicKeyInfo` (RFC 8410): nothing else can.
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// At most so much of a file is read: a key is 113 bytes.
fn pem_bytes(path: &Path) -> io::Result<Vec<u8>> {
    const BYTES_MAX: u64 = 64 * 1024;
    // A pipe would keep its reader waiting.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use sunbeam_ensemble::Detector;

    use super::*;

    fn pem(label: &str, der: &[u8]) -> Vec<u8> {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der)).into_bytes()
    }

    /// The first test vector of RFC 8032, section 7.1.
    fn pair() -> Ed25519KeyPair {
        let seed = b"\x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4\
                     \x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\xac\x03\x1c\xae\x7f\x60";
        Ed25519KeyPair::from_seed_unchecked(seed).unwrap()
    }

    fn public(pair: &Ed25519KeyPair) -> Vec<u8> {
        pem("PUBLIC KEY", &[&ED25519_SPKI, pair.public_key().as_ref()].concat())
    }

    #[test]
    fn a_public_key_is_one_ed25519_key_in_pem() {
        let key = public(&pair());
        let der = [&ED25519_SPKI, pair().public_key().as_ref()].concat();
        assert!(ModelPublicKey::of_pem(&key).is_ok());
        let with_words = [b"signs models\n", &key[..]].concat();
        assert_eq!(ModelPublicKey::of_pem(&with_words).unwrap(), ModelPublicKey::of_pem(&key).unwrap());
        for (name, bytes, want) in [
            ("empty", Vec::new(), "0 public keys"),
            ("words", b"hello".to_vec(), "0 public keys"),
            ("DER", der.clone(), "0 public keys"),
            ("two", [&key[..], &key].concat(), "2 public keys"),
            ("cut", key[..60].to_vec(), "no PEM file"),
            (
                "not base64",
                b"-----BEGIN PUBLIC KEY-----\n*\n-----END PUBLIC KEY-----\n".to_vec(),
                "no PEM file",
            ),
            ("private", pem("PRIVATE KEY", pair().to_pkcs8v1().unwrap().as_ref()), "private key"),
            ("a byte less", pem("PUBLIC KEY", &der[..43]), "no Ed25519 key"),
            ("a byte more", pem("PUBLIC KEY", &[&der[..], &[0]].concat()), "no Ed25519 key"),
            // X25519: as long, for another purpose.
            ("another type", pem("PUBLIC KEY", &[&der[..8], &[0x6e], &der[9..]].concat()), "no Ed25519 key"),
            ("a certificate", pem("CERTIFICATE", &der), "0 public keys"),
        ] {
            let error = ModelPublicKey::of_pem(&bytes).unwrap_err().to_string();
            assert!(error.contains(want), "{name}: {error}");
        }
        assert!(matches!(ModelPublicKey::read(Path::new("/")), Err(ModelKeyError::Io(_))));
    }

    #[test]
    fn only_what_this_key_signed_of_this_model_is_taken() {
        let key = ModelPublicKey::of_pem(&public(&pair())).unwrap();
        let sign = |pair: &Ed25519KeyPair, hash: &[u8]| -> [u8; SIGNATURE_LENGTH] {
            pair.sign(hash).as_ref().try_into().unwrap()
        };
        let (hash, other) = ([7; HASH_LENGTH], [8; HASH_LENGTH]);
        let good = sign(&pair(), &hash);
        let stranger = sign(&Ed25519KeyPair::generate().unwrap(), &hash);
        let mut changed = good;
        changed[40] ^= 1;
        let wrong = Err(ModelSignatureError::Wrong);
        for (name, hash, signature, want) in [
            ("good", &hash, Some(good), Ok(())),
            ("none", &hash, None, Err(ModelSignatureError::Missing)),
            ("of another model", &other, Some(good), wrong),
            ("by another key", &hash, Some(stranger), wrong),
            ("changed", &hash, Some(changed), wrong),
            ("nothing", &hash, Some([0; SIGNATURE_LENGTH]), wrong),
        ] {
            assert_eq!(key.check(hash, signature.as_ref()), want, "{name}");
        }
    }

    #[test]
    fn a_signer_takes_what_is_compiled_in_and_nothing_unsigned_beside_it() {
        let compiled_in = Chosen::compiled_in(Detector::Scanner);
        let file = |signature| Chosen { origin: Origin::Installed, signature, ..Chosen::clone(&compiled_in) };
        let signers = Signers(Some(ModelPublicKey::of_pem(&public(&pair())).unwrap()));
        assert_eq!(signers.accept(&compiled_in), Ok(()));
        assert!(signers.accept(&file(None)).unwrap_err().contains(KEY));
        let signature = pair().sign(&compiled_in.hash).as_ref().try_into().unwrap();
        assert_eq!(signers.accept(&file(Some(signature))), Ok(()));
        assert_eq!(Signers::default().accept(&file(None)), Ok(()), "nobody asks");
    }
}
