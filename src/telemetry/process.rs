//! What the operating system says about this process.

/// Bytes of memory in RAM; 0 where the system does not tell.
pub fn resident_bytes() -> u64 {
    std::fs::read_to_string("/proc/self/status").ok().and_then(|status| resident_of(&status)).unwrap_or(0)
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_the_kernels_table() {
        assert_eq!(resident_of("Name:\tx\nVmRSS:\t    1234 kB\nThreads: 3\n"), Some(1_263_616));
        assert_eq!(resident_of("Name:\tx\n"), None);
    }
}
