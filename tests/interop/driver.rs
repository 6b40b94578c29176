//! The Python processes of these tests: how Python is found, and a process that is told things and reports.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use p2poll::Unl;
use serde_json::{Value, json};

/// How long anything may take on a machine that is busy with other things. Nothing waits this long when all
/// is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A Python that can run pyp2p.
#[derive(Clone, Debug)]
pub(crate) struct Python {
    executable: PathBuf,
}

impl Python {
    /// The Python named by `P2POLL_PYTHON`, else the system's, else that of `target/pyp2p-venv`. The error is
    /// the reason why there is none.
    pub(crate) fn find() -> Result<Python, String> {
        if let Some(named) = std::env::var_os("P2POLL_PYTHON") {
            // Whoever names one means it: tests that quietly did not run would be a nasty surprise.
            let python = Python { executable: named.into() };
            python.try_out().unwrap_or_else(|why| panic!("P2POLL_PYTHON can not run pyp2p: {why}"));
            return Ok(python);
        }
        let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/pyp2p-venv/bin/python3");
        let mut reasons = Vec::new();
        for executable in [PathBuf::from("python3"), venv] {
            let python = Python { executable };
            match python.try_out() {
                Ok(()) => return Ok(python),
                Err(why) => reasons.push(format!("{}: {why}", python.executable.display())),
            }
        }
        Err(reasons.join("; "))
    }

    fn try_out(&self) -> Result<(), String> {
        let output = self
            .command()
            .args([
                "-B",
                "-c",
                "import home; home.settle('127.0.0.1'); import pyp2p.net, pyp2p.rendezvous_server",
            ])
            .env("PYTHONPATH", drivers())
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(complaint.lines().last().unwrap_or("it failed without a word").to_owned())
    }

    /// Starts pyp2p's rendezvous server on a free port of `ip`.
    pub(crate) fn server(&self, ip: Ipv4Addr) -> (Driver, SocketAddr) {
        self.server_by(self.command(), ip)
    }

    /// The same, where a command runs that was made for this Python's `program`.
    pub(crate) fn server_by(&self, command: Command, ip: Ipv4Addr) -> (Driver, SocketAddr) {
        let mut driver = launch(command, "server.py", &[ip.to_string()]);
        let port = driver.wait_for("listening")["port"].as_u64().expect("a port");
        (driver, SocketAddr::from((ip, port as u16)))
    }

    /// Starts pyp2p's rendezvous client code, which lives at `home`.
    pub(crate) fn client(&self, home: Ipv4Addr, server: SocketAddr) -> Driver {
        let mut driver = self.start("client.py", &[home.to_string(), server.to_string()]);
        driver.wait_for("ready");
        driver
    }

    /// Starts pyp2p's UNL code.
    pub(crate) fn unls(&self, home: Ipv4Addr) -> Driver {
        let mut driver = self.start("unl.py", &[home.to_string()]);
        driver.wait_for("ready");
        driver
    }

    /// Starts a pyp2p `Net` that lives at `home`, and gives the address that it listens at.
    pub(crate) fn net(&self, home: Ipv4Addr, node_type: &str, server: SocketAddr) -> (Driver, SocketAddr) {
        let arguments = [home.to_string(), "0".to_owned(), node_type.to_owned(), server.to_string()];
        let mut driver = self.start("net.py", &arguments);
        let port = driver.wait_for("listening")["port"].as_u64().expect("a port");
        (driver, SocketAddr::from((home, port as u16)))
    }

    /// Starts a pyp2p `Net` for direct connections that lives at `home`, and gives its UNL.
    pub(crate) fn direct(&self, home: Ipv4Addr, node_type: &str, server: SocketAddr) -> (Driver, Unl) {
        self.direct_by(self.command(), home, node_type, server)
    }

    /// The same, where a command runs that was made for this Python's `program`.
    pub(crate) fn direct_by(
        &self,
        command: Command,
        home: Ipv4Addr,
        node_type: &str,
        server: SocketAddr,
    ) -> (Driver, Unl) {
        let arguments = [home.to_string(), node_type.to_owned(), server.to_string()];
        let mut driver = launch(command, "direct.py", &arguments);
        let unl = driver.wait_for("unl")["unl"].as_str().and_then(|text| text.parse().ok()).expect("a UNL");
        (driver, unl)
    }

