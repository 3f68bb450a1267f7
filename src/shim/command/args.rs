//! The command line, in the syntax of Go's `flag` package: `-name value`, `-name=value`, `--name`.

use std::path::PathBuf;

/// The arguments of containerd.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Args {
    pub namespace: String,
    pub id: String,
    /// containerd's main socket, a part of the name of the shim's socket.
    pub address: String,
    pub bundle: Option<PathBuf>,
    pub socket: Option<PathBuf>,
    pub debug: bool,
    pub version: bool,
    pub info: bool,
    /// `start`, `delete`, or nothing for the server.
    pub action: Option<String>,
}

impl Args {
    /// Parses the arguments without the name of the program.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Args, String> {
        let mut args = Args::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else {
                args.action = Some(word);
                break;
            };
            let name = name.strip_prefix('-').unwrap_or(name);
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            let switch = match name {
                "debug" => Some(&mut args.debug),
                "v" | "version" => Some(&mut args.version),
                "info" => Some(&mut args.info),
                _ => None,
            };
            if let Some(switch) = switch {
                *switch = value.is_none_or(|value| matches!(value.as_str(), "1" | "t" | "true"));
                continue;
            }
            let mut value = || {
                let missing = || format!("-{name}: a value is missing");
                value.clone().or_else(|| words.next()).ok_or_else(missing)
            };
            match name {
                "namespace" => args.namespace = value()?,
                "id" => args.id = value()?,
                "address" => args.address = value()?,
                "bundle" => args.bundle = Some(value()?.into()),
                "socket" => args.socket = Some(value()?.into()),
                // Of older versions of the protocol: events go through ttrpc.
                "publish-binary" | "debug-socket" => drop(value()?),
                _ => return Err(format!("-{name}: unknown option")),
            }
        }
        Ok(args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_containerd_passes_is_understood() {
        let args = parse(
            "-namespace k8s.io -address /run/c.sock -publish-binary /usr/bin/containerd -id c1 \
             -debug start",
        );
        let expected = Args {
            namespace: "k8s.io".into(),
            id: "c1".into(),
            address: "/run/c.sock".into(),
            debug: true,
            action: Some("start".into()),
            ..Args::default()
        };
        assert_eq!(args.unwrap(), expected);
        let args = parse("--id=c1 -namespace=n -bundle /b delete").unwrap();
        assert_eq!((args.id.as_str(), args.bundle), ("c1", Some("/b".into())));
        assert_eq!(args.action.as_deref(), Some("delete"));
        assert!(parse("-info").unwrap().info);
        assert!(!parse("-debug=false").unwrap().debug);
    }

    #[test]
    fn a_wrong_option_is_named() {
        assert_eq!(parse("-frobnicate 1").unwrap_err(), "-frobnicate: unknown option");
        assert_eq!(parse("-id").unwrap_err(), "-id: a value is missing");
    }
}
