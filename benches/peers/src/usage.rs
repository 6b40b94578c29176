//! What the operating system says about this process: processor time, memory, descriptors.

use crate::Result;
use std::time::Duration;

/// The processor time that this thread has used, in the kernel as well.
pub fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a value that outlives the call. The clock exists wherever this runs (Linux).
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How often this thread has waited: gave up its processor for something that was not there yet.
pub fn waits() -> i64 {
    // SAFETY: the structure is plain data, and the pointer to it is valid throughout the call.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
        usage.ru_nvcsw
    }
}

/// The processor time that a process has used, in the kernel as well.
pub fn process_time(process: u32) -> Result<Duration> {
    let mut clock = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both pointers are to values that outlive the calls.
    let done = unsafe {
        libc::clock_getcpuclockid(process as libc::pid_t, &mut clock) == 0
            && libc::clock_gettime(clock, &mut time) == 0
    };
    if done {
        Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    } else {
        Err("no such process".into())
    }
}

/// The resident memory of this process in bytes.
pub fn resident_memory() -> Result<u64> {
    resident_memory_of(std::process::id())
}

/// The resident memory of a process in bytes.
pub fn resident_memory_of(process: u32) -> Result<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{process}/statm"))?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("an unknown form of /proc/self/statm")?.parse()?;
    // SAFETY: takes and returns numbers.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Ok(pages * page as u64)
}

/// Raises the limit of open descriptors; returns how many connections fit, up to `wanted`.
pub fn room_for(wanted: usize) -> Result<usize> {
    const OTHERS: u64 = 32; // listeners, pipes, epoll, the standard streams
    let limit = rlimit::increase_nofile_limit(wanted as u64 + OTHERS)?;
    Ok(wanted.min(limit.saturating_sub(OTHERS) as usize))
}

/// One of the cores that this process may use; where there is only one, they are the same.
#[derive(Clone, Copy, Debug)]
pub enum Core {
    First,
    Last,
}

/// Keeps this thread, and those that it starts, on one core.
pub fn stay_on(core: Core) -> Result<()> {
    // SAFETY: the set is plain data, all zeros is the empty one, and both calls are told its true size.
    let done = unsafe {
        let size = size_of::<libc::cpu_set_t>();
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size, &mut allowed);
        let mut cores = (0..libc::CPU_SETSIZE as usize).filter(|&core| libc::CPU_ISSET(core, &allowed));
        let chosen = match core {
            Core::First => cores.next(),
            Core::Last => cores.next_back(),
        };
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(chosen.unwrap_or(0), &mut one);
        libc::sched_setaffinity(0, size, &one)
    };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().into()) }
}
