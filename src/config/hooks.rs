//! `hooks` (config.md, "POSIX-platform Hooks").

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use oci_spec::runtime::{Hook as SpecHook, Hooks as SpecHooks};

use super::annotations::{HOOKS_STDERR, HOOKS_STDOUT};
use super::environment::{assignment, c_string};
use crate::hooks::{Hook, Hooks, Sink};
use crate::{Error, Result};

/// The whole environment of a hook if the configuration gives no environment.
const DEFAULT_ENV: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Parses the hooks of all six kinds. `annotation` looks up an annotation: two annotations name
/// files for the output.
pub fn parse<'a>(
    hooks: Option<&SpecHooks>,
    annotation: impl Fn(&str) -> Option<&'a str>,
) -> Result<Hooks> {
    let Some(hooks) = hooks else { return Ok(Hooks::default()) };
    #[allow(deprecated)] // The specification deprecates prestart; every engine still uses it.
    let prestart = hooks.prestart();
    let mut hooks = Hooks {
        prestart: parse_list("prestart", prestart.as_ref())?,
        create_runtime: parse_list("createRuntime", hooks.create_runtime().as_ref())?,
        create_container: parse_list("createContainer", hooks.create_container().as_ref())?,
        start_container: parse_list("startContainer", hooks.start_container().as_ref())?,
        poststart: parse_list("poststart", hooks.poststart().as_ref())?,
        poststop: parse_list("poststop", hooks.poststop().as_ref())?,
    };
    let sink = |name| annotation(name).map(|path| Sink::Path(Path::new(path).to_owned()));
    let (stdout, stderr) = (sink(HOOKS_STDOUT), sink(HOOKS_STDERR));
    // Not the output of startContainer hooks: these are programs of the image, which must not get a
    // descriptor of a host's file.
    let Hooks { prestart, create_runtime, create_container, poststart, poststop, .. } = &mut hooks;
    for hook in [prestart, create_runtime, poststart, poststop].into_iter().flatten() {
        hook.beside_runtime = true;
        hook.stdout.clone_from(&stdout);
        hook.stderr.clone_from(&stderr);
    }
    for hook in create_container {
        hook.stdout.clone_from(&stdout);
        hook.stderr.clone_from(&stderr);
    }
    Ok(hooks)
}

fn parse_list(kind: &str, hooks: Option<&Vec<SpecHook>>) -> Result<Vec<Hook>> {
    let hooks = hooks.into_iter().flatten().enumerate();
    hooks.map(|(index, hook)| parse_hook(&format!("hooks.{kind}[{index}]"), hook)).collect()
}

/// Parses a hook; `field` is its name in errors.
pub fn parse_hook(field: &str, hook: &SpecHook) -> Result<Hook> {
    let path = hook.path();
    if !path.is_absolute() {
        return Err(Error::invalid(format!("{field}.path"), path, "must be an absolute path"));
    }
    let path = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::invalid(format!("{field}.path"), path, "holds a NUL byte"))?;
    let mut args = strings(field, "args", hook.args().as_deref())?;
    if args.is_empty() {
        args.push(path.clone());
    }
    for (index, entry) in hook.env().iter().flatten().enumerate() {
        assignment(|| format!("{field}.env[{index}]"), entry)?;
    }
    let mut env = strings(field, "env", hook.env().as_deref())?;
    let default_env = env.is_empty();
    if default_env {
        env.extend(CString::new(DEFAULT_ENV));
    }
    let timeout = match hook.timeout().map(u64::try_from) {
        None => None,
        Some(Ok(seconds @ 1..)) => Some(Duration::from_secs(seconds)),
        Some(_) => {
            let field = format!("{field}.timeout");
            return Err(Error::invalid(field, hook.timeout().unwrap_or(0), "must be above 0"));
        }
    };
    let (stdout, stderr) = (None, None);
    Ok(Hook { path, args, env, default_env, timeout, beside_runtime: false, stdout, stderr })
}

fn strings(field: &str, name: &str, list: Option<&[String]>) -> Result<Vec<CString>> {
    let field = format!("{field}.{name}");
    let list = list.unwrap_or_default().iter().enumerate();
    list.map(|(index, text)| c_string(&field, index, text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(json: &str) -> Result<Hook> {
        parse_hook("hooks.poststop[2]", &serde_json::from_str(json).unwrap())
    }

    #[test]
    fn defaults_are_argv0_and_a_path() {
        let hook = convert(r#"{"path": "/bin/true", "args": [], "timeout": 3}"#).unwrap();
        assert_eq!(hook.args, [c"/bin/true".to_owned()]);
        assert_eq!(hook.env.len(), 1);
        assert!(hook.env[0].to_bytes().starts_with(b"PATH=/"));
        assert_eq!(hook.timeout, Some(Duration::from_secs(3)));
    }

    #[test]
    fn an_environment_is_inherited_where_none_is_given() {
        let inherited = [c"A=1".to_owned()];
        let none = convert(r#"{"path": "/a", "env": []}"#).unwrap();
        assert_eq!(none.inheriting(&inherited).env, inherited);
        let own = convert(r#"{"path": "/a", "env": ["B=2"]}"#).unwrap();
        assert_eq!(own.inheriting(&inherited), own);
    }

    #[test]
    fn bad_hooks_are_named() {
        for (json, part) in [
            (
                r#"{"path": "bin/true"}"#,
                r#"hooks.poststop[2].path: "bin/true": must be an absolute"#,
            ),
            (r#"{"path": ""}"#, "must be an absolute path"),
            (r#"{"path": "/a\u0000b"}"#, "NUL"),
            (r#"{"path": "/a", "args": ["a", "\u0000"]}"#, "hooks.poststop[2].args[1]"),
            (r#"{"path": "/a", "env": ["A=\u0000"]}"#, "hooks.poststop[2].env[0]"),
            (r#"{"path": "/a", "env": ["A"]}"#, "env[0]: \"A\": must be of the form NAME=value"),
            (r#"{"path": "/a", "timeout": 0}"#, "timeout: 0: must be above 0"),
            (r#"{"path": "/a", "timeout": -1}"#, "timeout: -1: must be above 0"),
        ] {
            let error = convert(json).unwrap_err().to_string();
            assert!(error.contains(part), "{json}: {error}");
        }
    }

    #[test]
    fn output_goes_to_files_but_not_that_of_start_container_hooks() {
        let json = r#"{"startContainer": [{"path": "/a"}], "createContainer": [{"path": "/a"}],
                       "poststop": [{"path": "/a"}]}"#;
        let spec = serde_json::from_str(json).unwrap();
        let hooks = parse(Some(&spec), |name| (name == HOOKS_STDOUT).then_some("/o")).unwrap();
        assert_eq!(hooks.start_container[0].stdout, None);
        assert!(hooks.create_container[0].stdout.is_some() && hooks.poststop[0].stdout.is_some());
        assert_eq!(hooks.poststop[0].stderr, None);
        assert!(hooks.poststop[0].beside_runtime && !hooks.create_container[0].beside_runtime);
    }
}
