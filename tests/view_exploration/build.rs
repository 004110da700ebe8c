// SPDX-License-Identifier: GPL-2.0

//! Set `cfg(kcgcs_exploration)`, under which the nodes of this package's copy of the protocol can be cloned and
//! compared.

fn main() {
    println!("cargo:rustc-cfg=kcgcs_exploration");
}
