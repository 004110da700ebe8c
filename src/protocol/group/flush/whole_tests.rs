// SPDX-License-Identifier: GPL-2.0

//! What counts of a log, for everything that three nodes can hold of it: two senders, every subset of survivors, and a
//! second change of the cluster view while the start of the next epoch is on its way.

#[cfg_attr(
    CONFIG_KUNIT = "y",
    kernel::macros::kunit_tests(kcgcs_group_flush_whole)
)]
mod tests {
    use super::super::*;
    use crate::platform::BoundedVec;
    use crate::protocol::group_view::GroupMember;
    use crate::protocol::identity::{EndpointId, MemberId, Slot};
    use crate::protocol::test_support::{self, identity, node, TestResult, Unexpected};
    use crate::protocol::wire::group::Arrival;

    const OLD: ViewNumber = ViewNumber(6);
    const NEW: ViewNumber = ViewNumber(7);
    /// The last position of the old log. Its first one is the start, the others are messages.
    const LAST: u64 = 4;
    /// All sets of the nodes 1 to 3, as bits.
    const ALL: u16 = 0b1110;

    /// What one node holds.
    #[derive(Clone, Copy, PartialEq)]
    enum Holds {
        /// The old log up to here.
        Old(u64),
        /// All that counts of the old log, and the start of the new one.
        Start,
        /// The new log up to here: the start took effect.
        New(u64),
    }

    fn is_in(nodes: u16, number: u16) -> bool {
        nodes & 1 << number != 0
    }

    fn numbers(nodes: u16) -> impl Iterator<Item = u16> {
        (1..=3).filter(move |number| is_in(nodes, *number))
    }

    /// All non-empty sets of some of these nodes.
    fn subsets(nodes: u16) -> impl Iterator<Item = u16> {
        (1..=ALL).filter(move |subset| subset & !nodes == 0)
    }

    /// A view with one member on each of these nodes.
    fn view(nodes: u16) -> Result<Shared<ViewEntry>, Unexpected> {
        let mut members = BoundedVec::with_capacity(3)?;
        let mut arrivals = BoundedVec::with_capacity(3)?;
        for number in numbers(nodes) {
            let id = MemberId {
                node: node(number),
                endpoint: EndpointId(1),
                incarnation: identity(number).incarnation,
            };
            let slot = Slot(number);
            members
                .push(GroupMember { id, slot })
                .map_err(|_| Unexpected)?;
            arrivals.push(Arrival::Along).map_err(|_| Unexpected)?;
        }
        Ok(Shared::try_new(ViewEntry {
            number: ViewNumber(1),
            coordinator: node(1),
            members,
            arrivals,
            left: BoundedVec::empty(),
            sets: BoundedVec::empty(),
        })?)
    }

    /// The report of a node. All nodes were in the old view, and those of `new` are in the start.
    fn report(number: u16, holds: Holds, cut: u64, new: u16) -> Result<NodeReport, Unexpected> {
        let held = |epoch, accepted, nodes| {
            let view = view(nodes)?;
            Ok::<_, Unexpected>(Some(Held {
                epoch,
                accepted,
                view,
            }))
        };
        let mut report = NodeReport::of(node(number));
        match holds {
            Holds::Old(accepted) => report.log = held(OLD, accepted, ALL)?,
            Holds::Start => {
                report.log = held(OLD, cut, ALL)?;
                report.pending_start = held(NEW, 1, new)?;
            }
            Holds::New(accepted) => report.log = held(NEW, accepted, new)?,
        }
        Ok(report)
    }

    /// What is decided from the reports of the survivors, and the nodes that lack entries, and a holder of all.
    struct Decided {
        previous: ViewNumber,
        last: u64,
        lacking: [Option<u64>; 4],
        holder: Option<NodeId>,
    }

    fn decided(
        holds: &[Holds; 3],
        cut: u64,
        new: u16,
        survivors: u16,
    ) -> Result<Decided, Unexpected> {
        let mut reports = BoundedVec::with_capacity(3)?;
        for (number, holds) in (1..).zip(holds) {
            if is_in(survivors, number) {
                let report = report(number, *holds, cut, new)?;
                reports.push(report).map_err(|_| Unexpected)?;
            }
        }
        let cluster = test_support::view(numbers(survivors))?;
        let decision = decide(&reports, &cluster);
        let mut lacks = [None; 4];
        for (node, accepted) in lacking(&reports, &decision) {
            let place = lacks.get_mut(usize::from(node.number()));
            *place.ok_or(Unexpected)? = Some(accepted);
        }
        Ok(Decided {
            previous: decision.previous,
            last: decision.last,
            lacking: lacks,
            holder: holder(&reports, &decision),
        })
    }

