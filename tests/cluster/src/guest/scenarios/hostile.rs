// SPDX-License-Identifier: GPL-2.0

//! Hostile datagrams: malformed, forged and replayed ones, from a stranger on the same network and in the name of
//! members. Each must be counted under the right name and have no other effect: the view does not change, and members
//! deliver messages.

mod attack;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use self::attack::{kind, Attack, AHEAD, REBORN, TARGET, VICTIM};
use super::{Surroundings, Test};
use crate::guest::modules;
use crate::guest::recording::{fields, Sample, HEADER_BYTES};

/// A node that does not exist.
const NOBODY: u16 = 99;
/// The number of changed datagrams, on the stock kernel and on the debug kernel.
const MUTATIONS: (usize, usize) = (4000, 500);
/// The seed of the random numbers, which is printed with the test.
const SEED: u64 = 0x5eed_0001;

type Step = fn(&mut Attack, &mut Vec<String>) -> Result<(), String>;

/// The tests of the suite `hostile`.
pub(super) fn tests(surroundings: Surroundings) -> Vec<Test> {
    let steps: [(&str, Step); 9] = [
        ("each_wrong_header_is_counted_under_its_name", wrong_headers),
        ("copies_of_old_datagrams_are_counted", replays),
        (
            "join_requests_of_former_incarnations_admit_no_node",
            old_joins,
        ),
        ("datagrams_cut_at_every_length_are_counted", truncations),
        ("changed_datagrams_of_a_stranger_are_counted", mutations),
        (
            "changed_copies_in_a_members_name_change_no_view",
            forged_mutations,
        ),
        (
            "wrong_counts_and_views_in_a_members_name_are_counted",
            wrong_bodies,
        ),
        ("bodies_cut_at_every_length_change_no_view", cut_bodies),
        ("a_flood_of_garbage_changes_no_view", flood),
    ];
    let attack: Rc<RefCell<Option<Attack>>> = Rc::new(RefCell::new(None));
    let begin = Rc::clone(&attack);
    let mut tests = vec![Test::new(
        "the_datagrams_of_all_nodes_are_recorded",
        move |remarks| {
            *begin.borrow_mut() = Some(Attack::begin(surroundings, remarks)?);
            Ok(())
        },
    )];
    for (name, step) in steps {
        let attack = Rc::clone(&attack);
        tests.push(Test::new(name, move |remarks| {
            let mut attack = attack.borrow_mut();
            let attack = attack.as_mut().ok_or("there is no cluster")?;
            step(attack, remarks)?;
            attack.is_well()
        }));
    }
    tests.push(Test::new(
        "the_trace_of_the_attacked_cluster_holds_every_promise",
        move |_| {
            let attack = attack.borrow_mut().take().ok_or("there is no cluster")?;
            attack.cluster.end()?.check()?;
            modules::unload_both()
        },
    ));
    tests
}

/// A change of a sample: the place, and the new bytes.
type Change = (usize, Vec<u8>);

fn changed(sample: &Sample, changes: &[Change]) -> Vec<u8> {
    let mut payload = sample.payload.clone();
    for (place, bytes) in changes {
        if let Some(target) = payload.get_mut(*place..place + bytes.len()) {
            target.copy_from_slice(bytes);
        }
    }
    payload
}

