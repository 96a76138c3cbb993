// SPDX-License-Identifier: Apache-2.0
//! `sunbeam model sign` and `sunbeam model verify`

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use aws_lc_rs::signature::Ed25519KeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use sunbeam_ensemble::{HASH_LENGTH, ModelFile, SIGNATURE_LENGTH};
use sunbeam_proxy::ModelPublicKey;

use super::bytes_of;
use crate::exit::{CliError, ExitCode};
use crate::log_file::hex;
use crate::output::Printer;
use crate::placed_file::{PlacedFile, refused, shown};

/// Writes a model with a signature of its hash.
pub(super) fn sign(printer: Printer, model: &Path, key: &Path, to: &Path) -> Result<ExitCode, CliError> {
    if to.exists() {
        return Err(CliError::failed(format!("{} exists already", shown(to))).hint("name a new file"));
    }
    let pair = read_pair(key)?;
    let sign = |hash: &[u8; HASH_LENGTH]| -> [u8; SIGNATURE_LENGTH] {
        pair.sign(hash).as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    };
    let signed = ModelFile::signed(&bytes_of(model)?, sign);
    let signed = signed.map_err(|error| cannot_be_used(model, &error.to_string()))?;
    let mut file = PlacedFile::create(to)?;
    file.write_all(&signed).map_err(|error| file.failed(&error))?;
    file.settle()?;
    if printer.is_json() {
        printer.json(&json!({"file": to, "bytes": signed.len()}))?;
    } else {
        printer.line(format_args!("signed {} as {} ({} bytes)", shown(model), shown(to), signed.len()))?;
    }
    Ok(ExitCode::Done)
}

/// What `openssl genpkey -algorithm ed25519` writes.
fn read_pair(path: &Path) -> Result<Ed25519KeyPair, CliError> {
    /// A key is 119 bytes.
    const BYTES_MAX: u64 = 64 * 1024;
    let mut pem = Vec::new();
    let read = File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut pem));
    read.map_err(|error| refused("read", path, &error))?;
    pair_of(&pem).map_err(|why| {
        CliError::failed(format!("{} cannot sign: {why}", shown(path)))
            .hint("`openssl genpkey -algorithm ed25519 -out KEY.pem` makes a key that can")
    })
}

fn pair_of(pem: &[u8]) -> Result<Ed25519KeyPair, String> {
    let keys: Result<Vec<PrivatePkcs8KeyDer<'_>>, _> = PrivatePkcs8KeyDer::pem_slice_iter(pem).collect();
    let keys = keys.map_err(|error| format!("it is no PEM file: {error}"))?;
    match keys.as_slice() {
        [key] => Ed25519KeyPair::from_pkcs8(key.secret_pkcs8_der())
            .map_err(|_| "its key is no Ed25519 key".to_owned()),
        [] if pem.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) => {
            Err("its key is encrypted; `openssl pkey` takes the passphrase off".to_owned())
        }
        [] => Err("it holds no private key in PKCS#8".to_owned()),
        _ => Err(format!("it holds {} private keys, not one", keys.len())),
    }
}

const ENCRYPTED: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";

/// Whether this program can use a model, and, where a key is named, whether that key signed it.
pub(super) fn verify(printer: Printer, path: &Path, key: Option<&Path>) -> Result<ExitCode, CliError> {
    let bytes = bytes_of(path)?;
    let key = key.map(read_public_key).transpose()?;
    let file = ModelFile::read(&bytes);
    let checked = file.as_ref().map_err(ToString::to_string).and_then(|file| {
        let signature = file.signature.as_ref();
        let checked = key.as_ref().map(|key| key.check(&file.hash, signature)).transpose();
        checked.map(|_| file).map_err(|error| error.to_string())
    });
    let code = if checked.is_ok() { ExitCode::Done } else { ExitCode::Findings };
    if printer.is_json() {
        let file = file.as_ref().ok();
        printer.json(&json!({
            "file": path, "valid": checked.is_ok(), "reason": checked.as_ref().err(),
            "detector": file.map(|file| file.model.detector().as_str()),
            "sha256": file.map(|file| hex(&file.hash)),
            "is_signed": file.map(|file| file.signature.is_some()),
            "signature_checked": key.is_some(),
        }))?;
        return Ok(code);
    }
    let file = checked.map_err(|why| cannot_be_used(path, &why))?;
    let signature = match (file.signature, &key) {
        (None, _) => "not signed",
        (Some(_), None) => "signed by whom `--public-key` would tell",
        (Some(_), Some(_)) => "signed by this key",
    };
    let (detector, hash) = (file.model.detector(), hex(&file.hash));
    printer.line(format_args!("{}: ok, a model of `{detector}`, sha256 {hash}, {signature}", shown(path)))?;
    Ok(code)
}

fn read_public_key(path: &Path) -> Result<ModelPublicKey, CliError> {
    use sunbeam_proxy::ModelKeyError::Io;
    ModelPublicKey::read(path).map_err(|error| match error {
        Io(error) if error.kind() != io::ErrorKind::InvalidInput => refused("read", path, &error),
        error => cannot_be_used(path, &error.to_string()),
    })
}

fn cannot_be_used(path: &Path, why: &str) -> CliError {
    CliError::failed(format!("{} cannot be used: {why}", shown(path)))
}
