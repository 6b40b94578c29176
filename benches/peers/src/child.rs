//! Processes of our own: they talk in lines over their standard streams and end with us.

use crate::Result;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

pub struct Child {
    process: std::process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// This program again, with another task (see `main`).
    pub fn of_ourselves(task: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        // All is on loopback. The library that asks routers would ask a proxy instead.
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        Self::start(command.arg("--child").args(task))
    }

    pub fn start(command: &mut Command) -> Result<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) =
            process.stdin.take().zip(process.stdout.take()).ok_or("a child without pipes")?;
        Ok(Self { process, input, output: BufReader::new(output) })
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn tell(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.input, "{line}")?)
    }

    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err("a child process ended early".into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already: both failures mean that it is gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
