// SPDX-License-Identifier: GPL-2.0

//! The report: the results on the machine's console as tables for people and as JSON for programs.

mod peers;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use serde::{Deserialize, Serialize};

use super::peers::Peer;
use super::{DatagramCost, Line, Setting, Spread, LINE_MARK};

/// All results of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The meaning of the times.
    pub clock: String,
    /// The machine and the settings.
    #[serde(flatten)]
    pub setting: Setting,
    /// Whether all measurements that were asked for were made.
    pub is_whole: bool,
    /// The results.
    pub results: Vec<Line>,
}

const CLOCK: &str =
    "one processor that executes 10^9 instructions per second: 1 ns is one instruction";

impl Report {
    /// Parse the text of a machine's console. If the machine was stopped early, the report has the results until then.
    pub fn of_console(console: &str) -> Result<Self, String> {
        let mut setting = None;
        let mut results = Vec::new();
        let mut is_whole = false;
        let mut rest = console.lines().peekable();
        while let Some(line) = rest.next() {
            let Some(text) = line.trim_end().strip_prefix(LINE_MARK) else {
                continue;
            };
            let line = match serde_json::from_str(text) {
                Ok(line) => line,
                // The machine was stopped in the middle of this line.
                Err(_) if rest.peek().is_none() => break,
                Err(error) => return Err(format!("{text}: {error}")),
            };
            match line {
                Line::Setting(found) => setting = Some(found),
                Line::End => is_whole = true,
                Line::Peer(peer) => take_peer(&mut results, peer),
                result => results.push(result),
            }
        }
        Ok(Self {
            clock: CLOCK.to_string(),
            setting: setting.ok_or("the console has no line about the machine and its settings")?,
            is_whole,
            results,
        })
    }

    /// The report as tables.
    pub fn tables(&self) -> String {
        let parameters: Vec<String> = self
            .setting
            .parameters
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut text = format!(
            "Kernel {}, {}.\nSeed {}; parameters: {}\n",
            self.setting.kernel,
            self.clock,
            self.setting.seed,
            parameters.join(" ")
        );
        if !self.is_whole {
            text.push_str("The machine was stopped before all measurements were made.\n");
        }
        let tables = [
            ("Idle: sent by one node in a second", self.idle()),
            (
                "From a silent crash to the new view, ms (median / p99 / max)",
                self.detection(),
            ),
            (
                "Instructions of one heartbeat, and of a bare datagram of the same size",
                self.heartbeat(),
            ),
            ("Multicast with a full window, AGREED", self.throughput()),
            (
                "Multicast with one message at a time, AGREED, ms (median / p99 / max)",
                self.latency(),
            ),
        ];
        for (title, table) in tables.into_iter().chain(peers::tables(&self.peers())) {
            if table.row_count() > 0 {
                text.push_str(&format!("\n{title}\n{table}\n"));
            }
        }
        text
    }

    /// The contenders, ordered by the number of nodes.
    fn peers(&self) -> Vec<&Peer> {
        let peers = self.results.iter().filter_map(|result| match result {
            Line::Peer(peer) => Some(peer.as_ref()),
            _ => None,
        });
        let mut peers: Vec<&Peer> = peers.collect();
        peers.sort_by_key(|peer| peer.nodes);
        peers
    }

    fn idle(&self) -> Table {
        let mut table = table(&[
            "nodes",
            "packets",
            "packets, most",
            "bytes",
            "datagrams of ours",
            "heartbeats",
            "payload bytes",
        ]);
        for result in &self.results {
            if let Line::Idle(idle) = result {
                table.add_row([
                    idle.nodes.to_string(),
                    format!("{:.2}", idle.packets_mean),
                    format!("{:.2}", idle.packets_max),
                    format!("{:.0}", idle.bytes_mean),
                    format!("{:.2}", idle.datagrams_mean),
                    format!("{:.2}", idle.heartbeats_mean),
                    format!("{:.0}", idle.payload_bytes_mean),
                ]);
            }
        }
        table
    }

    fn detection(&self) -> Table {
        let mut table = table(&[
            "nodes",
            "crashes",
            "of coordinators",
            "first survivor",
            "last survivor",
            "took several views",
        ]);
        for result in &self.results {
            if let Line::Detection(detection) = result {
                table.add_row([
                    detection.nodes.to_string(),
                    detection.last.count.to_string(),
                    detection.coordinator_crashes.to_string(),
                    spread(&detection.first, 1),
                    spread(&detection.last, 1),
                    detection.more_than_one_view.to_string(),
                ]);
            }
        }
        table
    }

    fn heartbeat(&self) -> Table {
        let mut table = table(&[
            "",
            "sent and received",
            "sent",
            "received",
            "in the receive hook",
        ]);
        for result in &self.results {
            if let Line::Heartbeat(cost) = result {
                let row = |name: &str, cost: &DatagramCost| {
                    let numbers = [cost.whole, cost.send, cost.receive, cost.hook];
                    std::iter::once(name.to_string())
                        .chain(numbers.map(|number| format!("{number:.0}")))
                        .collect::<Vec<_>>()
                };
                let (ours, bare) = (&cost.heartbeat, &cost.bare);
                table.add_row(row("heartbeat", ours));
                table.add_row(row("bare datagram", bare));
                table.add_row([
                    "ratio".to_string(),
                    format!("{:.2}", ours.whole / bare.whole),
                    format!("{:.2}", ours.send / bare.send),
                    format!("{:.2}", ours.receive / bare.receive),
                    format!("{:.2}", ours.hook / bare.hook),
                ]);
            }
        }
        table
    }

