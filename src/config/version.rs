//! `ociVersion`: Semantic Versioning 2.0.0, major 1 (config.md, "Specification version").

use crate::{Error, Result};

/// Refuses a version that is missing, malformed, or of another major version.
///
/// Accepts a newer minor version: minor versions are compatible, and the specification has unknown
/// properties ignored.
pub fn check(version: &str) -> Result<()> {
    if version.is_empty() {
        return Err(Error::invalid_field("ociVersion", "missing; the spec requires it"));
    }
    match major(version) {
        Some("1") => Ok(()),
        Some(_) => {
            Err(Error::invalid("ociVersion", version, "only version 1 of the spec is supported"))
        }
        None => Err(Error::invalid(
            "ociVersion",
            version,
            "not a version in the form of SemVer 2.0.0, such as \"1.3.0\"",
        )),
    }
}

/// Returns the major version, if `version` is well-formed.
fn major(version: &str) -> Option<&str> {
    // Build metadata may contain a hyphen, so split it off before the pre-release part.
    let (rest, build) = split(version, '+');
    let (core, pre) = split(rest, '-');
    let mut numbers = core.split('.');
    let major = numbers.next()?;
    let well_formed = is_number(major)
        && numbers.next().is_some_and(is_number)
        && numbers.next().is_some_and(is_number)
        && numbers.next().is_none()
        && build.is_none_or(|list| list.split('.').all(is_identifier))
        && pre.is_none_or(|list| list.split('.').all(is_pre_release));
    well_formed.then_some(major)
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.is_empty() && !text.starts_with('0'))
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_pre_release(text: &str) -> bool {
    is_identifier(text) && (!text.bytes().all(|b| b.is_ascii_digit()) || is_number(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_every_form_of_major_one() {
        for version in [
            "1.0.0",
            "1.0.2-dev",
            "1.3.0+dev",
            "1.99.12",
            "1.0.0-rc.1+b-7.001",
            "1.0.0-0.x-y.0a",
            "1.0.0--",
        ] {
            assert!(check(version).is_ok(), "{version}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for version in [
            "1",
            "1.0",
            "1.0.0.0",
            "01.0.0",
            "1.00.0",
            "1.0.0-",
            "1.0.0+",
            "1.0.0-01",
            "1.0.0-a..b",
            "1.0.0-a_b",
            "v1.0.0",
            " 1.0.0",
            "1.0.0\n",
            "1.-1.0",
            "a.b.c",
            "1..0",
            "1.0.0+a+b",
        ] {
            let error = check(version).unwrap_err().to_string();
            assert!(error.starts_with("ociVersion: ") && error.contains("SemVer"), "{error}");
        }
        assert_eq!(
            check("2.0.0").unwrap_err().to_string(),
            "ociVersion: \"2.0.0\": only version 1 of the spec is supported"
        );
        assert!(check("0.1.0").is_err());
        assert!(check("11.0.0").is_err());
        assert_eq!(check("").unwrap_err().to_string(), "ociVersion: missing; the spec requires it");
    }
}
