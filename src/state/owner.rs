//! User names for display.

/// Returns the name of user `uid` in /etc/passwd, or `#uid`. Parses the file itself: libc's look-up
/// loads plug-ins, which a static program cannot.
pub fn name(uid: u32) -> String {
    if uid == 0 {
        return "root".to_owned();
    }
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    find(&String::from_utf8_lossy(&passwd), uid).unwrap_or_else(|| format!("#{uid}"))
}

/// Finds the name in passwd(5) lines, `name:password:uid:…`.
fn find(passwd: &str, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_of_a_uid() {
        let passwd = "root:x:0:0::/:\n\n:x:7\nbroken\nab:x:77:7::/:/bin/sh\nac:x:77:7";
        assert_eq!(find(passwd, 77).as_deref(), Some("ab"));
        assert_eq!(find(passwd, 7), None);
        assert_eq!(name(0), "root");
        assert_eq!(name(4_000_000_000), "#4000000000");
    }
}
