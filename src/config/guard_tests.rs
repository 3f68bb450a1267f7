//! Nothing that the parser reads may be dropped silently. This table has an entry for each key and
//! annotation, and the tests check that it is complete and true: a key in force has a test that
//! reads it back from the kernel, a refused key is refused, and an ignored key is listed in
//! docs/differences.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{annotations, keys};

/// The treatment of a key, and of all keys below it without an entry of their own.
enum Fate {
    /// In force; tested by the named test in the named test file (without its extension).
    Tested(&'static str, &'static str),
    /// Refused by an error that names the key, whatever its value: a row of tests/config_keys.rs.
    Refused,
    /// Ignored, as listed in docs/differences.md.
    Ignored,
}
use Fate::{Ignored, Refused, Tested};

const FATES: &[(&str, Fate)] = &[
    ("ociVersion", Tested("badinput", "version")),
    ("root", Tested("rootfs", "a_read_only_root")),
    ("mounts", Tested("mounts", "every_type_of_file_system")),
    ("mounts[].options", Tested("mounts", "options_of_a_mount_point")),
    ("mounts[].uidMappings", Tested("mounts", "idmapped_mount")),
    ("mounts[].gidMappings", Tested("mounts", "idmapped_mount")),
    ("hostname", Tested("namespaces", "the_host_name_is_set_inside_only")),
    ("domainname", Tested("namespaces", "the_domain_name_is_set_inside_only")),
    ("annotations", Tested("hooks", "the_state_is_on_stdin")),
    ("solaris", Ignored),
    ("windows", Ignored),
    ("vm", Ignored),
    ("zos", Ignored),
    ("freebsd", Ignored),
    // The process.
    ("process", Tested("process", "arguments_arrive_as_they_are")),
    ("process.terminal", Tested("process", "a_terminal_is_handed_over")),
    ("process.consoleSize", Tested("streams", "the_size_of_the_configuration_counts")),
    ("process.user", Tested("identity", "uid_gid_and_groups_are_exact")),
    ("process.user.umask", Tested("identity", "umask_as_asked_or_the_callers")),
    ("process.user.username", Ignored),
    ("process.commandLine", Ignored),
    ("process.env", Tested("process", "the_environment_is_the_configurations_alone")),
    ("process.cwd", Tested("process", "the_directory_is_entered_and_made")),
    ("process.capabilities", Tested("identity", "the_five_sets_are_told_apart")),
    ("process.rlimits", Tested("process", "limits_are_set_exactly")),
    ("process.noNewPrivileges", Tested("identity", "no_new_privs_on_and_off")),
    ("process.apparmorProfile", Tested("apparmor", "the_program_is_under_its_profile")),
    ("process.oomScoreAdj", Tested("identity", "oom_score_adj_is_raised")),
    ("process.selinuxLabel", Tested("selinux", "the_program_has_its_label")),
    ("process.ioPriority", Tested("scheduling", "a_user_namespace_is_no_hindrance")),
    ("process.scheduler", Tested("scheduling", "policies")),
    ("process.scheduler.priority", Tested("config_keys", "a_realtime_priority_is_the_kernels")),
    (
        "process.execCPUAffinity",
        Tested("exec", "processors_are_those_of_the_cgroup_or_those_asked_for"),
    ),
    // Hooks.
    ("hooks", Tested("hooks", "each_kind_has_its_moment_and_its_place")),
    ("hooks.prestart[].args", Tested("hooks", "a_hook_gets_its_own_arguments_and_environment")),
    ("hooks.prestart[].timeout", Tested("hooks", "a_hook_over_its_time_is_killed_and_fails")),
    // Linux.
    ("linux", Tested("namespaces", "each_new_namespace_is_the_containers_own")),
    ("linux.uidMappings", Tested("namespaces", "ids_are_mapped_as_asked")),
    ("linux.gidMappings", Tested("namespaces", "ids_are_mapped_as_asked")),
    ("linux.sysctl", Tested("rootfs", "sysctls_are_written_inside_only")),
    ("linux.cgroupsPath", Tested("limits", "a_deep_path_is_made_and_removed")),
    ("linux.namespaces", Tested("namespaces", "each_namespace_can_be_joined_by_path")),
    ("linux.devices", Tested("rootfs", "devices_of_the_configuration")),
    ("linux.netDevices", Tested("net_devices", "devices_get_new_names")),
    ("linux.rootfsPropagation", Tested("mounts", "propagation_of_the_root")),
    ("linux.maskedPaths", Tested("rootfs", "masked_paths_are_empty_and_stay_so")),
    ("linux.readonlyPaths", Tested("rootfs", "read_only_paths")),
    ("linux.mountLabel", Tested("selinux", "new_file_systems_have_the_label")),
    ("linux.intelRdt", Tested("intel_rdt", "a_container_is_in_its_groups")),
    ("linux.intelRdt.enableCMT", Ignored),
    ("linux.intelRdt.enableMBM", Ignored),
    ("linux.memoryPolicy", Tested("scheduling", "memory_policies")),
    ("linux.personality", Tested("scheduling", "personality")),
    ("linux.personality.flags", Refused),
    ("linux.timeOffsets", Tested("namespaces", "time_has_its_own_boot")),
    ("linux.seccomp", Tested("seccomp", "a_blocked_call_gives_the_errno_asked_for")),
    ("linux.seccomp.defaultErrnoRet", Tested("seccomp", "an_allow_list")),
    ("linux.seccomp.architectures", Tested("seccomp", "foreign_architecture")),
    ("linux.seccomp.flags", Tested("seccomp", "flags_are_taken")),
    (
        "linux.seccomp.listenerPath",
        Tested("annotations", "the_listener_of_the_filter_goes_to_the_path_of_the_configuration"),
    ),
    (
        "linux.seccomp.listenerMetadata",
        Tested("annotations", "the_listener_of_the_filter_goes_to_the_path_of_the_configuration"),
    ),
    ("linux.seccomp.syscalls[].args", Tested("seccomp", "arguments_are_compared")),
    // Limits.
    ("linux.resources", Tested("limits", "the_process_is_in_its_cgroup_in_every_hierarchy")),
    ("linux.resources.devices", Tested("limits", "device_rules_are_taken_in_order")),
    ("linux.resources.memory", Tested("limits", "memory_limits")),
    ("linux.resources.memory.swap", Tested("limits", "memory_and_swap")),
    ("linux.resources.memory.kernel", Ignored),
    ("linux.resources.memory.kernelTCP", Tested("limits", "v1_memory_of_tcp_buffers")),
    ("linux.resources.memory.swappiness", Tested("limits", "v1_memory_swappiness")),
    (
        "linux.resources.memory.disableOOMKiller",
        Tested("limits_felt", "who_may_not_be_killed_waits_for_memory"),
    ),
    (
        "linux.resources.memory.useHierarchy",
        Tested("config_keys", "a_hierarchy_of_memory_is_what_there_is"),
    ),
    (
        "linux.resources.memory.checkBeforeUpdate",
        Tested("update", "a_memory_limit_below_what_is_in_use_is_refused"),
    ),
    ("linux.resources.cpu", Tested("limits", "cpu_shares_quota_and_period")),
    ("linux.resources.cpu.burst", Tested("config_keys", "a_burst_is_the_kernels_or_refused")),
    ("linux.resources.cpu.realtimeRuntime", Tested("limits", "v1_real_time")),
    ("linux.resources.cpu.realtimePeriod", Tested("limits", "v1_real_time")),
    ("linux.resources.cpu.cpus", Tested("limits", "cpus_and_memory_nodes")),
    ("linux.resources.cpu.mems", Tested("limits", "cpus_and_memory_nodes")),
    ("linux.resources.cpu.idle", Tested("limits", "cpu_idle")),
    ("linux.resources.pids", Tested("limits", "pids_limit")),
    ("linux.resources.blockIO", Tested("block_io", "weights_are_for_all_disks_and_for_one")),
    (
        "linux.resources.blockIO.leafWeight",
        Tested("config_keys", "a_leaf_weight_is_the_kernels_or_refused"),
    ),
    (
        "linux.resources.blockIO.weightDevice[].leafWeight",
        Tested("config_keys", "a_leaf_weight_is_the_kernels_or_refused"),
    ),
    (
        "linux.resources.blockIO.throttleReadBpsDevice",
        Tested("block_io", "reads_and_writes_are_slowed_down"),
    ),
    (
        "linux.resources.blockIO.throttleWriteBpsDevice",
        Tested("block_io", "reads_and_writes_are_slowed_down"),
    ),
    (
        "linux.resources.blockIO.throttleReadIOPSDevice",
        Tested("block_io", "reads_and_writes_are_slowed_down"),
    ),
    (
        "linux.resources.blockIO.throttleWriteIOPSDevice",
        Tested("block_io", "reads_and_writes_are_slowed_down"),
    ),
    ("linux.resources.hugepageLimits", Tested("limits", "hugetlb_limit")),
    ("linux.resources.network", Tested("limits", "v1_marks_on_network_traffic")),
    ("linux.resources.rdma", Tested("limits", "rdma_reaches_the_kernel")),
    ("linux.resources.unified", Tested("limits", "v2_unified_keys_are_written")),
];

