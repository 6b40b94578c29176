//! Nodes that connect to each other by UNL, and the servers through which they do, each a process of its own on one of the
//! laboratory's machines, told what to do through its standard input and watched through what it prints.
//!
//! The process is this program, started once more: see [`role`]. Whoever uses this begins its `main` with asking it.

mod role;
mod trace;

use std::env;
use std::io::{Error, Result, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::Host;
pub(crate) use role::role;
use trace::Trace;

/// Tells this program that it was started to be one of these, and which.
const ROLE: &str = "NATLAB_PEER";
/// Nothing new of a node's reach for so long, and it is settled.
const QUIET: Duration = Duration::from_millis(150);

/// What a node is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) servers: Vec<SocketAddr>,
    pub(crate) port: u16,
    /// Whether routers are asked for the port.
    pub(crate) mapping: bool,
    /// In seconds: after so long without a sign of life a peer is gone.
    pub(crate) dead_after: Option<u64>,
    /// In seconds: an attempt to connect has so long.
    pub(crate) connect_within: Option<u64>,
}

impl Settings {
    pub(crate) fn new(port: u16, servers: &[SocketAddr]) -> Settings {
        Settings { servers: servers.to_vec(), port, mapping: false, dead_after: None, connect_within: None }
    }
}

/// How an attempt to connect ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Connected {
        /// As events call it.
        via: String,
        /// The other end.
        peer: String,
        /// From the call of `connect`.
        took: Duration,
    },
    /// With the reasons, in words.
    Failed(String),
}

/// A node that runs. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    orders: Option<ChildStdin>,
    news: Receiver<Value>,
    trace: Trace,
    /// The last that it told of its reach.
    state: Value,
}

impl Peer {
    pub(crate) fn start(host: &Host, settings: &Settings) -> Result<Peer> {
        let Settings { servers, port, mapping, dead_after, connect_within } = settings;
        let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
        let text = json!({
            "role": "node", "servers": servers, "port": port, "mapping": mapping, "dead_after": dead_after,
            "connect_within": connect_within,
        });
        let (mut child, news, trace) = start(host, &text)?;
        Ok(Peer { orders: child.stdin.take(), child, news, trace, state: Value::Null })
    }

    /// Reads on until the node knows all about its reach and can be called; `Err` with what is missing.
    pub(crate) fn ready(&mut self, limit: Duration) -> std::result::Result<(), String> {
        let deadline = Instant::now() + limit;
        loop {
            let settled = self.state["ready"] == true;
            let until = if settled { deadline.min(Instant::now() + QUIET) } else { deadline };
            match self.next(until) {
                Some(_) => {}
                None if settled => return Ok(()),
                None => return Err(format!("it is not ready after {limit:?}: {}", self.state)),
            }
        }
    }

    /// Where it is, as it tells others.
    pub(crate) fn unl(&self) -> &str {
        self.state["unl"].as_str().unwrap_or_default()
    }

    /// The same, as far as version 2 can say it.
    pub(crate) fn unl_version2(&self) -> &str {
        self.state["unl_version2"].as_str().unwrap_or_default()
    }

    /// Has it connect to a node.
    pub(crate) fn connect(&mut self, unl: &str) -> Result<()> {
        self.tell(&format!("connect {unl}"))
    }

    /// Reads on until the attempt has ended; `Err` when it does not say within the limit.
    pub(crate) fn outcome(&mut self, limit: Duration) -> std::result::Result<Outcome, String> {
        let is_outcome = |event: &Value| match event["event"].as_str() {
            Some("failed") => true,
            Some("connected") => event["asked"] == true,
            _ => false,
        };
        let event = self.until(limit, is_outcome)?;
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        if event["event"] == "failed" {
            return Ok(Outcome::Failed(text("why")));
        }
        let took = Duration::from_secs_f64(event["ms"].as_f64().unwrap_or_default() / 1e3);
        Ok(Outcome::Connected { via: text("via"), peer: text("peer"), took })
    }

    /// Has it say a line on all of its connections.
    pub(crate) fn say(&mut self, line: &str) -> Result<()> {
        self.tell(&format!("say {line}"))
    }

    /// Reads on until it has received this line; `Err` when it does not within the limit.
    pub(crate) fn hear(&mut self, line: &str, limit: Duration) -> std::result::Result<(), String> {
        self.until(limit, |event| event["line"] == line).map(drop)
    }

    /// Reads on until a connection has ended: why.
    pub(crate) fn closed(&mut self, limit: Duration) -> std::result::Result<String, String> {
        let event = self.until(limit, |event| event["event"] == "closed")?;
        Ok(event["why"].as_str().unwrap_or_default().to_owned())
    }

    /// Reads on until it has said this; `Err` when it does not within the limit.
    pub(crate) fn until(
        &mut self,
        limit: Duration,
        is_it: impl Fn(&Value) -> bool,
    ) -> std::result::Result<Value, String> {
        let deadline = Instant::now() + limit;
        while let Some(event) = self.next(deadline) {
            if is_it(&event) {
                return Ok(event);
            }
        }
        Err(format!("it does not say that within {limit:?}"))
    }

    /// The last things that it has said, its log included.
    pub(crate) fn trace(&self) -> String {
        self.trace.text()
    }

    fn tell(&mut self, order: &str) -> Result<()> {
        let orders = self.orders.as_mut().ok_or_else(|| Error::other("it takes no orders"))?;
        self.trace.note(&format!("< {order}"));
        writeln!(orders, "{order}")
    }

    fn next(&mut self, deadline: Instant) -> Option<Value> {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = self.news.recv_timeout(left).ok()?;
        if event["event"] == "state" {
            self.state = event.clone();
        }
        Some(event)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A rendezvous server. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    trace: Trace,
    addr: SocketAddr,
}

impl Server {
    /// On this port of a machine; returns when it listens.
    pub(crate) fn start(host: &Host, port: u16) -> Result<Server> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let addr = SocketAddr::from((host.address(), port));
        let (child, news, trace) = start(host, &json!({ "role": "server", "listen": addr.to_string() }))?;
        let server = Server { child, trace, addr };
        let said = news.recv_timeout(PATIENCE);
        said.map_err(|_| Error::other(format!("it does not listen:\n{}", server.trace())))?;
        Ok(server)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The last things that it has said, its log included.
    pub(crate) fn trace(&self) -> String {
        self.trace.text()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn start(host: &Host, role: &Value) -> Result<(Child, Receiver<Value>, Trace)> {
    let exe = env::current_exe()?;
    let mut command = host.command(exe.to_str().ok_or_else(|| Error::other("we have no plain name"))?);
    command.env(ROLE, role.to_string()).env("RUST_LOG", "p2poll=debug");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let trace = Trace::start();
    if let Some(log) = child.stderr.take() {
        trace.follow(log, |_| {});
    }
    let (tell, news) = mpsc::channel();
    if let Some(events) = child.stdout.take() {
        trace.follow(events, move |line| {
            // What is no event stays in the trace.
            _ = serde_json::from_str(line).map(|event: Value| tell.send(event));
        });
    }
    Ok((child, news, trace))
}
