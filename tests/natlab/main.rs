#![allow(clippy::disallowed_methods)]
#[allow(dead_code)]
mod lab;
use lab::*;
fn main() {
    let t = std::time::Instant::now();
    println!("{:?} {:?}", Means::find(), t.elapsed());
    let t = std::time::Instant::now();
    let lab = Lab::new();
    let server = lab.server();
    println!("{:?}", t.elapsed());
    let home = lab.router(Nat::Preserving, Filter::Drop);
    println!("{:?}", t.elapsed());
    let home2 = lab.router(Nat::Reuse, Filter::Drop);
    let alice = home.host();
    let bob = home2.host();
    println!("{:?}", t.elapsed());
    let home = home.mapping(Mapping::Both);
    println!("{:?}", t.elapsed());
    println!("{:?}", alice.command("ping").args(["-c2", "-i0.1", &server.address().to_string()]).status());
    println!("{:?}", bob.command("ping").args(["-c2", "-i0.1", &server.address().to_string()]).status());
    println!("{:?}", alice.command("natpmpc").status());
    println!("{:?}", alice.command("upnpc").arg("-s").status());
    println!("{}", home.daemon_log());
}
