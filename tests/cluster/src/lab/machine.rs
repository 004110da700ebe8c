// SPDX-License-Identifier: GPL-2.0

//! An emulated machine: a QEMU process whose serial console is followed line by line, and which accepts orders (lines
//! for its shell).

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// The longest time for a command of QEMU's monitor.
const MONITOR_LIMIT: Duration = Duration::from_secs(20);

/// A line of a console.
#[derive(Clone, Debug)]
pub struct ConsoleLine {
    /// The machine's number.
    pub machine: u16,
    /// The machine's boot that it is from, counted from 1.
    pub boot: u32,
    /// The time at which it arrived here.
    pub at: Instant,
    /// The line.
    pub text: String,
}

/// The way in which QEMU runs machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceleration {
    /// The processor's virtualisation.
    Kvm,
    /// Emulation.
    Tcg,
}

/// The parameters that all machines of a run have in common.
#[derive(Clone, Debug)]
pub struct Model {
    /// The kernel.
    pub kernel: PathBuf,
    /// Its file system.
    pub initramfs: PathBuf,
    /// The folder for consoles.
    pub logs: PathBuf,
    /// The UDP port of the network segment that connects the machines, a different one for each run.
    pub segment_port: u16,
    /// The way in which QEMU runs the machines.
    pub acceleration: Acceleration,
    /// Megabytes of memory.
    pub memory_mb: u32,
    /// Parameters for kcgcs.ko: `name=value`, separated by spaces.
    pub parameters: String,
    /// The number of machines.
    pub count: u16,
}

/// A machine that runs, or has run.
pub struct Machine {
    process: Child,
    orders: ChildStdin,
    /// The socket that QEMU's monitor (QMP) listens on.
    monitor: PathBuf,
    /// The file of its console.
    pub log: PathBuf,
}

impl Machine {
    /// Start a machine. Its console lines go to `lines` and to its log.
    pub fn start(
        model: &Model,
        number: u16,
        boot: u32,
        lines: Sender<ConsoleLine>,
    ) -> Result<Self, String> {
        let log = model.logs.join(format!("node{number}-boot{boot}.log"));
        let mut file = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        // The path of a socket must be short, so it is not in the folder of the logs.
        let monitor = format!("kcgcs-lab-{}-{number}-{boot}", std::process::id());
        let monitor = std::env::temp_dir().join(monitor);
        let mut process = command(model, number)
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", monitor.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file.try_clone().map_err(|error| error.to_string())?)
            .spawn()
            .map_err(|error| format!("cannot start QEMU: {error}"))?;
        let orders = process.stdin.take().ok_or("QEMU has no input")?;
        let console = process.stdout.take().ok_or("QEMU has no output")?;
        std::thread::spawn(move || {
            let mut console = BufReader::new(console);
            let mut bytes = Vec::new();
            while matches!(console.read_until(b'\n', &mut bytes), Ok(length) if length > 0) {
                let at = Instant::now();
                // A full disk must not end the run: the line is passed on anyway.
                let _ = file.write_all(&bytes);
                let text = String::from_utf8_lossy(&bytes);
                let text = text.trim_end_matches(['\r', '\n']).to_string();
                bytes.clear();
                let line = ConsoleLine {
                    machine: number,
                    boot,
                    at,
                    text,
                };
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            process,
            orders,
            monitor,
            log,
        })
    }

    /// Send a line to the machine's shell.
    pub fn order(&mut self, line: &str) -> Result<(), String> {
        self.orders
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| self.orders.flush())
            .map_err(|error| format!("the machine takes no orders: {error}"))
    }

    /// Stop the machine with its clocks.
    pub fn stop(&mut self) -> Result<(), String> {
        self.tell_monitor("stop")
    }

    /// Continue the machine.
    pub fn go_on(&mut self) -> Result<(), String> {
        self.tell_monitor("cont")
    }

    /// Have QEMU carry out a command. Its monitor accepts one connection at a time.
    fn tell_monitor(&self, command: &str) -> Result<(), String> {
        let what = |error: std::io::Error| format!("the monitor, told to {command}: {error}");
        let mut monitor = UnixStream::connect(&self.monitor).map_err(what)?;
        monitor
            .set_read_timeout(Some(MONITOR_LIMIT))
            .map_err(what)?;
        let mut answers = BufReader::new(monitor.try_clone().map_err(what)?);
        for command in ["qmp_capabilities", command] {
            let line = format!("{{\"execute\": \"{command}\"}}\n");
            monitor.write_all(line.as_bytes()).map_err(what)?;
            // A greeting and asynchronous events may come before the answer.
            loop {
                let mut answer = String::new();
                if answers.read_line(&mut answer).map_err(what)? == 0 {
                    return Err(format!("the monitor, told to {command}, hung up"));
                }
                if answer.contains("\"error\"") {
                    return Err(format!("the monitor, told to {command}: {answer}"));
                }
                if answer.contains("\"return\"") {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Kill the machine, as a power failure does.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.monitor);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The QEMU command. QEMU is killed when this program ends.
fn command(model: &Model, number: u16) -> Command {
    let order = format!(
        "exec demo-machine {number} {} {}",
        model.count, model.parameters
    );
    // On a busy host an emulated kernel sees late timers and a slow time stamp counter. It would take the timers for
    // broken, and use a clock that is several times too fast.
    let (accelerator, processor, clock) = match model.acceleration {
        Acceleration::Kvm => ("kvm", "max", ""),
        Acceleration::Tcg => ("tcg", "max,-la57", "no_timer_check tsc=unstable"),
    };
    let kernel_line = format!(
        "console=ttyS0 panic=-1 loglevel=7 quiet loglevel=7 nokaslr {clock} oops=panic panic_on_warn=1 \
         kcgcsvm.taint=0,4096,12288 kcgcsvm.name=node{number} kcgcsvm.run={}",
        base64(order.as_bytes())
    );
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ])
        .args(["-accel", accelerator, "-cpu", processor, "-smp", "1"])
        .args(["-m", &model.memory_mb.to_string()])
        .arg("-kernel")
        .arg(&model.kernel)
        .arg("-initrd")
        .arg(&model.initramfs)
        .args(["-append", &kernel_line])
        .args(["-serial", "stdio"])
        .args([
            "-netdev",
            &format!(
                "socket,id=net0,mcast=230.0.0.1:{},localaddr=127.0.0.1",
                model.segment_port
            ),
        ])
        .args([
            "-device",
            &format!("virtio-net-pci,netdev=net0,mac=52:54:00:77:00:{number:02x}"),
        ]);
    command
}

/// The usual encoding, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = 0_u32;
        for place in 0..3 {
            group = (group << 8) | u32::from(chunk.get(place).copied().unwrap_or(0));
        }
        for place in 0..4 {
            let digit = (group >> (18 - 6 * place)) & 63;
            text.push(if place <= chunk.len() {
                char::from(DIGITS[digit as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_pads_as_the_decoder_expects() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