    /// Call `each` for all combinations of what three nodes may hold.
    fn for_all(choices: &[Holds], mut each: impl FnMut(&[Holds; 3]) -> TestResult) -> TestResult {
        for one in choices {
            for two in choices {
                for three in choices {
                    each(&[*one, *two, *three])?;
                }
            }
        }
        Ok(())
    }

    #[test]
    fn what_anybody_may_have_delivered_counts_if_its_sender_or_its_receiver_survives() -> TestResult
    {
        let choices: [_; LAST as usize] =
            core::array::from_fn(|place| Holds::Old(place as u64 + 1));
        let accepted = |holds: &[Holds; 3], number: u16| {
            let holds = number
                .checked_sub(1)
                .and_then(|place| holds.get(usize::from(place)));
            match holds {
                Some(Holds::Old(accepted)) => *accepted,
                _ => 0,
            }
        };
        // The messages are those of the nodes 1 and 2 in all ways.
        for senders in 0..1_u16 << (LAST - 1) {
            let sender = |position: u64| 1 + (senders >> (position - 2) & 1);
            for_all(&choices, |holds| {
                // By the rule of release a node may have delivered what it holds, up to the first message that the node
                // of its sender does not hold.
                let is_released = |position: u64| accepted(holds, sender(position)) >= position;
                let may_deliver = |number: u16| {
                    let held = 2..=accepted(holds, number);
                    1 + held.take_while(|position| is_released(*position)).count() as u64
                };
                for survivors in subsets(ALL) {
                    let decided = decided(holds, 0, 0, survivors)?;
                    assert_eq!(decided.previous, OLD);
                    for number in 1..=3 {
                        for position in 2..=may_deliver(number) {
                            let matters =
                                is_in(survivors, number) || is_in(survivors, sender(position));
                            assert!(!matters || position <= decided.last);
                        }
                        // Nobody waits for what is there, and everybody gets what is not.
                        let has = accepted(holds, number);
                        let lacks = is_in(survivors, number) && has < decided.last;
                        let named = decided.lacking.get(usize::from(number)).ok_or(Unexpected)?;
                        assert_eq!(*named, lacks.then_some(has));
                    }
                    // What counts can be had from the holder, and nothing else counts.
                    let holder = decided.holder.ok_or(Unexpected)?.number();
                    assert!(is_in(survivors, holder));
                    assert_eq!(accepted(holds, holder), decided.last);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    #[test]
    fn a_start_counts_exactly_if_it_may_have_taken_effect() -> TestResult {
        let mut cases = 0;
        for cut in 1..=LAST {
            let choices = [
                Holds::Old(cut),
                Holds::Start,
                Holds::New(1),
                Holds::New(2),
                Holds::New(3),
            ];
            for new in subsets(ALL) {
                for_all(&choices, |holds| {
                    let lacks_start = |nodes: u16| {
                        let mut nodes =
                            (1..).zip(holds).filter(|(number, _)| is_in(nodes, *number));
                        nodes.any(|(_, holds)| matches!(holds, Holds::Old(_)))
                    };
                    let took_effect = (1..).zip(holds).any(|(number, holds)| {
                        is_in(new, number) && matches!(holds, Holds::New(_))
                    });
                    // It takes effect only when all nodes of the start hold it; others never get it.
                    if took_effect && lacks_start(new) {
                        return Ok(());
                    }
                    for survivors in subsets(new) {
                        cases += 1;
                        let decided = decided(holds, cut, new, survivors)?;
                        let held = (1..)
                            .zip(holds)
                            .filter(|(number, _)| is_in(survivors, *number));
                        let furthest = held.map(|(_, holds)| match holds {
                            Holds::New(accepted) => *accepted,
                            _ => 1,
                        });
                        let furthest = furthest.max().ok_or(Unexpected)?;
                        match lacks_start(survivors) {
                            // A survivor does not hold it, so nobody has carried it out. All hold what counted.
                            true => {
                                assert_eq!((decided.previous, decided.last), (OLD, cut));
                                assert!(decided.lacking.iter().all(Option::is_none));
                            }
                            // All hold it, so a node that is gone may have carried it out.
                            false => assert_eq!((decided.previous, decided.last), (NEW, furthest)),
                        }
                    }
                    Ok(())
                })?;
            }
        }
        assert!(cases > 1_000);
        Ok(())
    }
}
