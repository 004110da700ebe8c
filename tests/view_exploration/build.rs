// SPDX-License-Identifier: GPL-2.0

//! Makes the nodes of this package's copy of the protocol ones that can be copied and compared.

fn main() {
    println!("cargo:rustc-cfg=kcgcs_exploration");
}
