//! Network devices that move from the host into a container. The host of these tests is a network
//! namespace of their own, with devices of their own.

use std::process::{Child, Command};

use crate::support::*;

/// Has the runtime called in a new network namespace, after `prepare`. The addresses that are there
/// after the call follow its output, each line behind `host:`.
fn on_host(c: &mut Container, prepare: &str) {
    let script = format!(
        "{prepare}\n\"$@\" && status=0 || status=$?\n\
         ip -oneline link | sed s/^/host:/\nip -oneline address | sed s/^/host:/\nexit $status"
    );
    let words = ["unshare", "--net", "sh", "-ec", &script, "sh"];
    c.rt.through = words.map(Into::into).to_vec();
}

const PAIR: &str = "ip link add v0 type veth peer name v1; ip link set v1 up";

/// Splits the lines of [`on_host`] from those of the container.
fn split(stdout: &str) -> (String, String) {
    let (host, inside): (Vec<_>, Vec<_>) =
        stdout.lines().partition(|line| line.starts_with("host:"));
    (inside.join("\n"), host.join("\n"))
}

// Proves: linux.netDevices{}, linux.netDevices{}:attributes
// Proves: features.linux.netDevices.enabled
#[test]
fn a_device_moves_with_its_attributes_and_addresses() {
    let mut c = Container::with_script("ip address show dev v0");
    on_host(
        &mut c,
        &format!(
            "{PAIR}; ip link set v0 mtu 1400 address 02:11:22:33:44:55 txqueuelen 77 up
             ip address add 10.9.8.7/24 broadcast 10.9.8.255 dev v0
             ip address add 10.9.7.7 peer 10.9.7.8 dev v0
             ip address add fd00::7/64 dev v0 nodad
             ip address add 10.1.1.1/32 scope link dev v0
             ip address add 10.1.1.2/24 dev v0 valid_lft 1000 preferred_lft 1000"
        ),
    );
    c.set("/linux/netDevices", json!({"v0": {}}));
    let (inside, host) = split(&c.output());
    for kept in [
        "mtu 1400",
        "qlen 77",
        "link/ether 02:11:22:33:44:55",
        ",UP,",
        "inet 10.9.8.7/24 brd 10.9.8.255 scope global v0",
        "inet 10.9.7.7 peer 10.9.7.8/32 scope global v0",
        "inet6 fd00::7/64 scope global",
    ] {
        assert!(inside.contains(kept), "{kept}: {inside}");
    }
    for dropped in ["10.1.1.1", "10.1.1.2"] {
        assert!(!inside.contains(dropped), "{dropped}: {inside}");
    }
    assert!(!host.contains("v0"), "{host}");
    c.rt.through.clear();
}

// Proves: linux.netDevices{}.name
#[test]
fn devices_get_new_names() {
    let mut c = Container::with_script("cat /proc/net/dev; ip address");
    on_host(
        &mut c,
        &format!("{PAIR}; ip link set v0 up; ip address add 10.9.8.7/24 dev v1; ip link set v1 up"),
    );
    for (names, found) in [
        (json!({"v0": {"name": "v1"}, "v1": {"name": "v0"}}), ["v0", "v1"]),
        (json!({"v0": {"name": "net%d"}, "v1": {"name": "net%d"}}), ["net0", "net1"]),
        (json!({"v0": {"name": "a%db"}, "v1": {"name": ""}}), ["a0b", "v1"]),
    ] {
        c.set("/linux/netDevices", names);
        let (inside, host) = split(&c.output());
        let names = inside.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name);
        let names: Vec<_> =
            names.map(str::trim).filter(|name| !name.starts_with(char::is_numeric)).collect();
        for name in found {
            assert!(names.contains(&name), "{name}: {inside}");
        }
        assert!(inside.contains("10.9.8.7/24") && !inside.contains("DOWN"), "{inside}");
        assert!(!host.contains("veth") && !host.contains("v0"), "{host}");
        c.delete_force().ok();
    }
    c.rt.through.clear();
}

/// A process in a network namespace of its own.
struct Holder(Child);

impl Holder {
    fn new() -> Holder {
        let child = Command::new("unshare").args(["--net", "sleep", "600"]).spawn().unwrap();
        let pid = child.id().to_string();
        wait_until("a network namespace", || ns_link(&pid, "net") != ns_link("self", "net"));
        Holder(child)
    }

    fn namespace(&self) -> Value {
        json!({"type": "network", "path": format!("/proc/{}/ns/net", self.0.id())})
    }

