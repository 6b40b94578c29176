//! A process of the tool, and somebody who types into a socket. Whatever does not happen in time fails the test.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::Value;

/// Far more than anything takes; only a failure waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A process of the tool; killed when dropped.
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<Bytes>,
    stderr: Receiver<Bytes>,
    /// What came while waiting for another event.
    events: Vec<Value>,
    /// What was read of standard error while waiting for the end.
    complaint: String,
    name: String,
}

/// One line without its LF.
pub(crate) struct Bytes(Vec<u8>);

impl Bytes {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn as_text(&self) -> &str {
        std::str::from_utf8(&self.0).expect("text")
    }
}

impl Process {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut process = Self::start_deaf(arguments);
        process.stdout = lines_of(process.child.stdout.take().expect("it is piped"));
        process
    }

    /// Standard output stays unread.
    pub(crate) fn start_deaf(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_p2poll"))
            .args(arguments)
            .env_remove("RUST_LOG")
            // A proxy would get what is meant for the router.
            .env_remove("http_proxy")
            .env_remove("HTTP_PROXY")
            .env_remove("all_proxy")
            .env_remove("ALL_PROXY")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the tool starts");
        Self {
            stdin: child.stdin.take(),
            stdout: channel().1,
            stderr: lines_of(child.stderr.take().expect("it is piped")),
            events: Vec::new(),
            complaint: String::new(),
            name: arguments.join(" "),
            child,
        }
    }

    /// The next line of standard output.
    pub(crate) fn line(&mut self) -> Bytes {
        self.stdout.recv_timeout(PATIENCE).unwrap_or_else(|why| {
            let told: Vec<String> = self.stderr.try_iter().map(|line| line.as_text().to_owned()).collect();
            panic!("{:?} says nothing more ({why}) after {:?}; it told: {told:?}", self.name, self.events)
        })
    }

    /// What is left of standard output, until it is closed.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.stdout.recv_timeout(PATIENCE) {
                Ok(line) => lines.push(line.as_text().to_owned()),
                Err(RecvTimeoutError::Timeout) => panic!("{:?} does not end; it said {lines:?}", self.name),
                Err(RecvTimeoutError::Disconnected) => return lines,
            }
        }
    }

    /// The first event that fits and was not asked for before. Every line has to be an event.
    pub(crate) fn json(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(place) = self.events.iter().position(&fits) {
            return self.events.remove(place);
        }
        loop {
            let line = self.line();
            let event: Value = serde_json::from_slice(line.as_bytes()).expect("JSON");
            assert!(event["event"].is_string(), "no event: {event}");
            if fits(&event) {
                return event;
            }
            self.events.push(event);
        }
    }

    pub(crate) fn event(&mut self, name: &str) -> Value {
        self.json(|event| event["event"] == name)
    }

    /// The next received line is this one.
    pub(crate) fn hear(&mut self, expected: &str) {
        assert_eq!(self.event("line")["line"], expected);
    }

    /// The next line of standard error that contains this.
    pub(crate) fn told(&mut self, words: &str) -> String {
        loop {
            let line = self.stderr.recv_timeout(PATIENCE).expect("it tells");
            if line.as_text().contains(words) {
                return line.as_text().to_owned();
            }
        }
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.write(format!("{line}\n").as_bytes());
    }

    /// The same to one that may be through by now.
    pub(crate) fn say_in_vain(&mut self, line: &str) {
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(format!("{line}\n").as_bytes());
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("it is open");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).expect("it reads");
    }

    /// Nobody reads its standard output any more.
    pub(crate) fn close_output(&mut self) {
        self.child.stdout = None;
    }

    pub(crate) fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Sends a signal, by its name.
    pub(crate) fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &command]).status().expect("a shell");
        assert!(status.success(), "{command}");
    }

    /// Waits for its end.
    pub(crate) fn status(&mut self) -> Option<i32> {
        // The end of standard error comes with that of the process, and can be waited for with a deadline.
        loop {
            match self.stderr.recv_timeout(PATIENCE) {
                Ok(line) => self.complaint += &(line.as_text().to_owned() + "\n"),
                Err(RecvTimeoutError::Timeout) => panic!("{:?} does not end; {}", self.name, self.complaint),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().expect("it is ours").code(),
            }
        }
    }

    /// What it told on standard error at its end.
    pub(crate) fn complaint(&self) -> &str {
        &self.complaint
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, most of the time.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "nothing else reads a pipe with a deadline")]
fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<Bytes> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            if sender.send(Bytes(line)).is_err() {
                return;
            }
        }
    });
    lines
}

/// Somebody with netcat.
pub(crate) struct Typist(BufReader<TcpStream>);

impl Typist {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        Self(BufReader::new(stream))
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.write(format!("{line}\n").as_bytes());
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("it is connected");
    }

    /// The next line, without its end of CR LF.
    pub(crate) fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line in time");
        line.strip_suffix("\r\n").unwrap_or_else(|| panic!("no whole line: {line:?}")).to_owned()
    }

    /// The other side has nothing more to say.
    pub(crate) fn hear_the_end(&mut self) {
        assert_eq!(self.0.read(&mut [0]).expect("the end in time"), 0);
    }
}
