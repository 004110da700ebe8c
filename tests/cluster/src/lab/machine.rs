// SPDX-License-Identifier: GPL-2.0

//! One emulated machine: a QEMU process whose serial console is followed line by line as it speaks, and
//! takes orders (lines for its shell).

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// How long QEMU may take to do what its monitor is told.
const MONITOR_LIMIT: Duration = Duration::from_secs(20);

/// A line of a console, with the moment it arrived here.
#[derive(Clone, Debug)]
pub struct ConsoleLine {
    /// The machine's number.
    pub machine: u16,
    /// Which of the machine's boots it is from, counted from 1.
    pub boot: u32,
    /// When it arrived.
    pub at: Instant,
    /// The line.
    pub text: String,
}

/// What QEMU runs machines on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceleration {
    /// The processor's own virtual machines.
    Kvm,
    /// Emulation.
    Tcg,
}

/// What all machines of a run have in common.
#[derive(Clone, Debug)]
pub struct Model {
    /// The kernel.
    pub kernel: PathBuf,
    /// Its file system.
    pub initramfs: PathBuf,
    /// Where consoles are written.
    pub logs: PathBuf,
    /// The UDP port of the segment that joins the machines; another run has another.
    pub segment_port: u16,
    /// What QEMU runs the machines on.
    pub acceleration: Acceleration,
    /// Megabytes of memory.
    pub memory_mb: u32,
    /// Milliseconds and numbers for kcgcs.ko: `name=value`, separated by spaces.
    pub parameters: String,
    /// How many machines there are.
    pub count: u16,
}

/// A machine that runs, or has run.
pub struct Machine {
    process: Child,
    orders: ChildStdin,
    /// The socket that QEMU's monitor (QMP) listens on.
    monitor: PathBuf,
    /// Where its console is written.
    pub log: PathBuf,
}

impl Machine {
    /// Starts a machine. Its console lines go to `lines` and to its log.
    pub fn start(
        model: &Model,
        number: u16,
        boot: u32,
        lines: Sender<ConsoleLine>,
    ) -> Result<Self, String> {
        let log = model.logs.join(format!("node{number}-boot{boot}.log"));
        let mut file = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        // The path of a socket must be short.
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
                // A full disk must not end the run: the line itself goes on.
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

    /// A line for the machine's shell.
    pub fn order(&mut self, line: &str) -> Result<(), String> {
        self.orders
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| self.orders.flush())
            .map_err(|error| format!("the machine takes no orders: {error}"))
    }

    /// Lets the machine stand still, its clocks too.
    pub fn stop(&mut self) -> Result<(), String> {
        self.tell_monitor("stop")
    }

    /// Lets it go on.
    pub fn go_on(&mut self) -> Result<(), String> {
        self.tell_monitor("cont")
    }

    /// Has QEMU carry out one command. Its monitor takes one conversation at a time.
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
            // The greeting and what QEMU tells unasked come before the answer.
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

    /// Ends the machine without a word to anybody, as a power failure does.
    pub fn kill(&mut self) {
        // An error says that it has ended already.
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

/// QEMU, tied to the life of this program.
fn command(model: &Model, number: u16) -> Command {
    let order = format!(
        "exec demo-machine {number} {} {}",
        model.count, model.parameters
    );
    // On a busy host an emulated kernel finds its timers late and its processor's counter slow, and would take the first for
    // broken and live by a clock that is several times too fast.
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
