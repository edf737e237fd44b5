//! Time, CPU and memory of processes, as the kernel tells them below `/proc`.
//!
//! CPU is what is compared on a machine that others use, too; wall time is what a user waits.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use shirabe::base::machine::{Clock, SystemClock};

static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::new);

/// The kernel's tick in `/proc/PID/stat`; 100 Hz on every Linux that we build for.
const TICK: Duration = Duration::from_millis(10);

/// Since some moment.
pub(crate) fn now() -> Duration {
    CLOCK.monotonic()
}

/// What a call took.
pub(crate) fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let start = now();
    let value = call();
    (value, now().saturating_sub(start))
}

/// CPU time of this thread while it was in a call.
pub(crate) fn thread_cpu<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let start = schedstat(Path::new("/proc/thread-self"));
    let value = call();
    (value, schedstat(Path::new("/proc/thread-self")).saturating_sub(start))
}

/// CPU time of this process's children that have ended.
pub(crate) fn ended_children_cpu() -> Duration {
    stat_ticks("/proc/self/stat", 15) + stat_ticks("/proc/self/stat", 16)
}

/// CPU time of this process, user and system.
pub(crate) fn own_cpu() -> Duration {
    process_cpu(std::process::id())
}

/// CPU time of a process, user and system, in ticks of 10 ms.
pub(crate) fn process_cpu(pid: u32) -> Duration {
    let file = format!("/proc/{pid}/stat");
    stat_ticks(&file, 13) + stat_ticks(&file, 14)
}

/// CPU time of each thread that a process has now: its name and how long, to the nanosecond.
pub(crate) fn threads(pid: u32) -> BTreeMap<u32, (String, Duration)> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return BTreeMap::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            let id = entry.file_name().to_str()?.parse().ok()?;
            Some((id, (name.trim_end().to_owned(), schedstat(&entry.path()))))
        })
        .collect()
}

/// A line of `/proc/PID/status` that is in kB, as bytes: `VmHWM` is the peak, `VmRSS` now.
pub(crate) fn memory(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() << 10
}

/// The load averages.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Bytes of all files below a directory.
pub(crate) fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

#[expect(clippy::disallowed_methods, reason = "what is waited for is another process")]
/// Asks every few milliseconds until it is so; `false` where that took longer than `patience`.
pub(crate) fn wait(patience: Duration, pause: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let end = now() + patience;
    while !is_so() {
        if now() > end {
            return false;
        }
        std::thread::sleep(pause);
    }
    true
}

/// Waits.
pub(crate) fn rest(time: Duration) {
    let end = now() + time;
    wait(time * 2, Duration::from_millis(20), || now() >= end);
}

/// The middle one.
pub(crate) fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// Milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn schedstat(dir: &Path) -> Duration {
    let text = fs::read_to_string(dir.join("schedstat")).unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

/// A field of a `stat` file, counted from 0, that is in ticks. The name in parentheses may hold
/// anything, so counting starts behind it.
fn stat_ticks(file: &str, field: usize) -> Duration {
    let text = fs::read_to_string(file).unwrap_or_default();
    let behind = text.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
    let ticks = behind.split(' ').nth(field.saturating_sub(2)).and_then(|n| n.parse::<u32>().ok());
    TICK * ticks.unwrap_or_default()
}
