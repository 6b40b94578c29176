//! A network namespace without a name: it lives as long as this process holds it, so nothing has to be cleaned up,
//! however the process ends.

use std::fs::{self, File, Metadata};
use std::io::{Error, Result, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tappers::{Interface, Tap};

use super::frame::mac;
use super::segment::{End, Plug, Segment};

/// So often it is looked for programs that are to end.
const ROUNDS: usize = 100;

/// One machine's network. Programs that run in it end with it.
#[derive(Debug)]
pub(crate) struct Space {
    handle: File,
}

impl Space {
    /// A new and empty one, in which interfaces are without IPv6 at first.
    pub(crate) fn new() -> Result<Space> {
        let handle = on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            // A kernel without IPv6 has no such switches. What it does by itself on a new link is not asked for.
            for (switch, value) in [("disable_ipv6", "1"), ("accept_dad", "0"), ("accept_ra", "0")] {
                _ = fs::write(format!("/proc/sys/net/ipv6/conf/default/{switch}"), value);
            }
            File::open("/proc/thread-self/ns/net")
        })?;
        Ok(Space { handle })
    }

    /// Runs `work` in here, on a thread of its own. What it opens stays in here wherever it is used later, and
    /// processes that it starts are born in here.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        on_a_thread(|| {
            setns(&self.handle, CloneFlags::CLONE_NEWNET).expect("our own namespace can be entered");
            work()
        })
    }

    /// A program that will run in here, and that is killed when the thread that starts it ends, in whatever way.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut words = self.entrance();
        let mut command = Command::new(words.remove(0));
        command.args(words).arg(program);
        command
    }

    /// The words that go before a command line to run it in here.
    pub(crate) fn entrance(&self) -> Vec<String> {
        let net = format!("--net=/proc/{}/fd/{}", std::process::id(), self.handle.as_raw_fd());
        ["nsenter", &net, "setpriv", "--pdeathsig", "KILL"].map(String::from).to_vec()
    }

    /// Gives this space an interface with an address in a segment.
    pub(crate) fn attach(&self, interface: &str, segment: &Segment, address: Ipv4Addr) -> Result<Plug> {
        let name = Interface::new(interface)?;
        let mut tap = self.inside(|| Tap::new_named(name))?;
        tap.set_nonblocking(true)?;
        let plug = segment.plug(End::Tap(Arc::new(tap)));
        let mut six = String::new();
        if let Some((address, prefix)) = segment.address6(address) {
            self.set(&format!("net/ipv6/conf/{interface}/disable_ipv6"), "0")?;
            six = format!("addr add {address}/{prefix} dev {interface} nodad\n");
        }
        let [a, b, c, d, e, f] = mac(address);
        let prefix = segment.prefix();
        self.ip(&format!(
            "link set dev lo up\n\
             link set dev {interface} address {a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}\n\
             addr replace {address}/{prefix} broadcast + dev {interface}\n\
             {six}link set dev {interface} up\n"
        ))?;
        Ok(plug)
    }

    /// Lines for `ip`.
    pub(crate) fn ip(&self, batch: &str) -> Result<()> {
        self.feed(Command::new("ip").args(["-batch", "-"]), batch)
    }

    /// Rules for `nft`.
    pub(crate) fn nft(&self, rules: &str) -> Result<()> {
        self.feed(Command::new("nft").args(["-f", "-"]), rules)
    }

    /// Runs a tool in here until it ends, with `input` to read; that it fails is an error that quotes it.
    pub(crate) fn feed(&self, command: &mut Command, input: &str) -> Result<()> {
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        self.inside(|| {
            let mut child = command.spawn()?;
            if let Some(mut pipe) = child.stdin.take() {
                pipe.write_all(input.as_bytes())?;
            }
            let output = child.wait_with_output()?;
            if output.status.success() {
                return Ok(());
            }
            let said = String::from_utf8_lossy(&output.stderr);
            Err(Error::other(format!("{:?}: {}", command.get_program(), said.trim())))
        })
    }

    /// Sets a kernel variable of the network in here, such as `net/ipv4/ip_forward`.
    pub(crate) fn set(&self, variable: &str, value: &str) -> Result<()> {
        self.inside(|| fs::write(format!("/proc/sys/{variable}"), value))
    }

    /// Processes in here. Threads of ours that are here are not meant, and those that have ended are nowhere.
    fn inhabitants(&self) -> Vec<Pid> {
        let place = |data: Metadata| (data.dev(), data.ino());
        let (Ok(here), Ok(entries)) = (self.handle.metadata(), fs::read_dir("/proc")) else {
            return Vec::new();
        };
        let here = place(here);
        let processes = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let others = processes.filter(|&process| process != std::process::id() as i32);
        let lives_here = |process: &i32| {
            fs::metadata(format!("/proc/{process}/ns/net")).is_ok_and(|data| place(data) == here)
        };
        others.filter(lives_here).map(Pid::from_raw).collect()
    }

    /// What `/proc` calls this space: the same text for every process and thread in it.
    pub(crate) fn identity(&self) -> Result<String> {
        let link = self.inside(|| fs::read_link("/proc/thread-self/ns/net"))?;
        Ok(link.to_string_lossy().into_owned())
    }
}

/// Whoever still runs in here, for instance in a shell's background, ends: such a program would keep the namespace.
impl Drop for Space {
    fn drop(&mut self) {
        // One that is just starting others may be faster than a single look.
        for _ in 0..ROUNDS {
            let inhabitants = self.inhabitants();
            if inhabitants.is_empty() {
                return;
            }
            for process in inhabitants {
                _ = kill(process, Signal::SIGKILL);
            }
            thread::yield_now();
        }
    }
}

/// Namespaces are a property of threads, so what enters one gets a thread that ends with it.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|panic| resume_unwind(panic))
}