/// The annotations by name; a name that ends with a dot stands for all with that prefix.
const ANNOTATIONS: &[(&str, Fate)] = &[
    (
        "run.oci.keep_original_groups",
        Tested("annotations", "the_groups_of_the_caller_stay_where_they_are_asked_for"),
    ),
    ("run.oci.hooks.stdout", Tested("annotations", "hooks_write_into_the_files_named")),
    ("run.oci.hooks.stderr", Tested("annotations", "hooks_write_into_the_files_named")),
    (
        "run.oci.seccomp.receiver",
        Tested("annotations", "the_listener_of_the_filter_goes_to_the_path_of_the_annotation"),
    ),
    ("run.oci.pidfd_receiver", Tested("annotations", "the_receiver_gets_a_pidfd_of_the_process")),
    (
        "run.oci.delegate-cgroup",
        Tested("cgroup_delegation", "a_cgroup_below_the_limits_is_the_containers"),
    ),
    (
        "run.oci.systemd.subgroup",
        Tested("cgroup_delegation", "a_cgroup_below_the_limits_is_the_containers"),
    ),
    ("run.oci.mount_context_type", Tested("selinux", "the_label_can_be_that_of_the_root_alone")),
];

fn tree(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// Returns the table's entry for a key: its own, or that of the object it belongs to.
fn fate(path: &str) -> Option<&'static Fate> {
    let of = |path: &str| FATES.iter().find(|(of, _)| *of == path).map(|(_, fate)| fate);
    let mut at = path;
    loop {
        if let Some(fate) = of(at) {
            return Some(fate);
        }
        let end = at.rfind('.')?;
        at = at[..end].trim_end_matches("[]").trim_end_matches("{}");
    }
}