    #[track_caller]
    fn ip(&self, words: &str) -> String {
        let pid = self.0.id().to_string();
        let args = ["--net", "--target", &pid, "sh", "-c", &format!("ip {words}")];
        let output = Command::new("nsenter").args(args).output().unwrap();
        assert!(output.status.success(), "{words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

// Proves: linux.netDevices{}:end
#[test]
fn a_device_stays_in_a_joined_namespace() {
    let holder = Holder::new();
    holder.ip("link add name net0 type bridge");
    // The number that the device has on the host is another device's there.
    for name in ["b2", "b3", "b4"] {
        holder.ip(&format!("link add name {name} type bridge"));
    }
    let mut c = Container::with_script("ip address show dev net1");
    on_host(&mut c, &format!("{PAIR}; ip address add 10.9.8.7/24 dev v0"));
    // Both of the pair: if the namespace of one ends, the other goes, too.
    let names = json!({"v0": {"name": "net%d"}, "v1": {}});
    c.namespace(holder.namespace()).set("/linux/netDevices", names);
    let (inside, _) = split(&c.output());
    assert!(inside.contains("10.9.8.7/24"), "{inside}");
    c.rt.through.clear();
    c.delete_force().ok();
    assert!(holder.ip("address show dev net1").contains("10.9.8.7/24"));
    assert!(!holder.ip("-oneline address show dev net0").contains("10.9.8.7"));
}

// Proves: linux.netDevices{}:taken
#[test]
fn a_name_that_is_taken_is_refused() {
    let holder = Holder::new();
    holder.ip("link add name taken type bridge");
    let mut c = Container::new();
    on_host(&mut c, &format!("{PAIR}; ip address add 10.9.8.7/24 dev v0; ip link set v0 up"));
    c.namespace(holder.namespace()).set("/linux/netDevices", json!({"v0": {"name": "taken"}}));
    let ran = c.run().refused(&["linux.netDevices.v0: name: \"taken\": the container's network"]);
    assert!(split(&ran.stdout).1.contains("10.9.8.7/24"), "{ran:#?}");
    assert!(!holder.ip("link").contains("v0"));
    c.set("/linux/netDevices", json!({"v0": {"name": "lo"}}));
    c.run().refused(&["linux.netDevices.v0: name: \"lo\": the container's network"]);
    c.assert_gone();
    c.rt.through.clear();
}

#[test]
fn root_of_a_user_namespace_gets_a_device() {
    let holder = Holder::new();
    let mut c = Container::with_script("ip address show dev net0; cat /proc/self/uid_map");
    on_host(&mut c, &format!("{PAIR}; ip address add 10.9.8.7/24 dev v0"));
    c.map_users(100_000, 65536).set("/linux/netDevices", json!({"v0": {"name": "net0"}}));
    let run = |c: &Container| {
        let (inside, host) = split(&c.output());
        assert!(inside.contains("10.9.8.7/24") && inside.contains("100000"), "{inside}");
        assert!(!host.contains("v0"), "{host}");
        c.delete_force().ok();
    };
    run(&c);
    // A namespace over which root of the container has no rights.
    c.namespace(holder.namespace());
    run(&c);
    c.rt.through.clear();
}

#[test]
fn a_failed_create_moves_devices_back() {
    let mut c = Container::new();
    on_host(
        &mut c,
        &format!(
            "{PAIR}; ip address add 10.9.8.7/24 dev v0; ip address add fd00::7/64 dev v1 nodad
             ip link set v0 up"
        ),
    );
    let names = json!({"v0": {"name": "net%d"}, "v1": {"name": "w1"}});
    c.set("/linux/netDevices", names.clone());
    c.set("/hooks/createRuntime", json!([{"path": "/bin/false"}]));
    let check = |c: &Container, words: &[&str], names: &[&str]| {
        let ran = c.run();
        assert_eq!(ran.code(), Some(1), "{ran:#?}");
        for word in words {
            assert!(ran.stderr.contains(word), "{word}: {ran:#?}");
        }
        for name in names {
            let warning = format!("linux.netDevices.{name}: moved back to the host");
            assert!(ran.stderr.contains(&warning), "{warning}: {ran:#?}");
        }
        let host = split(&ran.stdout).1;
        let line = |name: &str, word: &str| {
            host.lines().any(|line| line.contains(name) && line.contains(word))
        };
        assert!(line(" v0@", "UP") && line(" v0 ", "10.9.8.7/24"), "{host}");
        assert!(line(" v1@", "UP") && line(" v1 ", "fd00::7/64"), "{host}");
        c.assert_gone();
    };
    check(&c, &["createRuntime", "/bin/false"], &["v0", "v1"]);
    // A device that fails after another has moved.
    c.remove("/hooks");
    let mut more = names;
    more["z9"] = json!({});
    c.set("/linux/netDevices", more);
    check(&c, &["linux.netDevices.z9: no device of this name"], &["v0", "v1"]);
    c.rt.through.clear();
}

// Proves: linux.netDevices{}:impossible
#[test]
fn what_cannot_move_is_refused() {
    let mut c = Container::new();
    on_host(&mut c, PAIR);
    for (device, words) in [
        ("no-such", &["linux.netDevices.no-such: no device of this name"][..]),
        ("lo", &["linux.netDevices.lo: name: \"lo\": the container's network namespace has"]),
    ] {
        c.set("/linux/netDevices", json!({device: {}}));
        c.run().refused(words);
        c.assert_gone();
    }
    c.set("/linux/netDevices", json!({"lo": {"name": "net0"}}));
    c.run().refused(&["linux.netDevices.lo: move the device", "invalid argument"]);
    c.set("/linux/netDevices", json!({"v0": {"name": "net0"}}));
    c.namespace(json!({"type": "network", "path": "/proc/self/ns/net"}));
    c.run().refused(&["linux.netDevices: the container's network namespace is the runtime's"]);
    c.without_namespace("network");
    c.run().refused(&["linux.netDevices: needs a network namespace"]);
    c.namespace(json!({"type": "network"}));
    let without = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"];
    c.rt.through.extend(without.map(Into::into));
    c.run().refused(&["linux.netDevices: operation not permitted", "CAP_NET_ADMIN"]);
    c.assert_gone();
    c.rt.through.clear();
}
