use sunbeam_waf::seclang::{DiskFiles, load};
#[test]
fn msreg() {
    let mut files: Vec<_> = std::fs::read_dir("/tmp/msreg")
        .unwrap()
        .map(|e| e.unwrap().path().display().to_string())
        .filter(|p| p.ends_with(".conf"))
        .collect();
    files.sort();
    let (mut ok, mut bad) = (0, 0);
    for f in &files {
        let want_bad = f.contains("/bad-");
        match load(&DiskFiles, &[f]) {
            Ok(_) if want_bad => println!("ACCEPTED {f}"),
            Ok(_) => ok += 1,
            Err(_) if want_bad => bad += 1,
            Err(e) => println!("{}", e[0]),
        }
    }
    println!("{ok} {bad} of {}", files.len());
    println!(
        "{:?}",
        load(
            &DiskFiles,
            &["/work/shared/conformance/crs-4.28.0/rules/*.example", "/tmp/deb/ms3/modsecurity.conf"]
        )
        .map(|d| d.len())
    );
}
