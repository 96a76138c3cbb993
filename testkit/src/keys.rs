// SPDX-License-Identifier: Apache-2.0
//! Keys that sign models, made and used as a person would: with openssl.

use std::path::PathBuf;
use std::process::Command;

use crate::folder::TestFolder;

/// Two files: `NAME.pem` and `NAME.pub.pem`.
#[derive(Clone, Debug)]
pub struct TestKey {
    /// Signs.
    pub private: PathBuf,
    /// Checks.
    pub public: PathBuf,
}

impl TestKey {
    /// A new key: `ed25519`, or another algorithm that openssl knows.
    pub fn new(folder: &TestFolder, name: &str, algorithm: &str) -> Self {
        let [private, public] = [".pem", ".pub.pem"].map(|ending| folder.join(&format!("{name}{ending}")));
        openssl(Command::new("openssl").args(["genpkey", "-algorithm", algorithm, "-out"]).arg(&private));
        openssl(
            Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&private).arg("-out").arg(&public),
        );
        Self { private, public }
    }

    /// What it signs is 64 bytes.
    pub fn sign(&self, folder: &TestFolder, message: &[u8]) -> Vec<u8> {
        let (message, signature) = (folder.write("message", message), folder.join("signature"));
        let mut command = Command::new("openssl");
        command.args(["pkeyutl", "-sign", "-rawin", "-inkey"]).arg(&self.private);
        openssl(command.arg("-in").arg(message).arg("-out").arg(&signature));
        std::fs::read(signature).expect("openssl wrote it")
    }

    /// Fails unless the key signed that.
    pub fn verify(&self, folder: &TestFolder, message: &[u8], signature: &[u8]) {
        let [message, signature] =
            [("message", message), ("signature", signature)].map(|(name, bytes)| folder.write(name, bytes));
        let mut command = Command::new("openssl");
        command.args(["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey"]).arg(&self.public);
        openssl(command.arg("-in").arg(message).arg("-sigfile").arg(signature));
    }
}

fn openssl(command: &mut Command) {
    let output = command.output().expect("openssl is installed: `./dev setup`");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
