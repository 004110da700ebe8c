// SPDX-License-Identifier: GPL-2.0

//! The inputs that the fuzzers have kept, on the ordinary toolchain.

use std::path::Path;

/// Gives each kept input of a target to what the target does; says how many there were.
fn replay(target: &str, run: fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut files: Vec<_> = std::fs::read_dir(folder.join(target))
        .expect("the corpus is there")
        .map(|entry| entry.expect("its files can be listed").path())
        .collect();
    files.sort();
    for file in &files {
        // The name is shown if the test fails.
        println!("{}", file.display());
        run(&std::fs::read(file).expect("its files can be read"));
    }
    files.len()
}

#[test]
fn datagrams_that_were_kept_do_no_harm() {
    assert!(replay("datagrams", protocol_fuzzing::datagrams) > 0);
}

#[test]
fn operations_that_were_kept_do_no_harm() {
    assert!(replay("operations", protocol_fuzzing::operations) > 0);
}
