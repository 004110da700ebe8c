// SPDX-License-Identifier: GPL-2.0

//! The inputs that the fuzzers have kept, on the ordinary toolchain.

use std::path::Path;

/// Gives each kept input of a target to what the target does; says what came of each.
fn replay<T>(target: &str, run: fn(&[u8]) -> T) -> Vec<T> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder.join(target))
        .expect("the corpus is there")
        .map(|entry| entry.expect("its files can be listed").path())
        .collect();
    files.sort();
    let results = files.iter().map(|file| {
        // The name is shown if the test fails.
        println!("{}", file.display());
        run(&std::fs::read(file).expect("its files can be read"))
    });
    results.collect()
}

#[test]
fn datagrams_that_were_kept_do_no_harm() {
    assert!(!replay("datagrams", protocol_fuzzing::datagrams).is_empty());
}

#[test]
fn operations_that_were_kept_do_no_harm() {
    let have_parts = replay("operations", protocol_fuzzing::operations);
    assert!(have_parts.contains(&true), "parts go on by themselves");
}