fn has_test(file: &str, name: &str) -> Result<(), String> {
    let head = format!("#[test]\nfn {name}() {{");
    if tree(&format!("tests/{file}.rs")).contains(&head) {
        Ok(())
    } else {
        Err(format!("tests/{file}.rs has no test {name}"))
    }
}

#[test]
fn no_key_of_the_parser_is_forgotten() {
    let known = keys::paths(keys::CONFIG);
    assert!(known.len() > 200, "{}", known.len());
    let forgotten: Vec<&String> =
        known.iter().map(|(path, _)| path).filter(|path| fate(path).is_none()).collect();
    assert!(forgotten.is_empty(), "no entry for {forgotten:?}");
    let known: BTreeSet<&str> = known.iter().map(|(path, _)| path.as_str()).collect();
    for (path, _) in FATES {
        assert!(known.contains(path), "{path} is not read by the parser");
    }
    // Exactly the keys for other platforms are ignored.
    for (path, of) in keys::paths(keys::CONFIG) {
        if matches!(of, keys::Of::Foreign) {
            assert!(matches!(fate(&path), Some(Ignored | Refused)), "{path}");
        }
    }
    let listed: Vec<&str> = ANNOTATIONS.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, annotations::KNOWN);
}

#[test]
fn what_is_in_force_has_a_test_that_names_it() {
    let support = tree("tests/support/bundle.rs");
    let mut wrong = Vec::new();
    let keys = keys::paths(keys::CONFIG).into_iter().map(|(path, _)| path);
    let annotations = ANNOTATIONS.iter().map(|(name, fate)| ((*name).to_owned(), Some(fate)));
    for (path, fate) in keys.map(|path| (path.clone(), fate(&path))).chain(annotations) {
        let Some(Tested(file, test)) = fate else { continue };
        let name = if path.starts_with("run.") { &path } else { path.rsplit('.').next().unwrap() };
        match has_test(file, test) {
            Err(error) => wrong.push(format!("{path}: {error}")),
            // The file of the test, or the file that creates the bundles of all tests.
            Ok(())
                if !tree(&format!("tests/{file}.rs")).contains(name) && !support.contains(name) =>
            {
                wrong.push(format!("{path}: tests/{file}.rs does not name it"));
            }
            Ok(()) => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_refused_or_ignored_has_a_row_in_a_test() {
    let rows = tree("tests/config_keys.rs");
    for (path, fate) in FATES {
        // Each container of the tests has a `linux` object already.
        if matches!(fate, Refused) || matches!(fate, Ignored) && !path.starts_with("linux.") {
            assert!(rows.contains(&format!("(\"{path}\", ")), "{path}");
        }
    }
}

/// Between these two lines of docs/differences.md each line that begins with "* `" lists a key.
const BEGIN: &str = "<!-- ignored -->";
const END: &str = "<!-- end of ignored -->";

#[test]
fn what_is_ignored_is_documented_and_nothing_else() {
    let document = tree("docs/differences.md");
    let (_, after) = document.split_once(BEGIN).expect(BEGIN);
    let (list, _) = after.split_once(END).expect(END);
    let documented: BTreeSet<&str> =
        list.lines().filter_map(|line| line.strip_prefix("* `")?.split('`').next()).collect();
    let ignored: BTreeSet<&str> =
        FATES.iter().filter(|(_, fate)| matches!(fate, Ignored)).map(|(path, _)| *path).collect();
    assert_eq!(documented, ignored);
}

/// A row of the page is "| `PATH` | TEXT | TESTS |". The text says whether the key is refused or ignored.
#[test]
fn each_key_has_a_row_on_the_page_of_conformance() {
    let page = tree("docs/conformance.md");
    let ends = ["`", ".", "[", "{", "=", ":"];
    let has = |path: &str| ends.iter().any(|end| page.contains(&format!("| `{path}{end}")));
    for (path, of) in keys::paths(keys::CONFIG) {
        assert!(matches!(of, keys::Of::Foreign) || has(&path), "{path}");
        let start = format!("| `{path}` | ");
        let Some(text) = page.lines().find_map(|line| line.strip_prefix(&start)) else { continue };
        let fate = fate(&path);
        let refused = text.starts_with("refused: ");
        assert_eq!(refused, matches!(fate, Some(Refused)), "{path}: {text}");
        let ignored = text.starts_with("ignored: ");
        assert_eq!(ignored, matches!(fate, Some(Ignored)), "{path}: {text}");
    }
}