fn wrong_headers(attack: &mut Attack, _: &mut Vec<String>) -> Result<(), String> {
    let base = attack.base()?;
    let own = attack.cluster.status(TARGET)?.incarnation;
    let elder = base.incarnation() - 1;
    let node = |number: u16| (fields::SENDER, number.to_be_bytes().to_vec());
    let incarnation = |number: u64| (fields::INCARNATION, number.to_be_bytes().to_vec());
    let cases: Vec<(&str, &str, Vec<Change>)> = vec![
        (
            "magic",
            "dropped_magic",
            vec![(fields::MAGIC, vec![0x4b, 0x48])],
        ),
        (
            "no magic",
            "dropped_magic",
            vec![(fields::MAGIC, vec![0, 0])],
        ),
        (
            "version 0",
            "dropped_version",
            vec![(fields::VERSION, vec![0])],
        ),
        (
            "version 2",
            "dropped_version",
            vec![(fields::VERSION, vec![2])],
        ),
        ("a key", "dropped_version", vec![(fields::KEY, vec![0, 1])]),
        ("kind 0", "dropped_kind", vec![(fields::KIND, vec![0])]),
        ("kind 5", "dropped_kind", vec![(fields::KIND, vec![5])]),
        ("kind 255", "dropped_kind", vec![(fields::KIND, vec![255])]),
        (
            "cluster",
            "dropped_cluster",
            vec![(fields::CLUSTER, vec![1, 2, 3, 4])],
        ),
        ("node 0", "dropped_value", vec![node(0)]),
        (
            "length 0",
            "dropped_length",
            vec![(fields::LENGTH, vec![0, 0])],
        ),
        (
            "length 65535",
            "dropped_length",
            vec![(fields::LENGTH, vec![255, 255])],
        ),
        (
            "from itself",
            "dropped_from_self",
            vec![node(TARGET), incarnation(own)],
        ),
        ("a non-member", "dropped_non_member", vec![node(NOBODY)]),
        (
            "a later incarnation",
            "dropped_non_member",
            vec![incarnation(u64::MAX)],
        ),
        (
            "an earlier incarnation",
            "dropped_stale_incarnation",
            vec![incarnation(elder)],
        ),
        ("another address", "dropped_wrong_address", vec![]),
    ];
    for (what, name, changes) in cases {
        let payload = changed(&base, &changes);
        attack.expect(what, &[(name, 1)], |attack| attack.say(&payload))?;
    }
    let mut longer = base.payload.clone();
    longer.push(0);
    attack.expect("a byte more", &[("dropped_length", 1)], |attack| {
        attack.say(&longer)
    })?;
    // A heartbeat of a member from another address, and one of an earlier incarnation.
    let beat = attack.recording.latest(VICTIM, |kind| kind == 1);
    let beat = beat.ok_or("no heartbeat was recorded")?;
    let late = (fields::COUNTER, u64::MAX.to_be_bytes().to_vec());
    let cases: [(&str, &str, Vec<Change>); 3] = [
        (
            "address of a heartbeat",
            "dropped_wrong_address",
            vec![late.clone()],
        ),
        (
            "incarnation of a heartbeat",
            "dropped_stale_incarnation",
            vec![incarnation(elder), late],
        ),
        (
            "heartbeat of a non-member",
            "dropped_unwatched",
            vec![node(NOBODY)],
        ),
    ];
    for (what, name, changes) in cases {
        let payload = changed(&beat, &changes);
        attack.expect(what, &[(name, 1)], |attack| attack.say(&payload))?;
    }
    Ok(())
}

fn replays(attack: &mut Attack, remarks: &mut Vec<String>) -> Result<(), String> {
    attack.listen()?;
    // A query for a cluster may be repeated, and every probe is answered, so copies of these are not refused.
    let free = [kind::PROBE, kind::JOIN, kind::JOIN_ANSWER];
    let samples = attack.recording.all(|kind| !free.contains(&kind));
    let got = attack.refused(|attack| {
        for sample in &samples {
            attack.forge(sample.from, &sample.payload)?;
        }
        Ok(samples.len() as u64)
    })?;
    remarks.push(format!("{} copies: {got:?}", samples.len()));
    let total: u64 = got.values().sum();
    if total != samples.len() as u64 {
        return Err(format!("{total} of {} copies were counted", samples.len()));
    }
    for name in ["dropped_duplicate", "dropped_stale_incarnation"] {
        if !got.contains_key(name) {
            return Err(format!("no copy was counted under {name}"));
        }
    }
    Ok(())
}

