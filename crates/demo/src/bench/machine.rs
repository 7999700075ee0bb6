//! What the kernel says of a process: its memory and its time. Linux tells; elsewhere the bench says that it can't.

use std::time::Duration;

use anyhow::{Context, Result};

/// What a process holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Resident {
    /// Now.
    pub(super) now_kib: u64,
    /// At most so far.
    pub(super) peak_kib: u64,
}

/// A process's resident memory.
pub(super) fn resident(pid: u32) -> Result<Resident> {
    let path = format!("/proc/{pid}/status");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("{path}: the bench reads Linux's /proc"))?;
    resident_in(&text).with_context(|| format!("{path} does not say how much memory it holds"))
}

/// A process's processor time so far, user's and kernel's.
pub(super) fn processor_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("{path}: the bench reads Linux's /proc"))?;
    let ticks = ticks_in(&text).with_context(|| format!("{path} does not say how long it ran"))?;
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// How long each thread of a process ran so far, by its name; those of one name stand side by side.
pub(super) fn thread_times(pid: u32) -> Result<Vec<(String, Duration)>> {
    let path = format!("/proc/{pid}/task");
    let tasks = std::fs::read_dir(&path).with_context(|| format!("{path}: the bench reads Linux's /proc"))?;
    let mut times = Vec::new();
    for task in tasks {
        let task = task?.path();
        // A thread may end while it is looked at.
        let (Ok(name), Ok(stat)) =
            (std::fs::read_to_string(task.join("comm")), std::fs::read_to_string(task.join("schedstat")))
        else {
            continue;
        };
        let nanos = stat.split_ascii_whitespace().next().and_then(|nanos| nanos.parse().ok());
        let nanos = nanos.with_context(|| format!("{} says no time", task.display()))?;
        times.push((name.trim().to_owned(), Duration::from_nanos(nanos)));
    }
    Ok(times)
}

/// Keeps a process on the first processor that it may use.
#[cfg(target_os = "linux")]
pub(super) fn pin(pid: u32) -> Result<()> {
    use rustix::{
        process::Pid,
        thread::{CpuSet, sched_getaffinity, sched_setaffinity},
    };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process id")?;
    let allowed = sched_getaffinity(Some(pid)).context("its processors")?;
    let first = (0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).context("it may use no processor")?;
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(Some(pid), &one).context("keeping it on one processor")
}

/// Elsewhere nothing is pinned, and nothing is measured either.
#[cfg(not(target_os = "linux"))]
pub(super) fn pin(_pid: u32) -> Result<()> {
    anyhow::bail!("the bench reads Linux's /proc")
}

fn resident_in(status: &str) -> Option<Resident> {
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some(Resident { now_kib: kib("VmRSS:")?, peak_kib: kib("VmHWM:")? })
}

/// `utime` and `stime` of proc_pid_stat(5), fields 14 and 15: counted after the name, which may hold anything.
fn ticks_in(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let kernel: u64 = fields.next()?.parse().ok()?;
    Some(user + kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_time_are_read_from_the_kernels_texts() {
        let status = "Name:\tbroker\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(resident_in(status), Some(Resident { now_kib: 1024, peak_kib: 2048 }));
        assert_eq!(resident_in("Name:\tzombie\n"), None);
        let stat = "7 (a (odd) name) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 100 0 0";
        assert_eq!(ticks_in(stat), Some(300));
        assert_eq!(ticks_in("7 (short) S"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_told_of() {
        let pid = std::process::id();
        let found = resident(pid).unwrap();
        assert!(found.now_kib > 0 && found.peak_kib >= found.now_kib);
        processor_time(pid).unwrap();
        assert!(resident(u32::MAX).is_err());
    }
}
