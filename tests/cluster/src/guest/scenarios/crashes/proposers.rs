// SPDX-License-Identifier: GPL-2.0

//! One proposer of the next view after another crashes. No step depends on timing: the network loses the answers that a
//! proposer waits for, so that no ballot can complete before its proposer has crashed, and each crash comes after the
//! datagrams that make its node the proposer were seen on the nodes' interfaces.
//!
//! ```text
//!  lost          proposer              others             the proposer crashes when
//!  promises      -- Prepare(b) ------> promise            another node has received Prepare(b)
//!  acceptances   -- Propose(b, v) ---> accept v           a quorum has sent Accepted(b): v is decided, and the next
//!                                                         proposer must find v and propose it
//! ```
//!
//! In the end exactly the crashed nodes are excluded, the same ones with each view at all nodes. The number of views
//! does depend on timing: the one that was decided, and one or two more for the nodes that crashed too late for it,
//! depending on when they are detected.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::super::formed::{some, Formed};
use crate::guest::cluster::Cluster;
use crate::guest::kernel_log::{KernelLog, LogLine};
use crate::guest::packet::{datagram, PacketSocket};
use crate::guest::recording::{fields, HEADER_BYTES};
use crate::guest::wait::wait_for_every;

/// The numbers of proposers that crash while they collect promises, and after their proposal was accepted.
const COLLECTING: usize = 3;
const PROPOSING: usize = 2;
/// The pause between two looks at the interfaces, and the longest time until the next proposal. On a processor eight
/// times slower, on which proposers outbid each other, five seconds were observed.
const LISTEN_EVERY: Duration = Duration::from_millis(1);
const PROPOSAL_LIMIT: Duration = Duration::from_secs(30);
/// Kinds of datagrams, as on the wire.
const PREPARE: u8 = 11;
const PROMISE: u8 = 12;
const PROPOSE: u8 = 13;
const ACCEPTED: u8 = 14;
/// Bytes of a ballot: its round, and its proposer.
const BALLOT_BYTES: usize = 6;

/// A ballot: its round, and its proposer. Later ballots are greater.
type Ballot = (u64, u16);

/// Crash the proposers, and check that the others agree.
pub(super) fn proposers(formed: &mut Formed, remarks: &mut Vec<String>) -> Result<(), String> {
    let cluster = &mut formed.cluster;
    let all = cluster.all();
    let view = cluster.common_view(&all)?;
    let first = view
        .members
        .iter()
        .filter(|member| !member.is_coordinator)
        .map(|member| member.node)
        .min()
        .ok_or("all nodes are coordinators")?;
    let quorum = all.len() / 2 + 1;
    let mut sockets = Sockets::open(cluster, view.number)?;
    let mut log = KernelLog::from_now()?;
    let mut victims = vec![first];
    cluster.network.filter_kinds()?;
    cluster.network.lose_kind(PROMISE)?;
    cluster.send_all(&some(&all), 1)?;
    let begin = Instant::now();
    cluster.network.cut(first)?;
    let mut crash = |cluster: &Cluster, ballot: Ballot, how: &str| {
        let (round, proposer) = ballot;
        cluster.network.cut(proposer)?;
        let ms = begin.elapsed().as_millis();
        remarks.push(format!(
            "node {proposer} {how} in round {round} and crashes after {ms} ms"
        ));
        victims.push(proposer);
        Ok::<_, String>(ballot)
    };
    // The last ballot whose proposer has crashed.
    let mut over = (0, 0);
    for _ in 0..COLLECTING {
        let ballot = sockets.wait("a ballot", |seen| {
            let &(ballot, _) = seen.prepared.range((over, 0)..).next_back()?;
            (ballot > over).then_some(ballot)
        })?;
        over = crash(cluster, ballot, "asks for promises")?;
    }
    cluster.network.lose_kind(ACCEPTED)?;
    cluster.network.pass_kind(PROMISE)?;
    let mut decided: Option<Vec<u8>> = None;
    for _ in 0..PROPOSING {
        let ballot = sockets.wait("a proposal that a quorum accepts", |seen| {
            let (&ballot, accepted) = seen.accepted.last_key_value()?;
            // The proposer itself accepts too, without sending that.
            (ballot > over && accepted.len() + 1 >= quorum).then_some(ballot)
        })?;
        over = crash(cluster, ballot, "is agreed with")?;
        let proposal = sockets.seen.proposals.get(&ballot);
        let proposal = proposal.ok_or("nodes have accepted a proposal that was not seen")?;
        if *decided.get_or_insert_with(|| proposal.clone()) != *proposal {
            return Err(format!(
                "{ballot:?} does not propose the value that a quorum had accepted"
            ));
        }
    }
    let survivors = cluster.all_but(&victims);
    for &node in &survivors {
        let now = cluster.status(node)?.view.map(|(number, _)| number);
        if now != Some(view.number) {
            return Err(format!(
                "no ballot has completed, but node {node} is in view {now:?}"
            ));
        }
    }
    cluster.network.pass_kind(ACCEPTED)?;
    let after = cluster.wait_for_view(&survivors)?.number;
    let ms = begin.elapsed().as_millis();
    let steps = steps_of_all(&log.read_new()?, &survivors)?;
    remarks.push(format!(
        "view {} became view {after} of the other {} nodes after {ms} ms, without {steps:?}",
        view.number,
        survivors.len(),
    ));
    let mut gone = steps.concat();
    gone.sort_unstable();
    victims.sort_unstable();
    if steps.len() as u64 != after - view.number || steps.iter().any(Vec::is_empty) {
        return Err("there were more views than the exclusions need".to_string());
    }
    if gone != victims {
        return Err(format!("{victims:?} crashed, but {gone:?} were excluded"));
    }
    formed.work(&survivors)?;
    for &victim in &victims {
        formed.cluster.network.heal(victim)?;
    }
    formed.all_work_again()
}

