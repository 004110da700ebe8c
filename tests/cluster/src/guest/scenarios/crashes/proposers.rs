// SPDX-License-Identifier: GPL-2.0

//! Whoever proposes the next view crashes, one after another. No step of it depends on the timing: the network
//! loses what a proposer waits for, so that no ballot can come to its end before its proposer has crashed, and
//! each crash comes when all nodes' cables have carried what makes its node the proposer.
//!
//! ```text
//!  lost          proposer              others             crashes when
//!  promises      -- Prepare(b) ------> answer             another node has heard Prepare(b)
//!  acceptances   -- Propose(b, v) ---> accept v           a quorum has sent Accepted(b): v is decided, and
//!                                                         whoever takes over must find v and propose it
//! ```
//!
//! In the end those that crashed have gone and nobody else, the same with each view everywhere. How many views that
//! takes does depend on the timing: the one that was decided, and, for those who crashed too late for it, one more or,
//! where their silence is found out at different times, two.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::super::formed::{some, Formed};
use crate::guest::cluster::Cluster;
use crate::guest::kernel_log::{KernelLog, LogLine};
use crate::guest::packet::{datagram, PacketSocket};
use crate::guest::recording::{fields, HEADER_BYTES};
use crate::guest::wait::wait_for_every;

/// Proposers that crash while they collect promises, and after their proposal was accepted.
const COLLECTING: usize = 3;
const PROPOSING: usize = 2;
/// How often the cables are listened to, and how long the next proposer may take to come: on a processor that is
/// eight times slower, on which proposers outbid each other, it was seen to take five seconds.
const LISTEN_EVERY: Duration = Duration::from_millis(1);
const PROPOSAL_LIMIT: Duration = Duration::from_secs(30);
/// Kinds of datagrams, as on the wire.
const PREPARE: u8 = 11;
const PROMISE: u8 = 12;
const PROPOSE: u8 = 13;
const ACCEPTED: u8 = 14;
/// Bytes of a ballot: its round, and who tries.
const BALLOT_BYTES: usize = 6;

/// A ballot: its round, and the node that tries. Later ones are greater.
type Ballot = (u64, u16);

/// The story.
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
        .ok_or("all of them coordinate")?;
    let quorum = all.len() / 2 + 1;
    let mut ears = Ears::open(cluster, view.number)?;
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
        let ballot = ears.wait("a ballot", |heard| {
            let &(ballot, _) = heard.prepared.range((over, 0)..).next_back()?;
            (ballot > over).then_some(ballot)
        })?;
        over = crash(cluster, ballot, "asks for promises")?;
    }
    cluster.network.lose_kind(ACCEPTED)?;
    cluster.network.pass_kind(PROMISE)?;
    let mut decided: Option<Vec<u8>> = None;
    for _ in 0..PROPOSING {
        let ballot = ears.wait("a proposal that a quorum accepts", |heard| {
            let (&ballot, accepted) = heard.accepted.last_key_value()?;
            // The proposer itself is one of those who accept, and tells nobody.
            (ballot > over && accepted.len() + 1 >= quorum).then_some(ballot)
        })?;
        over = crash(cluster, ballot, "is agreed with")?;
        let proposal = ears.heard.proposals.get(&ballot);
        let proposal = proposal.ok_or("a proposal was accepted that nobody made")?;
        if *decided.get_or_insert_with(|| proposal.clone()) != *proposal {
            return Err(format!(
                "{ballot:?} proposes other than what a quorum had accepted"
            ));
        }
    }
    let survivors = cluster.all_but(&victims);
    for &node in &survivors {
        let now = cluster.status(node)?.view.map(|(number, _)| number);
        if now != Some(view.number) {
            return Err(format!(
                "no ballot has come to its end, and node {node} is in view {now:?}"
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
        return Err("there were other views than those that somebody had to go by".to_string());
    }
    if gone != victims {
        return Err(format!("{victims:?} crashed, and {gone:?} have gone"));
    }
    formed.work(&survivors)?;
    for &victim in &victims {
        formed.cluster.network.heal(victim)?;
    }
    formed.all_work_again()
}

/// Who went with each new view, according to the log of every one of `nodes`, which must say the same.
fn steps_of_all(log: &[LogLine], nodes: &[u16]) -> Result<Vec<Vec<u16>>, String> {
    let mut common = None;
    for &node in nodes {
        let steps = steps(log, node)?;
        let first = common.get_or_insert_with(|| steps.clone());
        if *first != steps {
            return Err(format!(
                "node {node} saw {steps:?} go, and others {first:?}"
            ));
        }
    }
    common.ok_or_else(|| "no nodes".to_string())
}

/// Who went with each new view, according to the log of `node`.
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

/// What the nodes have said to each other to agree on the view after one of them.
#[derive(Default)]
struct Heard {
    /// The ballots for which somebody was asked for a promise, each with a node that was.
    prepared: BTreeSet<(Ballot, u16)>,
    /// What was proposed in each.
    proposals: BTreeMap<Ballot, Vec<u8>>,
    /// Who has said of each to have accepted it.
    accepted: BTreeMap<Ballot, BTreeSet<u16>>,
}

/// An ear at the cable of every node.
struct Ears {
    sockets: Vec<(u16, PacketSocket)>,
    view: u64,
    heard: Heard,
}

impl Ears {
    /// Listens for what is said in the view with this number.
    fn open(cluster: &Cluster, view: u64) -> Result<Self, String> {
        let open = |node| {
            let namespace = cluster.network.namespace(node)?;
            Ok((node, namespace.run(PacketSocket::open)?))
        };
        let sockets = cluster.all().into_iter().map(open);
        Ok(Self {
            sockets: sockets.collect::<Result<_, String>>()?,
            view,
            heard: Heard::default(),
        })
    }

    /// Listens until `look` finds what it wants in what was heard.
    fn wait(
        &mut self,
        what: &str,
        look: impl Fn(&Heard) -> Option<Ballot>,
    ) -> Result<Ballot, String> {
        wait_for_every(LISTEN_EVERY, what, PROPOSAL_LIMIT, || {
            for (owner, socket) in &self.sockets {
                while let Some(frame) = socket.receive()? {
                    self.heard.add(*owner, self.view, &frame);
                }
            }
            let Heard {
                prepared, accepted, ..
            } = &self.heard;
            look(&self.heard)
                .ok_or_else(|| format!("{prepared:?} were heard, and of acceptances {accepted:?}"))
        })
    }
}

impl Heard {
    /// A frame on the cable of the node `owner`, which may have sent it or be meant by it.
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

/// The number of so many bytes that stands there.
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
    fn who_went_with_each_view_is_read_from_the_log() {
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
