//! However a test ends, nothing of its laboratory is left.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;

use crate::lab::{Filter, Host, Lab, Mapping, Nat, Need, Router};
use crate::tools::{Case, eventually, finish};

/// How a process may end.
pub(crate) const CASES: &[Case] = &[
    Case { name: "a_panic_leaves_nothing_behind", needs: NEEDS, run: a_panic_leaves_nothing_behind },
    Case {
        name: "a_killed_runner_leaves_nothing_behind",
        needs: NEEDS,
        run: a_killed_runner_leaves_nothing_behind,
    },
    Case { name: "programs_end_with_their_machine", needs: NEEDS, run: programs_end_with_their_machine },
    Case { name: "programs_end_with_their_thread", needs: NEEDS, run: programs_end_with_their_thread },
];

const NEEDS: &[Need] = &[Need::Program("miniupnpd"), Need::Program("nc")];
/// Tells this program that it was started by itself, and what for.
const ROLE: &str = "NATLAB_ROLE";

/// What this process was started for, done; `None` when it is to run the tests.
pub(crate) fn role() -> Option<ExitCode> {
    match env::var(ROLE).ok()?.as_str() {
        "panic" => Some(panic_and_look()),
        "wait" => Some(build_and_wait()),
        other => panic!("{ROLE}={other}?"),
    }
}

fn a_panic_leaves_nothing_behind() {
    // In a process of its own, because the other tests that run in this one leave much behind for a while.
    let (tidy, said) = finish(&mut myself("panic"));
    assert!(tidy, "{said}");
}

fn panic_and_look() -> ExitCode {
    let before = Belongings::now();
    let test = thread::spawn(|| {
        let world = World::build();
        assert!(Belongings::now().descriptors > 5, "there is something to be left");
        panic!("this is what is being tested, with {} namespaces", world.spaces().len());
    });
    assert!(test.join().is_err());
    if eventually(|| Belongings::now() == before) {
        return ExitCode::SUCCESS;
    }
    println!("there was {before:?}, there is {:?}", Belongings::now());
    ExitCode::FAILURE
}

fn a_killed_runner_leaves_nothing_behind() {
    let named = names();
    let mut runner = myself("wait");
    runner.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut runner = runner.spawn().expect("we can be started again");
    let output = runner.stdout.take().expect("there is a pipe");
    let line = BufReader::new(output).lines().next();
    let spaces = line.expect("it says something").expect("text");
    let spaces: HashSet<_> = spaces.split_whitespace().map(String::from).collect();
    assert_eq!(spaces.len(), 4);
    assert_eq!(inhabitants(&spaces).len(), 2, "a daemon and a program");
    assert_eq!(names(), named, "nothing has a name that could be left");

    runner.kill().expect("it can be killed");
    runner.wait().expect("it has ended");
    assert!(eventually(|| inhabitants(&spaces).is_empty()), "{:?}", inhabitants(&spaces));
}

fn build_and_wait() -> ExitCode {
    let world = World::build();
    println!("{}", world.spaces().join(" "));
    // Until we are killed, or the test that is to do so has gone.
    _ = io::stdin().read_line(&mut String::new());
    ExitCode::FAILURE
}

fn programs_end_with_their_machine() {
    let lab = Lab::new();
    let server = lab.server();
    let spaces = HashSet::from([server.space().identity().expect("it has a name in /proc")]);
    // As a person does who leaves the shell while a server goes on in its background.
    let mut shell = server.command("sh");
    let mut shell = shell
        .args(["-c", "nc -l 1000 <&0 >/dev/null 2>&1 &"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("it starts");
    let input = shell.stdin.take();
    assert!(shell.wait().expect("it ends").success());
    assert!(eventually(|| inhabitants(&spaces).len() == 1), "{:?}", inhabitants(&spaces));
    drop(server);
    assert!(eventually(|| inhabitants(&spaces).is_empty()), "{:?}", inhabitants(&spaces));
    drop(input);
}

fn programs_end_with_their_thread() {
    let lab = Lab::new();
    let server = lab.server();
    let start = || catch_unwind(AssertUnwindSafe(|| listen_with_netcat(&server))).expect("it can be started");
    let mut child = thread::scope(|scope| scope.spawn(start).join()).expect("no panic");
    assert_eq!(child.wait().expect("it has ended").signal(), Some(9));
}

/// One of everything that could be left.
struct World {
    server: Host,
    home: Router,
    alice: Host,
    bob: Host,
    _program: Child,
}

impl World {
    fn build() -> World {
        let lab = Lab::new();
        let server = lab.server();
        let home = lab.router(Nat::Preserving, Filter::Drop).mapping(Mapping::Both);
        let alice = home.host();
        let bob = lab.router(Nat::Reuse, Filter::Drop).host();
        let program = listen_with_netcat(&alice);
        World { server, home, alice, bob, _program: program }
    }

    fn spaces(&self) -> Vec<String> {
        let home = self.home.space().expect("it is the kernel's");
        let spaces = [self.server.space(), home, self.alice.space(), self.bob.space()];
        spaces.iter().map(|space| space.identity().expect("it has a name in /proc")).collect()
    }
}

fn listen_with_netcat(host: &Host) -> Child {
    let mut command = host.command("nc");
    let child = command
        .args(["-nvl", "1000"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("it can be started");
    let said = BufReader::new(child.stderr.take().expect("there is a pipe")).lines().next();
    let said = said.expect("it says something").expect("text");
    assert!(said.starts_with("Listening"), "{said}");
    child
}

/// What a process has, in numbers.
#[derive(Debug, PartialEq, Eq)]
struct Belongings {
    descriptors: usize,
    threads: usize,
    /// That have not ended.
    children: usize,
}

impl Belongings {
    fn now() -> Belongings {
        let count = |folder: &str| fs::read_dir(folder).map_or(0, Iterator::count);
        let us = std::process::id().to_string();
        let children = processes().into_iter().filter(|process| {
            let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            let field =
                |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
            field("PPid:") == us && !field("State:").starts_with('Z')
        });
        let children = children.count();
        Belongings { descriptors: count("/proc/self/fd"), threads: count("/proc/self/task"), children }
    }
}

/// Processes that are in one of these namespaces.
fn inhabitants(spaces: &HashSet<String>) -> Vec<String> {
    let lives_there = |process: &String| {
        fs::read_link(format!("/proc/{process}/ns/net"))
            .is_ok_and(|space| spaces.contains(space.to_string_lossy().as_ref()))
    };
    processes().into_iter().filter(lives_there).collect()
}

fn processes() -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("there is a /proc");
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

/// Namespaces with names, whoever made them.
fn names() -> usize {
    fs::read_dir(Path::new("/run/netns")).map_or(0, Iterator::count)
}

fn myself(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("we are a file"));
    command.env(ROLE, role).stdin(Stdio::null());
    command
}