/// The nodes that each new view excluded, which must be the same in the logs of all `nodes`.
fn steps_of_all(log: &[LogLine], nodes: &[u16]) -> Result<Vec<Vec<u16>>, String> {
    let mut common = None;
    for &node in nodes {
        let steps = steps(log, node)?;
        let first = common.get_or_insert_with(|| steps.clone());
        if *first != steps {
            return Err(format!(
                "the views of node {node} excluded {steps:?}, and those of others {first:?}"
            ));
        }
    }
    common.ok_or_else(|| "no nodes".to_string())
}

/// The nodes that each new view excluded, according to the log of `node`.
fn steps(log: &[LogLine], node: u16) -> Result<Vec<Vec<u16>>, String> {
    let begin = format!("kcgcs: node {node}: ");
    let mut steps = Vec::new();
    let mut gone = Vec::new();
    for text in log.iter().filter_map(|line| line.text.strip_prefix(&begin)) {
        if let Some(subject) = text.strip_prefix("left view: ") {
            let number = subject.strip_suffix(" (failed)");
            let number = number.and_then(|number| number.parse().ok());
            gone.push(number.ok_or_else(|| format!("node {node}: {text}"))?);
        } else if text.starts_with("view ") {
            gone.sort_unstable();
            steps.push(std::mem::take(&mut gone));
        }
    }
    Ok(steps)
}

/// The datagrams of an agreement that were seen.
#[derive(Default)]
struct Seen {
    /// The ballots for which a promise was asked, each with a node that was asked.
    prepared: BTreeSet<(Ballot, u16)>,
    /// The value proposed in each ballot.
    proposals: BTreeMap<Ballot, Vec<u8>>,
    /// The nodes that have sent an acceptance of each ballot.
    accepted: BTreeMap<Ballot, BTreeSet<u16>>,
}

/// Packet sockets on the interfaces of all nodes.
struct Sockets {
    sockets: Vec<(u16, PacketSocket)>,
    view: u64,
    seen: Seen,
}

impl Sockets {
    /// Open the sockets for the agreement in the view with this number.
    fn open(cluster: &Cluster, view: u64) -> Result<Self, String> {
        let open = |node| {
            let namespace = cluster.network.namespace(node)?;
            Ok((node, namespace.run(PacketSocket::open)?))
        };
        let sockets = cluster.all().into_iter().map(open);
        Ok(Self {
            sockets: sockets.collect::<Result<_, String>>()?,
            view,
            seen: Seen::default(),
        })
    }

    /// Receive datagrams until `look` succeeds.
    fn wait(
        &mut self,
        what: &str,
        look: impl Fn(&Seen) -> Option<Ballot>,
    ) -> Result<Ballot, String> {
        wait_for_every(LISTEN_EVERY, what, PROPOSAL_LIMIT, || {
            for (owner, socket) in &self.sockets {
                while let Some(frame) = socket.receive()? {
                    self.seen.add(*owner, self.view, &frame);
                }
            }
            let Seen {
                prepared, accepted, ..
            } = &self.seen;
            look(&self.seen).ok_or_else(|| {
                format!("the ballots {prepared:?} and the acceptances {accepted:?} were seen")
            })
        })
    }
}

impl Seen {
    /// Add a frame on the interface of node `owner`, which sends or receives it.
    fn add(&mut self, owner: u16, view: u64, frame: &[u8]) {
        let Some((from, to, payload)) = datagram(frame) else {
            return;
        };
        let Some(body) = payload.get(HEADER_BYTES..) else {
            return;
        };
        if body.len() < BALLOT_BYTES || number(payload, fields::VIEW, 8) != view {
            return;
        }
        let ballot = (number(body, 0, 4), number(body, 4, 2) as u16);
        match payload[fields::KIND] {
            PREPARE if to == owner => {
                self.prepared.insert((ballot, to));
            }
            PROPOSE if to == owner => {
                self.proposals.insert(ballot, body[BALLOT_BYTES..].to_vec());
            }
            ACCEPTED if from == owner => {
                self.accepted.entry(ballot).or_default().insert(from);
            }
            _ => {}
        }
    }
}

/// The number in so many bytes at this place.
fn number(bytes: &[u8], place: usize, length: usize) -> u64 {
    let digits = bytes.iter().skip(place).take(length);
    digits.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(texts: &[&str]) -> Vec<LogLine> {
        let line = |text: &&str| LogLine {
            time_us: 0,
            text: text.to_string(),
        };
        texts.iter().map(line).collect()
    }

    #[test]
    fn the_exclusions_of_each_view_are_parsed_from_the_log() {
        let mut log = log(&[
            "kcgcs: node 3: left view: 7 (failed)",
            "kcgcs: node 30: left view: 8 (failed)",
            "kcgcs: node 3: left view: 1 (failed)",
            "kcgcs: node 3: view 2 of coordinator 13, 3 members: 3 5 6; coordinators: 3 5 6",
            "kcgcs: node 3: quorum regained",
            "kcgcs: node 3: left view: 5 (failed)",
            "kcgcs: node 3: view 3 of coordinator 6, 2 members: 3 6; coordinators: 3 6",
        ]);
        assert_eq!(steps(&log, 3), Ok(vec![vec![1, 7], vec![5]]));
        assert_eq!(steps_of_all(&log, &[3]), steps(&log, 3));
        assert!(steps_of_all(&log, &[3, 6]).is_err());
        log[5].text = "kcgcs: node 3: left view: 5 (leave)".to_string();
        assert!(steps(&log, 3).is_err());
    }
}
