//! What the user is told: lines, events and reports on standard output, the rest on standard error.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};
use std::net::SocketAddr;
use std::time::Duration;

use p2poll::{
    ConId, ConnectError, Event, FailReason, Line, NatKind, Progress, RendezvousNews, RungFault, Tried, Unl,
    harmless,
};
use serde_json::{Value, json};

pub(crate) struct Output {
    stdout: BufWriter<Stdout>,
    terminal: bool,
    style: Style,
}

enum Style {
    /// One JSON event a line.
    Json,
    /// The received lines.
    Plain(Plain),
}

/// How received lines are shown, and what is told of the rest.
#[derive(Clone, Copy, Default)]
pub(crate) struct Plain {
    /// Lines begin with their connection's number.
    pub(crate) names: bool,
    /// Nobody is told who comes and goes.
    pub(crate) quiet: bool,
    /// The log goes to standard error, too, and tells who comes and goes: once is enough.
    pub(crate) logged: bool,
}

impl Output {
    pub(crate) fn json() -> Self {
        Self::new(Style::Json)
    }

    pub(crate) fn plain(plain: Plain) -> Self {
        Self::new(Style::Plain(plain))
    }

    pub(crate) fn listening(&mut self, addr: SocketAddr) -> io::Result<()> {
        match self.style {
            Style::Json => self.write_json(&json!({ "event": "listening", "addr": addr.to_string() })),
            Style::Plain(plain) => {
                if !plain.logged {
                    self.tell(|| format!("listening at {addr}"));
                }
                Ok(())
            }
        }
    }

    /// Where this node is: what a person copies, and a script cuts out, wherever the rest of standard error goes.
    pub(crate) fn unl(&mut self, unl: &Unl) -> io::Result<()> {
        match self.style {
            Style::Json => self.write_json(&json!({ "event": "unl", "unl": unl.as_str() })),
            Style::Plain(_) => {
                // Without standard error there is nobody to tell.
                let _ = writeln!(io::stderr(), "unl: {unl}");
                Ok(())
            }
        }
    }

    pub(crate) fn line(&mut self, con: ConId, line: &Line) -> io::Result<()> {
        match self.style {
            Style::Json => {
                self.write_json(&json!({ "event": "line", "con": con.number(), "line": line.as_str() }))
            }
            Style::Plain(plain) => {
                if plain.names {
                    write!(self.stdout, "{con} ")?;
                }
                if self.terminal {
                    self.stdout.write_all(harmless(line).as_bytes())?;
                } else {
                    self.stdout.write_all(line.as_bytes())?;
                }
                self.stdout.write_all(b"\n")
            }
        }
    }

