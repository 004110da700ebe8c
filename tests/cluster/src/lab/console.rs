// SPDX-License-Identifier: GPL-2.0

//! Parse the lines of a machine's console. Only this file knows the wording of the kernel modules' log.

/// The meaning of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The node of this machine has started.
    Started {
        /// Its incarnation.
        incarnation: u64,
    },
    /// The node has learnt that it was excluded, and has begun a new incarnation.
    Excluded {
        /// Its new incarnation.
        incarnation: u64,
    },
    /// A cluster view was installed.
    ClusterView {
        /// Its number.
        number: u64,
        /// Its nodes.
        members: Vec<u16>,
        /// The coordinators among them.
        coordinators: Vec<u16>,
    },
    /// The node suspects another one.
    Suspects {
        /// The suspected node.
        node: u16,
    },
    /// The test member has a new view of its group.
    GroupView {
        /// Its number.
        number: u64,
        /// The nodes of its members.
        members: Vec<u16>,
    },
    /// The test member has delivered a message.
    Message {
        /// The sender's number of the message.
        sequence: u64,
        /// The sender.
        sender: u16,
        /// Its text.
        text: String,
    },
    /// The machine is up and accepts orders.
    Ready {
        /// The kernel's release.
        release: String,
    },
    /// The machine ends. The result 0 says that its kernel is healthy.
    End {
        /// The result.
        code: u32,
    },
}

/// Parse a line. `None` if it is of no interest.
pub fn parse(line: &str) -> Option<Line> {
    if let Some(code) = line.strip_prefix("KCGCS-TEST-END rc=") {
        let code = code.trim().parse().ok()?;
        return Some(Line::End { code });
    }
    if let Some(release) = line.strip_prefix("KCGCS-MACHINE-READY ") {
        let release = release.trim().to_string();
        return Some(Line::Ready { release });
    }
    if let Some((_, text)) = line.split_once("kcgcs_test_member: group ") {
        return parse_member(text);
    }
    let (_, text) = line.split_once("kcgcs: node ")?;
    let (_, text) = text.split_once(": ")?;
    if let Some(rest) = text.strip_prefix("started, incarnation ") {
        let incarnation = leading_number(rest)?;
        return Some(Line::Started { incarnation });
    }
    if let Some(rest) = text.strip_prefix("excluded by view ") {
        let (_, incarnation) = rest.split_once(", new incarnation ")?;
        let incarnation = leading_number(incarnation)?;
        return Some(Line::Excluded { incarnation });
    }
    if let Some(rest) = text.strip_prefix("suspects node ") {
        let node = u16::try_from(leading_number(rest)?).ok()?;
        return Some(Line::Suspects { node });
    }
    let rest = text.strip_prefix("view ")?;
    let (_, lists) = rest.split_once(" members: ")?;
    let (members, coordinators) = lists.split_once("; coordinators: ")?;
    Some(Line::ClusterView {
        number: leading_number(rest)?,
        members: numbers(members),
        coordinators: numbers(coordinators),
    })
}

/// Parse `demo view 3 has 5 members: 1 2 3 4 5` or `demo message 4 of node 2: hello 4`.
fn parse_member(text: &str) -> Option<Line> {
    let (_, text) = text.split_once(' ')?;
    if let Some(rest) = text.strip_prefix("view ") {
        let (_, members) = rest.split_once(" members:")?;
        return Some(Line::GroupView {
            number: leading_number(rest)?,
            members: numbers(members),
        });
    }
    let rest = text.strip_prefix("message ")?;
    let (_, from) = rest.split_once(" of node ")?;
    let (_, said) = from.split_once(": ")?;
    Some(Line::Message {
        sequence: leading_number(rest)?,
        sender: u16::try_from(leading_number(from)?).ok()?,
        text: said.to_string(),
    })
}

fn leading_number(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

fn numbers(text: &str) -> Vec<u16> {
    text.split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_view_is_parsed_with_its_coordinators() {
        let line = "[   12.345678] kcgcs: node 3: view 7 of coordinator 1, 3 members: 1 2 3; coordinators: 1 3";
        assert_eq!(
            parse(line),
            Some(Line::ClusterView {
                number: 7,
                members: vec![1, 2, 3],
                coordinators: vec![1, 3]
            })
        );
    }

    #[test]
    fn a_message_is_parsed_with_its_text() {
        let line = "[ 1.0] kcgcs_test_member: group demo message 4 of node 2: hello 4";
        assert_eq!(
            parse(line),
            Some(Line::Message {
                sequence: 4,
                sender: 2,
                text: "hello 4".to_string()
            })
        );
    }

    #[test]
    fn an_exclusion_is_parsed_with_the_new_incarnation() {
        let line = "[ 1.0] kcgcs: node 4: excluded by view 9, new incarnation 17672256";
        assert_eq!(
            parse(line),
            Some(Line::Excluded {
                incarnation: 17_672_256
            })
        );
    }

    #[test]
    fn a_group_view_without_members_is_parsed() {
        let line = "[ 1.0] kcgcs_test_member: group demo view 9 has 0 members:";
        assert_eq!(
            parse(line),
            Some(Line::GroupView {
                number: 9,
                members: Vec::new()
            })
        );
    }

    #[test]
    fn other_lines_are_of_no_interest() {
        for line in [
            "",
            "[ 1.0] virtio_net virtio0 eth0",
            "kcgcs: loaded",
            "ok 1 kcgcs: node",
        ] {
            assert_eq!(parse(line), None);
        }
    }
}
