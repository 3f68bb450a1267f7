//! The weights of cgroup v1, which the specification uses, as weights of cgroup v2.

/// Converts v1's shares (2 to 262144) to v2's weight (1 to 10000).
///
/// A linear scale between the ends would give the default of 1024 shares a weight of 39, while the
/// default weight is 100: a container with shares would lose to a process without. This curve, a
/// parabola on logarithmic scales, meets both ends and the defaults. Other runtimes and engines use
/// the same curve, so that the containers of a host stay comparable.
pub fn cpu_weight(shares: u64) -> u64 {
    match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            (10f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
        }
    }
}

/// Converts v1's weight of block I/O (10 to 1000) to v2's (1 to 10000), on a linear scale.
pub fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}