    /// A report, as a value for programs or as a text of whole, harmless lines for people. It is seen at once.
    pub(crate) fn report(
        &mut self,
        value: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> io::Result<()> {
        match self.style {
            Style::Json => self.write_json(&value())?,
            Style::Plain(_) => self.stdout.write_all(text().as_bytes())?,
        }
        self.stdout.flush()
    }

    pub(crate) fn event(&mut self, event: &Event) -> io::Result<()> {
        match self.style {
            Style::Json => match to_json(event) {
                Some(value) => self.write_json(&value),
                None => Ok(()),
            },
            Style::Plain(plain) => {
                if let Some(text) = to_text(event, plain.logged) {
                    self.tell(|| text);
                }
                Ok(())
            }
        }
    }

    /// An attempt that could not even begin.
    pub(crate) fn refused(&mut self, why: &ConnectError) -> io::Result<()> {
        if let Style::Json = self.style {
            let none: [Value; 0] = [];
            self.write_json(
                &json!({ "event": "failed", "attempt": null, "tried": none, "why": why.to_string() }),
            )?;
            self.stdout.flush()?;
        }
        Ok(())
    }

    /// Something for a person, who reads along on standard error.
    pub(crate) fn tell(&self, text: impl FnOnce() -> String) {
        if let Style::Plain(Plain { quiet: false, .. }) = self.style {
            complain(text());
        }
    }

    /// A server's figures: an object of numbers, and which event it is.
    pub(crate) fn figures(&mut self, figures: &Value) -> io::Result<()> {
        if let Style::Json = self.style {
            return self.write_json(figures);
        }
        let numbers = figures.as_object().into_iter().flatten().filter(|(_, value)| value.is_number());
        let words: Vec<String> =
            numbers.map(|(name, value)| format!("{} {value}", name.replace('_', " "))).collect();
        self.tell(|| words.join(", "));
        Ok(())
    }

    /// What was written is seen from now on.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }

    fn new(style: Style) -> Self {
        let stdout = io::stdout();
        Self { terminal: stdout.is_terminal(), stdout: BufWriter::new(stdout), style }
    }

    fn write_json(&mut self, value: &Value) -> io::Result<()> {
        writeln!(self.stdout, "{}", escaped(&value.to_string()))
    }
}

/// Whether the log goes to standard error, too, and tells who comes and goes, and what is found out.
pub(crate) fn is_logged() -> bool {
    log::log_enabled!(target: "p2poll", log::Level::Info)
}

/// Something for a person that matters also to one who wants to be told as little as can be. What strangers say may be
/// in it, so that it is one line, whatever is in it.
pub(crate) fn complain(text: impl Display) {
    // Without standard error there is nobody to tell.
    let _ = writeln!(io::stderr(), "p2poll: {}", harmless(&text.to_string()));
}

/// With the fields in the order in which the help names them.
fn to_json(event: &Event) -> Option<Value> {
    Some(match event {
        // The tool begins one attempt at most, so that the connection need not say whose outcome it is.
        Event::Connected { con, via, peer, took, .. } => json!({
            "event": "connected", "con": con.number(), "via": via.to_string(), "peer": peer.to_string(),
            "ms": milliseconds(*took),
        }),
        Event::Closed { con, why } => {
            json!({ "event": "closed", "con": con.number(), "why": why.to_string() })
        }
        Event::Upgraded { con, via, peer } => json!({
            "event": "upgraded", "con": con.number(), "via": via.to_string(), "peer": peer.to_string(),
        }),
        Event::Climbing { attempt, progress } => {
            let mut value = json!({ "event": "climbing", "attempt": attempt.number() });
            match progress {
                Progress::Began(rung) => {
                    value["progress"] = "trying".into();
                    value["rung"] = rung.name().into();
                }
                Progress::Failed(tried) => {
                    value["progress"] = "failed".into();
                    for (field, what) in tried_fields(tried) {
                        value[field] = what;
                    }
                }
                Progress::Called(server) => {
                    value["progress"] = "called".into();
                    value["server"] = server.to_string().into();
                }
                Progress::Waiting(server) => {
                    value["progress"] = "waiting".into();
                    value["server"] = server.to_string().into();
                }
                _ => return None,
            }
            value
        }
        Event::Failed { attempt, why } => {
            let tried: &[Tried] = if let FailReason::NoWay(tried) = why { tried } else { &[] };
            let tried = tried.iter().map(|tried| {
                let fields = tried_fields(tried).into_iter();
                fields.map(|(field, what)| (field.to_owned(), what)).collect::<Value>()
            });
            let tried = tried.collect::<Vec<_>>();
            json!({ "event": "failed", "attempt": attempt.number(), "tried": tried, "why": why.to_string() })
        }
        Event::Rendezvous { server, news } => {
            let mut value = json!({ "event": "rendezvous", "server": &**server });
            match news {
                RendezvousNews::Up { kind, seen } => {
                    value["news"] = "up".into();
                    value["kind"] = kind.to_string().into();
                    if let Some(seen) = seen {
                        value["seen"] = seen.to_string().into();
                    }
                }
                RendezvousNews::Nodes(count) => {
                    value["news"] = "nodes".into();
                    value["count"] = (*count).into();
                }
                RendezvousNews::Advertised => value["news"] = "advertised".into(),
                RendezvousNews::Refused => value["news"] = "refused".into(),
                RendezvousNews::Unproven { why } => {
                    value["news"] = "unproven".into();
                    value["why"] = why.as_str().into();
                }
                RendezvousNews::KeyInUse { at } => {
                    value["news"] = "key_in_use".into();
                    value["at"] = at.to_string().into();
                }
                RendezvousNews::Down { why, retry_in } => {
                    value["news"] = "down".into();
                    value["why"] = why.to_string().into();
                    value["retry_ms"] = u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX).into();
                }
                _ => return None,
            }
            value
        }
        Event::Missed(count) => json!({ "event": "missed", "count": count }),
        _ => return None,
    })
}