fn old_joins(attack: &mut Attack, remarks: &mut Vec<String>) -> Result<(), String> {
    let joins = attack.recording.all(|kind| kind == kind::JOIN);
    let incarnation = attack.cluster.status(REBORN)?.incarnation;
    let former = joins
        .iter()
        .filter(|join| join.from == REBORN && join.incarnation() < incarnation)
        .count();
    if former == 0 {
        return Err("no join request of a former incarnation was recorded".to_string());
    }
    for join in &joins {
        attack.forge(join.from, &join.payload)?;
        attack.say(&join.payload)?;
    }
    remarks.push(format!(
        "{} join requests, {former} of a former incarnation",
        joins.len()
    ));
    Ok(())
}

fn truncations(attack: &mut Attack, remarks: &mut Vec<String>) -> Result<(), String> {
    let samples = attack.recording.shortest_of_each_kind();
    let mut wanted = [("dropped_length", 0), ("dropped_short", 0)];
    for sample in &samples {
        wanted[0].1 += (sample.payload.len() - HEADER_BYTES) as u64;
        wanted[1].1 += HEADER_BYTES as u64;
    }
    remarks.push(format!("{} kinds, {wanted:?}", samples.len()));
    wanted[0].1 *= 2;
    wanted[1].1 *= 2;
    attack.expect("cut datagrams", &wanted, |attack| {
        for sample in &samples {
            for length in 0..sample.payload.len() {
                let cut = sample.payload.get(..length).unwrap_or_default();
                attack.forge(sample.from, cut)?;
                attack.say(cut)?;
            }
        }
        Ok(())
    })
}

/// Pseudo-random numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        number as usize % bound.max(1)
    }
}

/// Change up to four bytes, but none at `kept`.
fn mutate(random: &mut Random, payload: &mut [u8], kept: &[std::ops::Range<usize>]) {
    for _ in 0..=random.below(4) {
        let place = random.below(payload.len());
        let bit = 1 << random.below(8);
        if !kept.iter().any(|range| range.contains(&place)) {
            if let Some(byte) = payload.get_mut(place) {
                *byte ^= bit;
            }
        }
    }
}

fn mutation_count(attack: &Attack) -> usize {
    attack.surroundings.pick(MUTATIONS)
}

/// Whether a stranger may send this datagram. All others of a stranger must be refused, whatever they contain.
fn is_free(payload: &[u8]) -> bool {
    let free = [kind::PROBE, kind::JOIN, kind::JOIN_ANSWER];
    payload
        .get(fields::KIND)
        .is_some_and(|kind| free.contains(kind))
}

/// Require that as many datagrams were counted as `count`, under whatever names.
fn all_were_counted(
    counted: &BTreeMap<String, u64>,
    count: usize,
    remarks: &mut Vec<String>,
) -> Result<(), String> {
    remarks.push(format!("{counted:?}"));
    let total: u64 = counted.values().sum();
    if total == count as u64 {
        Ok(())
    } else {
        Err(format!("{total} of {count} were counted"))
    }
}

fn mutations(attack: &mut Attack, remarks: &mut Vec<String>) -> Result<(), String> {
    let count = mutation_count(attack);
    let samples = attack.recording.all(|_| true);
    let mut random = Random(SEED);
    remarks.push(format!("{count} changed datagrams, seed {SEED:#x}"));
    let got = attack.refused(|attack| {
        let mut sent = 0;
        while sent < count {
            let sample = &samples[random.below(samples.len())];
            let mut payload = sample.payload.clone();
            mutate(&mut random, &mut payload, &[]);
            if !is_free(&payload) {
                attack.say(&payload)?;
                sent += 1;
            }
        }
        Ok(count as u64)
    })?;
    all_were_counted(&got, count, remarks)
}

/// Send copies whose number was used before. They count as copies, whatever else is changed.
fn forged_mutations(attack: &mut Attack, remarks: &mut Vec<String>) -> Result<(), String> {
    let count = mutation_count(attack);
    let samples = attack.recording.all(|kind| kind >= kind::REPORT);
    let mut random = Random(SEED + 1);
    remarks.push(format!("{count} changed copies, seed {:#x}", SEED + 1));
    let kept = [
        fields::KIND..fields::KIND + 1,
        fields::COUNTER..fields::COUNTER + 8,
    ];
    let got = attack.refused(|attack| {
        for _ in 0..count {
            let sample = &samples[random.below(samples.len())];
            let mut payload = sample.payload.clone();
            mutate(&mut random, &mut payload, &kept);
            attack.forge(sample.from, &payload)?;
        }
        Ok(count as u64)
    })?;
    all_were_counted(&got, count, remarks)
}

