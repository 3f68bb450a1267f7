//! Applies settings.

use nix::errno::Errno;

use super::cpuset;
use super::files::OpenDir;
use super::setting::{Content, Setting};
use crate::{Error, Result};

/// Applies `settings` in order. Settings that depend on each other are repeated if the kernel
/// requires another order.
pub fn apply(dir: &OpenDir<'_>, settings: &[Setting]) -> Result<()> {
    let mut again = Vec::new();
    for setting in settings {
        match apply_one(dir, setting) {
            Err(error) if setting.coupled && error.errno() == Some(Errno::EINVAL) => {
                again.push(setting);
            }
            result => result?,
        }
    }
    again.into_iter().try_for_each(|setting| apply_one(dir, setting))
}

fn apply_one(dir: &OpenDir<'_>, setting: &Setting) -> Result<()> {
    let mut missing = None;
    for file in &setting.files {
        if let Some(floor) = setting.floor {
            not_below(dir, setting, floor, &file.content)?;
        }
        let (file, value) = (file.name.as_str(), &*file.content.to_string());
        match dir.write(file, value) {
            Ok(()) => return Ok(()),
            Err(error) if error.errno() == Some(Errno::ENOENT) => {
                missing.get_or_insert(error);
            }
            Err(error) => {
                let refused = cpuset::explain(dir.path, setting.field, file, value);
                return Err(refused.unwrap_or_else(|| explain(setting, error)));
            }
        }
    }
    match missing {
        Some(error) if !setting.optional => Err(explain(setting, error)),
        _ => Ok(()),
    }
}

/// Adds the reason that the error number does not show.
fn explain(setting: &Setting, error: Error) -> Error {
    let why = match (error.errno(), setting.controller()) {
        (Some(Errno::ENOENT), "hugetlb") => "the kernel has no huge pages of this size",
        (Some(Errno::ENOENT), _) => "the kernel does not have this control",
        (Some(Errno::EBUSY), "memory") => "the new limit is below what is in use",
        _ => return error.context(setting.field),
    };
    error.context(format!("{} ({why})", setting.field))
}

/// Refuses limits below the current usage, if the configuration requests it.
pub fn check_floors<'a>(
    dir: &OpenDir<'_>,
    settings: impl IntoIterator<Item = &'a Setting>,
) -> Result<()> {
    for setting in settings {
        if let (Some(floor), Some(file)) = (setting.floor, setting.files.first()) {
            not_below(dir, setting, floor, &file.content)?;
        }
    }
    Ok(())
}

/// Refuses a limit below the usage: it would kill processes at once on v2, and swap out much memory
/// on v1.
fn not_below(dir: &OpenDir<'_>, setting: &Setting, floor: &str, content: &Content) -> Result<()> {
    let Content::Number(limit) = content else { return Ok(()) };
    match dir.read(floor)?.trim().parse::<u64>() {
        Ok(used) if *limit < used => {
            let why = format!("must not be below the {used} bytes in use (checkBeforeUpdate)");
            Err(Error::invalid(setting.field, limit, why))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_missing_file_is_an_error_unless_optional() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b"), "").unwrap();
        let open = OpenDir::open(dir.path()).unwrap();
        let new = |file| Setting::new("linux.resources.memory.limit", file, 1);
        let mut setting = new("a").or("b", 1);
        apply(&open, std::slice::from_ref(&setting)).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("b")).unwrap(), "1");
        setting = new("a");
        let error = apply(&open, std::slice::from_ref(&setting)).unwrap_err().to_string();
        assert!(error.contains("write \"1\" to "), "{error}");
        assert!(error.ends_with("/a: no such file or directory"), "{error}");
        setting.optional = true;
        apply(&open, &[setting]).unwrap();
    }

    #[test]
    fn a_limit_below_the_usage_is_refused_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("memory.current"), "4096\n").unwrap();
        fs::write(dir.path().join("memory.max"), "").unwrap();
        let open = OpenDir::open(dir.path()).unwrap();
        let setting = |content| {
            let field = "linux.resources.memory.limit";
            Setting::new(field, "memory.max", content).with_floor(Some("memory.current"))
        };
        let error = apply(&open, &[setting(Content::Number(4095))]).unwrap_err().to_string();
        assert!(error.contains("must not be below the 4096 bytes in use"), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join("memory.max")).unwrap(), "");
        apply(&open, &[setting(Content::Number(4096))]).unwrap();
        apply(&open, &[setting(Content::Unlimited("max"))]).unwrap();
    }
}
