// SPDX-License-Identifier: GPL-2.0

//! Rules of the protocol that tests let nodes break on purpose, to show that the violation is found under its name.
//!
//! The code asks `platform::breaks` where it follows such a rule. In the kernel that is always `false` at compile time;
//! on the host a simulation may set one rule for its thread.

/// A rule that a test may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// An agreed message is delivered only when the node of its sender holds it ([`super::group`], release).
    ReleaseWaitsForSender,
    /// A safe message is delivered only when all participants hold it.
    SafeWaitsForAll,
    /// After a view change everything counts that *any* survivor has accepted (flush).
    FurthestAcceptedCounts,
    /// An entry is kept until it is stable, although it was delivered.
    KeepUntilStable,
    /// A node reports all that it has acknowledged.
    ReportAllAcknowledged,
    /// A message may overtake others, but none of its own sender.
    FifoOvertakesNotItself,
    /// A causal message waits for all that its sender had delivered.
    CausalWaitsForPast,
}
