// SPDX-License-Identifier: GPL-2.0

//! The tests' own network works as the other tests assume.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use super::Test;
use crate::guest::network::{address4, Network};

const PORT: u16 = 9999;
const LOSS_TRIALS: u32 = 1000;

/// The tests of the suite `network`.
pub(super) fn tests() -> Vec<Test> {
    vec![
        Test::new("a_cut_port_is_silent_both_ways_and_heals", |_| {
            cut_is_silent()
        }),
        Test::new("ten_percent_loss_loses_about_ten_percent", loss_is_as_asked),
    ]
}

fn socket(network: &Network, number: u16) -> Result<UdpSocket, String> {
    network.namespace(number)?.run(|| {
        let socket = UdpSocket::bind((Ipv4Addr::from(address4(number)), PORT))
            .map_err(|error| format!("bind in {number}: {error}"))?;
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .map_err(|error| error.to_string())?;
        Ok(socket)
    })
}

fn passes(from: &UdpSocket, to: &UdpSocket) -> Result<bool, String> {
    let target = to.local_addr().map_err(|error| error.to_string())?;
    from.send_to(b"x", target)
        .map_err(|error| format!("send to {target}: {error}"))?;
    Ok(to.recv(&mut [0; 8]).is_ok())
}

fn cut_is_silent() -> Result<(), String> {
    let network = Network::new(3)?;
    let sockets = [
        socket(&network, 1)?,
        socket(&network, 2)?,
        socket(&network, 3)?,
    ];
    let expect = |from: usize, to: usize, wanted: bool| {
        if passes(&sockets[from], &sockets[to])? == wanted {
            Ok(())
        } else {
            Err(format!("{} to {} should be {wanted}", from + 1, to + 1))
        }
    };
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 1)] {
        expect(from, to, true)?;
    }
    network.cut(2)?;
    for (from, to) in [(0, 1), (1, 0), (2, 1), (1, 2)] {
        expect(from, to, false)?;
    }
    expect(0, 2, true)?;
    network.heal(2)?;
    for (from, to) in [(0, 1), (1, 0), (2, 1), (1, 2)] {
        expect(from, to, true)?;
    }
    Ok(())
}

fn loss_is_as_asked(remarks: &mut Vec<String>) -> Result<(), String> {
    let network = Network::new(2)?;
    let (from, to) = (socket(&network, 1)?, socket(&network, 2)?);
    if !passes(&from, &to)? {
        return Err("nothing passes without loss".to_string());
    }
    network.lose(10, 1)?;
    to.set_read_timeout(Some(Duration::from_millis(20)))
        .map_err(|error| error.to_string())?;
    let mut lost = 0;
    for _ in 0..LOSS_TRIALS {
        lost += u32::from(!passes(&from, &to)?);
    }
    remarks.push(format!("{lost} of {LOSS_TRIALS} datagrams lost"));
    if (50..=150).contains(&lost) {
        Ok(())
    } else {
        Err(format!("{lost} of {LOSS_TRIALS} datagrams were lost"))
    }
}
