// SPDX-License-Identifier: GPL-2.0

//! `join`.

use crate::arguments::Join;
use crate::failure::Failure;

pub(super) fn run(_wishes: &Join, _json: bool) -> Result<(), Failure> {
    Err(Failure::Usage("join is being written".to_owned()))
}
