// SPDX-License-Identifier: GPL-2.0

//! Which suspicions behave alike from now on. The roll call is left out: it only makes an absent member be excluded sooner.

use core::hash::{Hash, Hasher};

use super::Suspicion;

impl Hash for Suspicion {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.observations.hash(state);
        self.suspicions.hash(state);
        self.reprieves.hash(state);
    }
}
