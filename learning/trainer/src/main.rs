// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask models` runs this. It links nothing that has the shipped models in it, so that they can be trained again
//! after a change of features, when the old ones no longer compile.
#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result, bail};
use sunbeam_trainer::shipped::{Material, figures, files, model_files, train};

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some((root, task)) = words.split_first() else { bail!(USAGE) };
    let root = PathBuf::from(root);
    let Some(shared) = env::var_os("SUNBEAM_SHARED") else {
        println!("models: skipped, SUNBEAM_SHARED is not set: the corpora are not at hand");
        return Ok(());
    };
    let mut material = Material::read(&PathBuf::from(shared).join("data"), &root)?;
    match task {
        [] => write(&root, files(&material, train(&material)?)?),
        ["--check"] => check(&root, &files(&material, train(&material)?)?),
        ["--figures"] => print_figures(&material),
        ["--without", name, folder] => {
            material.leave_out(name);
            write(Path::new(folder), model_files(train(&material)?))
        }
        _ => bail!(USAGE),
    }
}

const USAGE: &str = "usage: sunbeam-trainer ROOT [--check | --figures | --without CORPUS_OR_TOOL FOLDER]";

fn print_figures(material: &Material) -> Result<()> {
    for figure in figures(material, &train(material)?)? {
        println!(
            "{{\"name\":{:?},\"value\":{},\"unit\":{:?},\"goal\":{:?}}}",
            figure.name, figure.value, figure.unit, figure.goal
        );
    }
    Ok(())
}

fn write<T: AsRef<[u8]>>(root: &Path, files: Vec<(String, T)>) -> Result<()> {
    for (file, text) in files {
        let path = root.join(&file);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(&path, text)?;
        println!("{file}");
    }
    Ok(())
}

fn check(root: &Path, files: &[(String, String)]) -> Result<()> {
    let differs =
        |(file, text): &&(String, String)| fs::read_to_string(root.join(file)).ok().as_ref() != Some(text);
    let different: Vec<&str> = files.iter().filter(differs).map(|(file, _)| file.as_str()).collect();
    if !different.is_empty() {
        bail!("training again gives other bytes: {}; run `cargo xtask models`", different.join(", "));
    }
    println!("models: training again gives the same bytes");
    Ok(())
}
