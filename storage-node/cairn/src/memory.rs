//! How much memory the system has left, asked before hours of work that it would end by killing the process.

use anyhow::ensure;

/// Checks that `bytes` of memory can be had without ending other processes. Where the system does not say, they can.
pub fn check_available(bytes: u64) -> anyhow::Result<()> {
    if let Some(available) = available_bytes() {
        ensure!(available >= bytes, "expected {bytes} bytes of memory, got {available}");
    }
    Ok(())
}

/// What the kernel says could be given to a new process, swapping included.
#[cfg(target_os = "linux")]
fn available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    Some(bytes_of(&text, "MemAvailable:")?.saturating_add(bytes_of(&text, "SwapFree:").unwrap_or(0)))
}

#[cfg(not(target_os = "linux"))]
fn available_bytes() -> Option<u64> {
    None
}

/// A line of `/proc/meminfo`: name, number, `kB`.
#[cfg(target_os = "linux")]
fn bytes_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_can_be_is_refused_with_numbers() {
        check_available(1).unwrap();
        let refused = check_available(u64::MAX).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("expected {} bytes of memory, got ", u64::MAX)), "{refused}");
    }

    #[test]
    fn the_kernels_lines_are_read() {
        let text = "MemTotal:       24 kB\nMemAvailable:   22 kB\nSwapFree: x kB\n";
        assert_eq!(bytes_of(text, "MemAvailable:"), Some(22 * 1024));
        assert_eq!((bytes_of(text, "SwapFree:"), bytes_of(text, "Other:")), (None, None));
    }
}