    fn throughput(&self) -> Table {
        let mut table = table(&[
            "members",
            "senders",
            "bytes",
            "messages/s",
            "MB/s",
            "ns/delivery",
            "idle %",
            "datagrams/message",
        ]);
        for result in &self.results {
            if let Line::Throughput(throughput) = result {
                let megabytes = throughput.messages_per_second * f64::from(throughput.bytes) / 1e6;
                table.add_row([
                    throughput.members.to_string(),
                    throughput.senders.to_string(),
                    throughput.bytes.to_string(),
                    format!("{:.0}", throughput.messages_per_second),
                    format!("{megabytes:.2}"),
                    format!("{:.0}", throughput.ns_per_delivery),
                    format!("{:.0}", throughput.idle_percent),
                    format!("{:.2}", throughput.datagrams_per_message),
                ]);
            }
        }
        table
    }

    fn latency(&self) -> Table {
        let mut table = table(&[
            "members",
            "bytes",
            "messages",
            "at the sender",
            "at the last member",
        ]);
        for result in &self.results {
            if let Line::Latency(latency) = result {
                table.add_row([
                    latency.members.to_string(),
                    latency.bytes.to_string(),
                    latency.at_last.count.to_string(),
                    spread(&latency.at_sender, 3),
                    spread(&latency.at_last, 3),
                ]);
            }
        }
        table
    }
}

/// Add the results of a contender, in the place of earlier ones: the machine writes them again after each step.
fn take_peer(results: &mut Vec<Line>, peer: Box<Peer>) {
    let is_of_same = |result: &&mut Line| match result {
        Line::Peer(before) => (&before.contender, before.nodes) == (&peer.contender, peer.nodes),
        _ => false,
    };
    match results.iter_mut().find(is_of_same) {
        Some(before) => *before = Line::Peer(peer),
        None => results.push(Line::Peer(peer)),
    }
}

fn spread(spread: &Spread, digits: usize) -> String {
    let Spread {
        median_ms,
        p99_ms,
        max_ms,
        ..
    } = spread;
    format!("{median_ms:.digits$} / {p99_ms:.digits$} / {max_ms:.digits$}")
}

/// An empty table with this header. Columns of numbers are aligned to the right.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(header);
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTING: &str =
        r#"KCGCS-BENCH {"part":"setting","kernel":"7.3","seed":1,"parameters":[["rings",3]]}"#;
    const LATENCY: &str = r#"KCGCS-BENCH {"part":"latency","members":3,"bytes":64,"at_sender":{"count":1,"median_ms":0.25,"p99_ms":0.25,"max_ms":0.25},"at_last":{"count":1,"median_ms":0.5,"p99_ms":0.5,"max_ms":0.5}}"#;
    const END: &str = r#"KCGCS-BENCH {"part":"end"}"#;

    #[test]
    fn a_console_becomes_tables_and_json() {
        let console = format!("[1.0] boot\n{SETTING}\r\n[2.0] more\n{LATENCY}\r\n{END}\n");
        let report = Report::of_console(&console).expect("a report");
        let tables = report.tables();
        assert!(tables.contains("Kernel 7.3"), "{tables}");
        assert!(tables.contains("rings=3"), "{tables}");
        assert!(tables.contains("0.500 / 0.500 / 0.500"), "{tables}");
        assert!(!tables.contains("Idle"), "{tables}");
        let json = serde_json::to_string(&report).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Report>(&json).expect("a report"),
            report
        );
    }

    #[test]
    fn the_report_of_a_stopped_run_has_its_results_and_says_so() {
        for end in ["", "KCGCS-BENCH {\"part\":"] {
            let report = Report::of_console(&format!("{SETTING}\n{LATENCY}\n{end}"));
            let report = report.expect("a report");
            assert!(!report.is_whole);
            assert_eq!(report.results.len(), 1);
            let tables = report.tables();
            assert!(tables.contains("was stopped"), "{tables}");
        }
    }

    #[test]
    fn the_last_results_of_a_contender_count_and_small_clusters_come_first() {
        let line = |nodes, why: &str| {
            let peer = Peer::unmeasured("TIPC", nodes, why);
            let text = serde_json::to_string(&Line::Peer(Box::new(peer))).expect("text");
            format!("{LINE_MARK}{text}\n")
        };
        let console = [line(8, "first"), line(4, "other"), line(8, "last")].concat();
        let report = Report::of_console(&format!("{SETTING}\n{console}")).expect("a report");
        let peers = report.peers();
        let told = peers
            .iter()
            .map(|peer| (peer.nodes, peer.problem.as_deref()));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [(4, Some("other")), (8, Some("last"))]
        );
    }

    #[test]
    fn a_console_without_a_setting_or_with_garbled_lines_is_refused() {
        for console in [
            format!("{LATENCY}\n{END}\n"),
            format!("{SETTING}\nKCGCS-BENCH {{\"part\":\n{END}\n"),
        ] {
            assert!(Report::of_console(&console).is_err(), "{console}");
        }
    }
}
