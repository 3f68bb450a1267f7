use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::fake::{Answer, Fake, JOB, LIMIT, Peer, good, methods, timed_out};
use super::unit::{TransientUnit, Unit};
use super::value::Value;
use super::wire::{Message, SIGNAL};
use crate::Kind;

#[test]
fn a_unit_is_started() {
    let fake = Fake::new(Peer::logged_in, good);
    assert_eq!(fake.start().unwrap(), PathBuf::from("/a.slice/x.scope"));
    let calls = fake.calls();
    assert_eq!(methods(&calls), ["Hello", "AddMatch", "Get", "StartTransientUnit", "Get"]);
    let Some([name, mode, Value::Array(types, properties), others]) =
        calls.get(3).map(|call| call.body.as_slice())
    else {
        panic!("{calls:?}")
    };
    assert_eq!((name.as_str(), mode.as_str()), (Some("x.scope"), Some("replace")));
    assert_eq!((types.as_str(), others.signature().as_str()), ("(sv)", "a(sa(sv))"));
    let property = |name: &str, value: Value| {
        Value::Struct(vec![Value::str(name), Value::Variant(Box::new(value))])
    };
    assert_eq!(
        properties.as_slice(),
        [
            property("Description", Value::str("bulkhead container x")),
            property("Slice", Value::str("a.slice")),
            property("Delegate", Value::Bool(true)),
            property("PIDs", Value::Array("u".into(), vec![Value::U32(77)])),
            property("DefaultDependencies", Value::Bool(false)),
            property("CPUWeight", Value::U64(0)),
        ]
    );
}

#[test]
fn an_old_systemd_is_not_told_what_it_does_not_know() {
    let fake = Fake::new(Peer::logged_in, |peer, call| {
        if call.body.get(1).and_then(Value::as_str) == Some("Version") {
            peer.answer(call, vec![Value::Variant(Box::new(Value::str("v247")))]);
            return true;
        }
        good(peer, call)
    });
    fake.start().unwrap();
    let calls = fake.calls();
    let start = calls.iter().find(|call| call.member == "StartTransientUnit").unwrap();
    assert!(!format!("{:?}", start.body).contains("CPUWeight"));
    assert!(format!("{:?}", start.body).contains("Delegate"));
}

#[test]
fn whatever_hangs_is_an_error_in_time() {
    timed_out(&Fake::mute(good));
    // Logs in, and does not answer.
    timed_out(&Fake::new(Peer::logged_in, |_, _| true));
    // Accepts the job, and never finishes it.
    timed_out(&Fake::new(Peer::logged_in, |peer, call| {
        match call.member.as_str() {
            "StartTransientUnit" => peer.answer(call, vec![Value::Path(JOB.into())]),
            _ => return good(peer, call),
        }
        true
    }));
    // Sends other messages all the time.
    timed_out(&Fake::new(Peer::logged_in, |peer, call| {
        if call.member == "StartTransientUnit" {
            for _ in 0..200 {
                peer.job_removed("/other", "done");
                std::thread::sleep(Duration::from_millis(4));
            }
            return false;
        }
        good(peer, call)
    }));
    // And as fast as it can.
    timed_out(&Fake::new(Peer::logged_in, |peer, call| {
        if call.member == "StartTransientUnit" {
            let signal = Message { kind: SIGNAL, serial: 1, ..Message::default() };
            let bytes = signal.encode().unwrap();
            while peer.stream.write_all(&bytes).is_ok() {}
            return false;
        }
        good(peer, call)
    }));
}