    /// What to run.
    pub(crate) fn program(&self) -> &Path {
        &self.executable
    }

    fn start(&self, script: &str, arguments: &[String]) -> Driver {
        launch(self.command(), script, arguments)
    }

    fn command(&self) -> Command {
        Command::new(&self.executable)
    }
}

fn launch(mut command: Command, script: &str, arguments: &[String]) -> Driver {
    let mut child = command
        .arg("-B") // no byte code is left beside the drivers
        .arg(drivers().join(script))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (sender, reports) = channel();
    let input = child.stdin.take().expect("a pipe");
    let output = child.stdout.take().expect("a pipe");
    let errors = child.stderr.take().expect("a pipe");
    pump(output, sender.clone(), parse_report);
    pump(errors, sender, |text| json!({ "event": "stderr", "text": text }));
    Driver { script: script.to_owned(), child, input, reports, seen: Vec::new() }
}

/// A running driver script. Its process ends with this value, also when the test panics.
#[derive(Debug)]
pub(crate) struct Driver {
    script: String,
    child: Child,
    input: ChildStdin,
    reports: Receiver<Value>,
    seen: Vec<Value>,
}

impl Driver {
    /// Writes a command to the driver's standard input.
    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").unwrap_or_else(|error| panic!("{}: {error}", self.script));
    }

    /// Tells a command and waits until it is done. The reports on the way are kept for `lines`.
    pub(crate) fn step(&mut self, command: &str) -> Value {
        self.tell(command);
        let name = command.split(' ').next().unwrap_or_default().to_owned();
        self.wait_until(&format!("done {name}"), |report| {
            report["event"] == "done" && report["step"] == name.as_str()
        })
    }

    /// Waits for a report of this event.
    pub(crate) fn wait_for(&mut self, event: &str) -> Value {
        self.wait_until(event, |report| report["event"] == event)
    }

    /// Waits for a report that `matches`. What it is called is for the message when none comes.
    pub(crate) fn wait_until(&mut self, called: &str, mut matches: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let report = match self.reports.recv_timeout(left) {
                Ok(report) => report,
                Err(RecvTimeoutError::Timeout) => self.give_up(called, "nothing came"),
                Err(RecvTimeoutError::Disconnected) => self.give_up(called, "the process ended"),
            };
            self.seen.push(report.clone());
            if report["event"] == "strayed" {
                self.give_up(called, "it tried to leave the loopback");
            }
            if matches(&report) {
                return report;
            }
        }
    }

    /// The lines of all reports of this event so far.
    pub(crate) fn lines(&self, event: &str) -> Vec<String> {
        let reports = self.seen.iter().filter(|report| report["event"] == event);
        reports.filter_map(|report| report["line"].as_str().map(str::to_owned)).collect()
    }

    /// The lines of all reports of this event about somebody at `ip`, once `last` is among them.
    pub(crate) fn lines_from(&mut self, event: &str, ip: Ipv4Addr, last: &str) -> Vec<String> {
        let from = format!("{ip}:");
        let fits = |report: &Value| {
            report["event"] == event && report["peer"].as_str().is_some_and(|peer| peer.starts_with(&from))
        };
        if !self.seen.iter().any(|report| fits(report) && report["line"] == last) {
            self.wait_until(&format!("{event} {last}"), |report| fits(report) && report["line"] == last);
        }
        let reports = self.seen.iter().filter(|report| fits(report));
        reports.filter_map(|report| report["line"].as_str().map(str::to_owned)).collect()
    }

    fn give_up(&self, called: &str, why: &str) -> ! {
        let seen: Vec<String> = self.seen.iter().map(Value::to_string).collect();
        panic!("{} while waiting for `{called}`: {why}. Before that:\n{}", self.script, seen.join("\n"))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill and only the status to collect.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn drivers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop")
}

fn parse_report(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|_| json!({ "event": "garbled", "text": line }))
}

fn pump(pipe: impl Read + Send + 'static, into: Sender<Value>, make: fn(&str) -> Value) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if into.send(make(&line)).is_err() {
                return;
            }
        }
    });
}
