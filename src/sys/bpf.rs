//! bpf(2), for the device rules of cgroup v2.
