// SPDX-License-Identifier: GPL-2.0

//! Replay the inputs that the fuzzers have kept, on the ordinary toolchain.

use std::path::Path;

/// Run a target on each of its kept inputs, and return the results.
fn replay<T>(target: &str, run: fn(&[u8]) -> T) -> Vec<T> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder.join(target))
        .expect("the corpus exists")
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
fn kept_datagrams_break_no_promise() {
    assert!(!replay("datagrams", protocol_fuzzing::datagrams).is_empty());
}

#[test]
fn kept_operations_break_no_promise() {
    let have_components = replay("operations", protocol_fuzzing::operations);
    assert!(
        have_components.contains(&true),
        "no input has a view that is not primary"
    );
}
