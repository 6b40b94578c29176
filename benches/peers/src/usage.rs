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

/// The resident memory of this process in bytes.
pub fn resident_memory() -> Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("an unknown form of /proc/self/statm")?.parse()?;
    // SAFETY: takes and returns numbers.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Ok(pages * page as u64)
}

/// Raises the limit of open descriptors; returns how many connections fit, up to `wanted`.
pub fn room_for(wanted: usize) -> Result<usize> {
    const OTHERS: u64 = 100; // listeners, pipes, epoll, the standard streams
    let limit = rlimit::increase_nofile_limit(wanted as u64 + OTHERS)?;
    Ok(wanted.min(limit.saturating_sub(OTHERS) as usize))
}

/// Keeps this thread, and those that it starts, on one core: the first that the process may use.
pub fn stay_on_one_core() -> Result<()> {
    // SAFETY: the set is plain data, all zeros is the empty one, and both calls are told its true size.
    let done = unsafe {
        let size = size_of::<libc::cpu_set_t>();
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size, &mut allowed);
        let first =
            (0..libc::CPU_SETSIZE as usize).find(|&core| libc::CPU_ISSET(core, &allowed)).unwrap_or(0);
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(first, &mut one);
        libc::sched_setaffinity(0, size, &one)
    };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().into()) }
}
