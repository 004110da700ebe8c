// SPDX-License-Identifier: GPL-2.0

//! How late heartbeats are: as a table with bars, and as JSON.

use comfy_table::{CellAlignment, Row};
use serde_json::{json, Value};

use super::table::{table, text_of};
use crate::netlink::{Histogram, NeighbourDelays};

/// The heights of bars. Every count but zero has at least the first.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Shown for a count of zero.
const NO_BAR: char = '·';
/// The percentiles shown: the name in the JSON, and the percentage.
const PERCENTILES: [(&str, u64); 4] = [
    ("min_below_us", 0),
    ("median_below_us", 50),
    ("p99_below_us", 99),
    ("max_below_us", 100),
];

fn span_text(microseconds: u64) -> String {
    let thousandths = |unit: u64| microseconds as f64 / unit as f64;
    match microseconds {
        0..1_000 => format!("{microseconds}us"),
        1_000..1_000_000 => format!("{:.1}ms", thousandths(1_000)),
        _ => format!("{:.1}s", thousandths(1_000_000)),
    }
}

/// The range of a bucket, as `<128us` or `>=4.2s`.
fn bucket_text(histogram: &Histogram, bucket: usize) -> String {
    match histogram.below_us(bucket) {
        Some(below) => format!("<{}", span_text(below)),
        None => {
            let from = bucket
                .checked_sub(1)
                .and_then(|before| histogram.below_us(before));
            format!(">={}", span_text(from.unwrap_or(0)))
        }
    }
}

fn bars(histogram: &Histogram) -> String {
    let most = histogram.buckets.iter().max().copied().unwrap_or(0);
    let most = u64::from(most.max(1));
    let bar = |count: &u32| match u64::from(*count) {
        0 => NO_BAR,
        count => {
            let height = (count * BARS.len() as u64).div_ceil(most);
            let place = usize::try_from(height.saturating_sub(1)).unwrap_or(0);
            BARS[place.min(BARS.len() - 1)]
        }
    };
    histogram.buckets.iter().map(bar).collect()
}

/// The histograms of all neighbours, as `delays` shows them.
pub fn delays_text(neighbours: &[NeighbourDelays]) -> String {
    let heads = [
        "NODE",
        "HEARTBEATS",
        "COUNT",
        "MIN",
        "MEDIAN",
        "P99",
        "MAX",
        "LATE BY <1us, <2us, <4us ...",
    ];
    let mut table = table(&heads);
    for neighbour in neighbours {
        for (word, histogram) in [("received", &neighbour.received), ("sent", &neighbour.sent)] {
            let Some(histogram) = histogram else {
                continue;
            };
            let mut cells = vec![
                neighbour.node.to_string(),
                word.to_owned(),
                histogram.count().to_string(),
            ];
            cells.extend(PERCENTILES.map(|(_, percent)| {
                let bucket = histogram.percentile(percent);
                bucket.map_or("-".to_owned(), |bucket| bucket_text(histogram, bucket))
            }));
            cells.push(bars(histogram));
            table.add_row(Row::from(cells));
        }
    }
    for number in 2..7 {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    text_of(table)
}

fn histogram_json(histogram: &Histogram) -> Value {
    let mut object = json!({
        "count": histogram.count(),
        "buckets": histogram.buckets,
    });
    for (name, percent) in PERCENTILES {
        let bucket = histogram.percentile(percent);
        object[name] = json!(bucket.and_then(|bucket| histogram.below_us(bucket)));
    }
    object
}

/// The histograms of one neighbour, as `delays --json` shows them.
pub fn delays_json(neighbour: &NeighbourDelays) -> Value {
    json!({
        "node": neighbour.node,
        "incarnation": neighbour.incarnation,
        "received": neighbour.received.as_ref().map(histogram_json),
        "sent": neighbour.sent.as_ref().map(histogram_json),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour(received: &[(usize, u32)], sent: Option<&[(usize, u32)]>) -> NeighbourDelays {
        let histogram = |counts: &[(usize, u32)]| {
            let mut buckets = vec![0; 24];
            for (place, count) in counts {
                buckets[*place] = *count;
            }
            Histogram { buckets }
        };
        NeighbourDelays {
            node: 7,
            incarnation: 70,
            received: Some(histogram(received)),
            sent: sent.map(histogram),
        }
    }

    fn words(text: &str) -> Vec<Vec<&str>> {
        let lines = text.lines().skip(1);
        lines.map(|l| l.split_whitespace().collect()).collect()
    }

    #[test]
    fn a_neighbour_has_a_row_for_each_direction() {
        let both = neighbour(&[(0, 50), (7, 49), (14, 1)], Some(&[(23, 3)]));
        let text = delays_text(&[both]);
        let rows = words(&text);
        let wanted = [
            vec![
                "7",
                "received",
                "100",
                "<1us",
                "<1us",
                "<128us",
                "<16.4ms",
                "█······█······▁·········",
            ],
            vec![
                "7",
                "sent",
                "3",
                ">=4.2s",
                ">=4.2s",
                ">=4.2s",
                ">=4.2s",
                "·······················█",
            ],
        ];
        assert_eq!(rows, wanted);
        let text = delays_text(&[neighbour(&[], None)]);
        assert_eq!(words(&text)[0][2..7], ["0", "-", "-", "-", "-"]);
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn a_rare_delay_has_the_lowest_bar_and_the_most_frequent_one_the_highest() {
        let counts = neighbour(&[(0, u32::MAX), (1, 1), (2, u32::MAX / 2)], None);
        let bars = bars(&counts.received.unwrap());
        assert_eq!(bars.chars().take(4).collect::<String>(), "█▁▄·");
        assert_eq!(bars.chars().count(), 24);
    }

    #[test]
    fn the_json_has_all_buckets_and_the_upper_ends_of_the_percentiles() {
        let json = delays_json(&neighbour(&[(1, 98), (10, 1), (23, 1)], None));
        assert_eq!(json["node"], 7);
        assert_eq!(json["incarnation"], 70);
        assert!(json["sent"].is_null());
        let received = &json["received"];
        assert_eq!(received["count"], 100);
        assert_eq!(received["buckets"][10], 1);
        assert_eq!(received["min_below_us"], 2);
        assert_eq!(received["median_below_us"], 2);
        assert_eq!(received["p99_below_us"], 1024);
        assert!(received["max_below_us"].is_null());
    }
}