#[test]
fn a_queue_that_is_full_is_an_error_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bus");
    // Accepts no connection: one connection fits into its queue.
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
    use nix::sys::socket::{bind, listen, socket};
    use std::os::fd::AsRawFd;
    let listener =
        socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    let address = format!("\"unix:path={}\"", path.display());
    let unit = Unit {
        name: "x.scope".to_owned(),
        description: String::new(),
        user: false,
        address: serde_json::from_str(&address).unwrap(),
    };
    let request = TransientUnit { unit, slice: None, properties: Vec::new() };
    let begin = Instant::now();
    let error = request.start_within(77, LIMIT).unwrap_err().to_string();
    assert!(error.ends_with("no answer within 0 s (does the bus or systemd hang?)"), "{error}");
    assert!(begin.elapsed() >= LIMIT * 9 / 10 && begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn what_is_no_bus_is_an_error() {
    fn refuses(mut peer: Peer) -> Option<Peer> {
        peer.line()?;
        peer.stream.write_all(b"REJECTED EXTERNAL\r\n").ok()?;
        None
    }
    fn hangs_up(_: Peer) -> Option<Peer> {
        None
    }
    fn babbles(mut peer: Peer) -> Option<Peer> {
        while peer.stream.write_all(&[b'x'; 4096]).is_ok() {}
        None
    }
    for (log_in, words) in [
        (refuses as fn(Peer) -> Option<Peer>, "refuses this user"),
        // The result depends on whether the message was read.
        (hangs_up, ""),
        (babbles, "not a D-Bus server"),
    ] {
        let fake = Fake::new(log_in, good);
        let error = fake.start().unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
        assert!(!error.contains("no answer"), "{error}");
    }
    let fake = Fake::new(Peer::logged_in, |peer, _| {
        let _ = peer.stream.write_all(&[b'l', 2, 0, 1, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0]);
        false
    });
    let error = fake.start().unwrap_err().to_string();
    assert!(error.ends_with("the bus has sent a message that is too long"), "{error}");
    // The only field has an unknown type.
    let fake = Fake::new(Peer::logged_in, |peer, _| {
        let field = b"l\x02\0\x01\0\0\0\0\x01\0\0\0\x05\0\0\0\x05\x01z\0\0\0\0\0";
        let _ = peer.stream.write_all(field);
        false
    });
    let error = fake.start().unwrap_err().to_string();
    assert!(error.contains("the bus has sent "), "{error}");
    // Logs in, but hangs up.
    let error = Fake::new(Peer::logged_in, |_, _| false).start().unwrap_err().to_string();
    assert!(error.contains("the bus has closed the connection"), "{error}");
    let mut unit = fake.unit();
    unit.address = serde_json::from_str("\"unix:path=/no/such/bus\"").unwrap();
    let error = unit.stop().unwrap_err().to_string();
    assert!(error.contains("/no/such/bus") && error.contains("no such file"), "{error}");
}

/// systemd's private socket does not examine again what it has read together with the login.
#[test]
fn the_first_message_does_not_come_with_the_login() {
    fn reads_once(mut peer: Peer) -> Option<Peer> {
        peer.fill()?;
        let whole = peer.buffer.ends_with(b"\r\nBEGIN\r\n");
        whole.then(|| peer.logged_in())?
    }
    Fake::new(reads_once, good).start().unwrap();
}

#[test]
fn who_asks_for_no_answer_gets_one_all_the_same() {
    fn asks_nothing(mut peer: Peer) -> Option<Peer> {
        for (line, answer) in
            [("\0AUTH EXTERNAL", "OK 0123\r\n"), ("DATA", "ERROR\r\nOK 0123\r\n"), ("BEGIN", "")]
        {
            assert_eq!(peer.line()?, line);
            peer.stream.write_all(answer.as_bytes()).ok()?;
        }
        Some(peer)
    }
    Fake::new(asks_nothing, good).start().unwrap();
}

#[test]
fn a_failed_unit_of_that_name_is_reset() {
    let fake = Fake::new(Peer::logged_in, |peer, call| {
        if call.member == "StartTransientUnit" && call.serial < 5 {
            peer.refuse(call, "org.freedesktop.systemd1.UnitExists");
            return true;
        }
        good(peer, call)
    });
    fake.start().unwrap();
    let calls = fake.calls();
    assert_eq!(
        methods(&calls)[3..],
        ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit", "Get"]
    );
}

#[test]
fn a_live_unit_of_that_name_is_left_alone() {
    let fake = Fake::new(Peer::logged_in, |peer, call| match call.member.as_str() {
        "StartTransientUnit" => {
            peer.refuse(call, "org.freedesktop.systemd1.UnitExists");
            true
        }
        _ => good(peer, call),
    });
    let error = fake.start().unwrap_err().to_string();
    assert_eq!(error, "the reason (UnitExists)");
    assert!(!methods(&fake.calls()).contains(&"StopUnit"));
}

#[test]
fn a_job_that_fails_is_an_error() {
    let fake = Fake::new(Peer::logged_in, |peer, call| {
        if call.member == "StartTransientUnit" {
            peer.answer(call, vec![Value::Path(JOB.into())]);
            peer.job_removed(JOB, "failed");
            return true;
        }
        good(peer, call)
    });
    let error = fake.start().unwrap_err();
    assert_eq!(error.kind(), Kind::System);
    assert!(error.to_string().contains("\"failed\""), "{error}");
    assert_eq!(methods(&fake.calls())[3..], ["StartTransientUnit", "ResetFailedUnit"]);
}

#[test]
fn a_cgroup_that_is_none_is_not_believed() {
    for path in ["/", "", "x", "/../x", "/a/../../x"] {
        let answer: Answer = match path {
            "/" => |peer, call| control_group(peer, call, "/"),
            "" => |peer, call| control_group(peer, call, ""),
            "x" => |peer, call| control_group(peer, call, "x"),
            "/../x" => |peer, call| control_group(peer, call, "/../x"),
            _ => |peer, call| control_group(peer, call, "/a/../../x"),
        };
        let fake = Fake::new(Peer::logged_in, answer);
        let error = fake.start().unwrap_err().to_string();
        assert!(error.contains("its cgroup is"), "{path}: {error}");
        // The unit exists, and nothing else will stop it.
        assert!(methods(&fake.calls()).contains(&"StopUnit"));
    }
}

fn control_group(peer: &mut Peer, call: &Message, path: &str) -> bool {
    if call.body.get(1).and_then(Value::as_str) == Some("ControlGroup") {
        peer.answer(call, vec![Value::Variant(Box::new(Value::str(path)))]);
        return true;
    }
    good(peer, call)
}

#[test]
fn a_unit_that_is_gone_is_stopped() {
    let fake = Fake::new(Peer::logged_in, |peer, call| {
        peer.refuse(call, "org.freedesktop.systemd1.NoSuchUnit");
        true
    });
    fake.unit().stop().unwrap();
    assert_eq!(methods(&fake.calls())[2..], ["StopUnit", "ResetFailedUnit"]);
}

#[test]
fn only_what_is_ours_is_abandoned() {
    let fake = Fake::new(Peer::logged_in, good);
    fake.unit().abandon().unwrap();
    assert_eq!(
        methods(&fake.calls())[1..],
        ["Get", "KillUnit", "AddMatch", "StopUnit", "ResetFailedUnit"]
    );
    let fake = Fake::new(Peer::logged_in, good);
    let unit = Unit { description: "bulkhead container y".to_owned(), ..fake.unit() };
    unit.abandon().unwrap();
    assert_eq!(methods(&fake.calls())[1..], ["Get"]);
}
