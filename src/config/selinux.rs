//! SELinux labels: `process.selinuxLabel` and `linux.mountLabel`.

use crate::{Error, Result};

/// The mount options of SELinux (mount(8)).
const CONTEXTS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];

/// The mount option that gives a new file system its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context(&'static str);

impl Context {
    /// Parses the name of an option, the value of `field`.
    pub fn parse(field: &str, name: &str) -> Result<Context> {
        let found = CONTEXTS.into_iter().find(|context| *context == name).map(Context);
        found.ok_or_else(|| {
            let why = "must be context, fscontext, defcontext or rootcontext";
            Error::invalid(field, name, why)
        })
    }

    /// Returns the name of the option.
    pub fn name(self) -> &'static str {
        self.0
    }
}

impl Default for Context {
    fn default() -> Context {
        Context("context")
    }
}

/// Returns the label to set. Without SELinux nothing has a label, and the label is refused.
pub(super) fn label(
    field: &str,
    text: Option<&str>,
    has_selinux: impl Fn() -> Result<bool>,
) -> Result<Option<String>> {
    match text.filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) if has_selinux()? => Ok(Some(text.to_owned())),
        Some(text) => Err(Error::invalid(field, text, "SELinux is not enabled on this host")),
    }
}

/// Gives a new file system the label, by the option `context`. Returns the label if only the root
/// directory can have it: an mqueue exists since its ipc namespace does, without the option. procfs
/// and sysfs keep the labels of the policy, and so do file systems with a label of their own.
pub(super) fn of_mount(
    label: &str,
    context: Context,
    fstype: &str,
    options: &mut Vec<(String, Option<String>)>,
) -> Option<String> {
    match fstype {
        "proc" | "sysfs" => None,
        _ if options.iter().any(|(key, _)| CONTEXTS.contains(&key.as_str())) => None,
        "mqueue" => Some(label.to_owned()),
        _ => {
            options.push((context.name().to_owned(), Some(label.to_owned())));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_selinux_a_label_is_refused() {
        let with = |text| label("f", text, || Ok(true)).unwrap();
        assert_eq!((with(None), with(Some(""))), (None, None));
        assert_eq!(with(Some("u:r:t:s0:c1,c2")).as_deref(), Some("u:r:t:s0:c1,c2"));
        let error = label("process.selinuxLabel", Some("u:r:t:s0"), || Ok(false)).unwrap_err();
        let expected = "process.selinuxLabel: \"u:r:t:s0\": SELinux is not enabled on this host";
        assert_eq!(error.to_string(), expected);
        // The host is not examined unless a label needs it.
        assert!(label("f", None, || unreachable!()).is_ok());
    }

    #[test]
    fn the_type_decides_how_a_file_system_gets_its_label() {
        let of = |fstype: &str, options: &[(&str, &str)]| {
            let own = |(k, v): &(&str, &str)| ((*k).to_owned(), Some((*v).to_owned()));
            let mut options = options.iter().map(own).collect();
            let of_root = of_mount("l", Context::default(), fstype, &mut options);
            let context = options.into_iter().find(|(key, _)| key == "context");
            (context.and_then(|(_, value)| value), of_root)
        };
        let l = Some("l".to_owned());
        for fstype in ["tmpfs", "devpts", "ramfs"] {
            assert_eq!(of(fstype, &[]), (l.clone(), None), "{fstype}");
        }
        assert_eq!(of("mqueue", &[]), (None, l.clone()));
        assert_eq!(of("proc", &[]), (None, None));
        assert_eq!(of("sysfs", &[]), (None, None));
        assert_eq!(of("tmpfs", &[("context", "own")]), (Some("own".to_owned()), None));
        assert_eq!(of("tmpfs", &[("rootcontext", "own")]), (None, None));
        let mut options = Vec::new();
        assert_eq!(of_mount("l", Context("rootcontext"), "tmpfs", &mut options), None);
        assert_eq!(options, [("rootcontext".to_owned(), l)]);
    }
}