fn wrong_bodies(attack: &mut Attack, remarks: &mut Vec<String>) -> Result<(), String> {
    const NAME_LENGTH: usize = HEADER_BYTES + 13;
    let request = attack
        .recording
        .latest(VICTIM, |kind| kind == kind::GROUP_REQUEST)
        .ok_or("no request to join a group was recorded")?;
    let base = attack.base()?;
    let earlier = (attack.view - 1).to_be_bytes().to_vec();
    let cases: [(&str, &Sample, Vec<Change>); 3] = [
        ("dropped_count", &request, vec![(NAME_LENGTH, vec![33])]),
        ("dropped_value", &request, vec![(HEADER_BYTES + 8, vec![9])]),
        ("dropped_other_view", &base, vec![(fields::VIEW, earlier)]),
    ];
    for (name, sample, mut changes) in cases {
        // The header has the present view, unless the case is about another one.
        let present = attack.view.to_be_bytes().to_vec();
        changes.insert(0, (fields::VIEW, present));
        let counter = attack.unused_counter()?.to_be_bytes().to_vec();
        changes.push((fields::COUNTER, counter));
        let payload = changed(sample, &changes);
        let got = attack.refused(|attack| {
            attack.forge(VICTIM, &payload)?;
            Ok(1)
        })?;
        if got.get(name) != Some(&1) {
            return Err(format!("{name}: counted {got:?}"));
        }
        remarks.push(format!("{got:?}"));
    }
    Ok(())
}

/// Send cut bodies with the right length in the header and a new number, so that the body itself is parsed.
fn cut_bodies(attack: &mut Attack, remarks: &mut Vec<String>) -> Result<(), String> {
    let samples = attack.recording.shortest_of_each_kind();
    let before = attack.cluster.counter(TARGET, "datagrams_received")?;
    let mut count = 0;
    for sample in samples
        .iter()
        .filter(|sample| sample.kind() >= kind::REPORT)
    {
        for length in HEADER_BYTES..sample.payload.len() {
            let counter = attack.unused_counter()?;
            let body = (length - HEADER_BYTES) as u16;
            let incarnation = attack.recording.incarnation(VICTIM);
            let payload = changed(
                sample,
                &[
                    (fields::SENDER, VICTIM.to_be_bytes().to_vec()),
                    (fields::INCARNATION, incarnation.to_be_bytes().to_vec()),
                    (fields::VIEW, attack.view.to_be_bytes().to_vec()),
                    (fields::COUNTER, counter.to_be_bytes().to_vec()),
                    (fields::LENGTH, body.to_be_bytes().to_vec()),
                ],
            );
            attack.forge(VICTIM, payload.get(..length).unwrap_or_default())?;
            count += 1;
            if count % AHEAD == 0 {
                // The victim's own numbers advance meanwhile.
                let all = attack.cluster.all();
                attack.cluster.send_all(&all, 1)?;
            }
        }
    }
    let after = attack.cluster.counter(TARGET, "datagrams_received")?;
    remarks.push(format!("{count} cut bodies"));
    if after - before >= count {
        Ok(())
    } else {
        Err(format!("{} of {count} were received", after - before))
    }
}

fn flood(attack: &mut Attack, remarks: &mut Vec<String>) -> Result<(), String> {
    let count = 4 * mutation_count(attack);
    let mut random = Random(SEED + 2);
    let mut payload = vec![0; 1400];
    for byte in &mut payload {
        *byte = random.below(256) as u8;
    }
    for _ in 0..count {
        let length = random.below(payload.len());
        attack.say(&payload[..length])?;
    }
    remarks.push(format!("{count} datagrams"));
    Ok(())
}