/// What a way to a node said.
fn tried_fields(tried: &Tried) -> [(&'static str, Value); 3] {
    [
        ("rung", tried.rung.name().into()),
        ("why", tried.why.to_string().into()),
        ("ms", milliseconds(tried.took).into()),
    ]
}

/// What a person wants to know of it. The log tells of all but the missed.
fn to_text(event: &Event, logged: bool) -> Option<String> {
    Some(match event {
        Event::Missed(count) => format!("{count} events were missed"),
        _ if logged => return None,
        Event::Connected { con, via, peer, .. } => format!("{con} connected: {peer} ({via})"),
        Event::Closed { con, why } => format!("{con} gone: {why}"),
        Event::Upgraded { con, via, peer } => format!("{con} goes another way from now on: {peer} ({via})"),
        Event::Climbing { progress: Progress::Began(rung), .. } => format!("trying {rung} ..."),
        // Its time will be told when nothing else helps.
        Event::Climbing { progress: Progress::Failed(tried), .. }
            if matches!(tried.why, RungFault::Nothing | RungFault::LeftOut) =>
        {
            return None;
        }
        Event::Climbing { progress, .. } => progress.to_string(),
        Event::Rendezvous { server, news: RendezvousNews::Down { why, retry_in } } => {
            format!("rendezvous server {server} {why}; trying again in {:.0} s", retry_in.as_secs_f64())
        }
        Event::Rendezvous { server, news: RendezvousNews::Refused } => {
            format!("rendezvous server {server} has no room to list this node; asking again later")
        }
        _ => return None,
    })
}

/// JSON allows what a terminal may obey, or not show, to stand for itself (all but the first controls); its escapes mean
/// the same.
fn escaped(json: &str) -> Cow<'_, str> {
    if let Cow::Borrowed(_) = harmless(json) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if let Cow::Borrowed(_) = harmless(c.encode_utf8(&mut [0; 4])) {
            out.push(c);
            continue;
        }
        // Outside of strings there is only ASCII, so that this is inside of one.
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    Cow::Owned(out)
}

/// The kind of a NAT, as all events have it.
pub(crate) fn nat_json(kind: Option<NatKind>) -> Value {
    match kind {
        Some(NatKind::Delta { step }) => json!({ "kind": "delta", "delta": step }),
        kind => json!({ "kind": kind.map(|kind| kind.to_string()), "delta": null }),
    }
}

/// With microseconds behind the point, and nothing behind those.
fn milliseconds(span: Duration) -> f64 {
    span.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peer_commands_the_terminal() {
        let said = "\u{1b}\u{9b}\u{7f}ü\u{202e}\u{2028}\u{e0041}";
        let value = json!({ "line": said }).to_string();
        let json = escaped(&value);
        assert_eq!(json, r#"{"line":"\u001b\u009b\u007fü\u202e\u2028\udb40\udc41"}"#);
        assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON")["line"], said);
        assert_eq!(escaped(r#"{"line":"ü\t"}"#), r#"{"line":"ü\t"}"#);
    }
}
