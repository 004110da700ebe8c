// SPDX-License-Identifier: GPL-2.0

//! The tables of KCGCS, TIPC and Corosync next to each other, in Markdown.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::Table;

use super::{spread, table};
use crate::bench::peers::{Peer, PeerCuts, PeerIdle, PeerLosses};

/// The tables with their titles.
pub(super) fn tables(peers: &[&Peer]) -> Vec<(&'static str, Table)> {
    vec![
        (
            "Next to each other, idle: of one node in a second",
            of_all(
                peers,
                &["packets", "bytes", "instructions", "told gone, busy"],
                |peer| peer.idle.as_ref().map(idle),
            ),
        ),
        (
            "Next to each other, from a silent cut until survivors know, ms (median / p99 / max)",
            of_all(
                peers,
                &[
                    "cuts",
                    "first survivor",
                    "last survivor",
                    "between them",
                    "told",
                    "others told gone",
                    "whole again",
                ],
                |peer| peer.cuts.as_ref().map(cuts),
            ),
        ),
        (
            "Next to each other, packets lost on every port",
            of_all(
                peers,
                &[
                    "seconds",
                    "lost %",
                    "told gone",
                    "nodes gone",
                    "whole at the end",
                ],
                |peer| peer.losses.as_ref().map(losses),
            ),
        ),
        (
            "Next to each other, what was not measured",
            of_all(peers, &["why"], |peer| {
                peer.problem.clone().map(|problem| vec![problem])
            }),
        ),
    ]
}

/// A table with a row for each contender for which `row` has one.
fn of_all(peers: &[&Peer], header: &[&str], row: impl Fn(&Peer) -> Option<Vec<String>>) -> Table {
    let header: Vec<&str> = ["nodes", "contender"]
        .iter()
        .chain(header)
        .copied()
        .collect();
    let mut table = table(&header);
    table.load_preset(ASCII_MARKDOWN);
    for peer in peers {
        if let Some(cells) = row(peer) {
            let names = [peer.nodes.to_string(), peer.contender.clone()];
            table.add_row(names.into_iter().chain(cells));
        }
    }
    table
}

fn idle(idle: &PeerIdle) -> Vec<String> {
    vec![
        format!("{:.1}", idle.packets),
        format!("{:.0}", idle.bytes),
        format!("{:.0}", idle.instructions),
        idle.told_gone.to_string(),
    ]
}

fn cuts(cuts: &PeerCuts) -> Vec<String> {
    vec![
        cuts.last.count.to_string(),
        spread(&cuts.first, 0),
        spread(&cuts.last, 0),
        spread(&cuts.between, 1),
        format!("{:.2}", cuts.told),
        cuts.others_told_gone.to_string(),
        spread(&cuts.back, 0),
    ]
}

fn losses(losses: &PeerLosses) -> Vec<String> {
    let whole = if losses.is_whole { "yes" } else { "no" };
    vec![
        format!("{:.0}", losses.seconds),
        losses.percent.to_string(),
        losses.told_gone.to_string(),
        losses.nodes_gone.to_string(),
        whole.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contender_has_rows_for_its_results_and_for_its_problem() {
        let peer = Peer {
            contender: "TIPC".to_string(),
            nodes: 8,
            formed_ms: Some(900.0),
            idle: Some(PeerIdle {
                seconds: 20.0,
                packets: 37.4,
                bytes: 3190.0,
                instructions: 300_000.0,
                told_gone: 0,
            }),
            cuts: None,
            losses: None,
            problem: Some("3 of 7 survivors knew of a cut after 120 s".to_string()),
        };
        let rows: Vec<usize> = tables(&[&peer])
            .iter()
            .map(|(_, table)| table.row_count())
            .collect();
        assert_eq!(rows, [1, 0, 0, 1]);
        let (_, idle) = &tables(&[&peer])[0];
        let text = idle.to_string();
        assert!(text.contains("37.4") && text.contains("300000"), "{text}");
    }
}
