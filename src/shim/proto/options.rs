//! The options of a runtime: those of the runc shim (api/types/runc/options/oci.proto), or a text of
//! them in TOML (api/types/runtimeoptions/v1/api.proto), which containerd's CRI and `ctr` send to
//! other runtimes than runc.

use std::path::{Path, PathBuf};

use prost::Message;

use super::any::Any;
use crate::wire::rpc::{Code, Failure};

const RUNC: &str = "containerd.runc.v1.Options";
const GENERIC: &str = "runtimeoptions.v1.Options";
const CHECKPOINT: &str = "containerd.runc.v1.CheckpointOptions";

/// The options of the runc shim, by their tags there.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Options {
    #[prost(bool, tag = "1")]
    pub no_pivot_root: bool,
    #[prost(bool, tag = "2")]
    pub no_new_keyring: bool,
    #[prost(string, tag = "3")]
    pub shim_cgroup: String,
    #[prost(uint32, tag = "4")]
    pub io_uid: u32,
    #[prost(uint32, tag = "5")]
    pub io_gid: u32,
    #[prost(string, tag = "6")]
    pub binary_name: String,
    #[prost(string, tag = "7")]
    pub root: String,
    #[prost(string, tag = "8")]
    pub criu_path: String,
    #[prost(bool, tag = "9")]
    pub systemd_cgroup: bool,
    #[prost(string, tag = "10")]
    pub criu_image_path: String,
    #[prost(string, tag = "11")]
    pub criu_work_path: String,
}

#[derive(Clone, PartialEq, Message)]
struct Generic {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(string, tag = "2")]
    config_path: String,
    #[prost(bytes = "vec", tag = "3")]
    config_body: Vec<u8>,
}

/// The options of a checkpoint.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CheckpointOptions {
    #[prost(bool, tag = "1")]
    pub exit: bool,
    #[prost(bool, tag = "2")]
    pub open_tcp: bool,
    #[prost(bool, tag = "3")]
    pub external_unix_sockets: bool,
    #[prost(bool, tag = "4")]
    pub terminal: bool,
    #[prost(bool, tag = "5")]
    pub file_locks: bool,
    #[prost(string, repeated, tag = "6")]
    pub empty_namespaces: Vec<String>,
    #[prost(string, tag = "7")]
    pub cgroups_mode: String,
    #[prost(string, tag = "8")]
    pub image_path: String,
    #[prost(string, tag = "9")]
    pub work_path: String,
}

/// Which exec a process belongs to, in the response to Pids.
#[derive(Clone, PartialEq, Message)]
pub struct ProcessDetails {
    #[prost(string, tag = "1")]
    pub exec_id: String,
}

super::any::named!("containerd.runc.v1": ProcessDetails);

impl Options {
    /// Reads the options of a request; without any, the defaults.
    pub fn read(any: Option<&Any>) -> Result<Options, Failure> {
        let Some(any) = any.filter(|any| !any.type_url.is_empty()) else {
            return Ok(Options::default());
        };
        let options = if any.is(RUNC) {
            decode(any)?
        } else if any.is(GENERIC) {
            let generic: Generic = decode(any)?;
            match generic.config_path.as_str() {
                "" => Options::parse("options", &String::from_utf8_lossy(&generic.config_body))?,
                path => Options::parse(path, &read_text(path.as_ref())?)?,
            }
        } else {
            return Err(invalid(format!("options: unknown type {:?}", any.type_url)));
        };
        options.check()
    }

    /// Returns the program of CRIU.
    pub fn criu(&self) -> &str {
        if self.criu_path.is_empty() { "/usr/sbin/criu" } else { &self.criu_path }
    }

    /// Returns the directory for the log of CRIU.
    pub fn criu_work_dir(&self, bundle: &Path) -> PathBuf {
        if self.criu_work_path.is_empty() {
            bundle.join("work")
        } else {
            (&self.criu_work_path).into()
        }
    }

    /// Refuses what the shim cannot do.
    fn check(self) -> Result<Options, Failure> {
        if !self.binary_name.is_empty() {
            let why = "options: BinaryName: this shim runs no other runtime; remove it, or use \
                       the runtime type io.containerd.runc.v2";
            return Err(invalid(why));
        }
        if !self.criu_image_path.is_empty() {
            return Err(invalid(
                "options: CriuImagePath: requests name their directory; remove it",
            ));
        }
        Ok(self)
    }

    /// Parses lines of `Name = value`: the part of TOML that the options need.
    fn parse(source: &str, text: &str) -> Result<Options, Failure> {
        let mut options = Options::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let set = line
                .split_once('=')
                .and_then(|(name, value)| options.set(name.trim().trim_matches('"'), value.trim()));
            set.ok_or_else(|| {
                invalid(format!("{source}: line {number}: {line:?} is not an option of this shim"))
            })?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let text = || unquoted(value);
        let flag = || value.parse::<bool>().ok();
        let number = || value.parse::<u32>().ok();
        match name {
            "NoPivotRoot" => self.no_pivot_root = flag()?,
            "NoNewKeyring" => self.no_new_keyring = flag()?,
            "ShimCgroup" => self.shim_cgroup = text()?,
            "IoUid" => self.io_uid = number()?,
            "IoGid" => self.io_gid = number()?,
            "BinaryName" => self.binary_name = text()?,
            "Root" => self.root = text()?,
            "CriuPath" => self.criu_path = text()?,
            "SystemdCgroup" => self.systemd_cgroup = flag()?,
            "CriuImagePath" => self.criu_image_path = text()?,
            "CriuWorkPath" => self.criu_work_path = text()?,
            _ => return None,
        }
        Some(())
    }
}

impl CheckpointOptions {
    /// Reads the options of a request; without any, the defaults.
    pub fn read(any: Option<&Any>) -> Result<CheckpointOptions, Failure> {
        match any.filter(|any| !any.type_url.is_empty()) {
            None => Ok(CheckpointOptions::default()),
            Some(any) if any.is(CHECKPOINT) => decode(any),
            Some(any) => Err(invalid(format!("options: unknown type {:?}", any.type_url))),
        }
    }
}

fn decode<M: Message + Default>(any: &Any) -> Result<M, Failure> {
    M::decode(any.value.as_slice()).map_err(|error| invalid(format!("options: {error}")))
}

fn invalid(why: impl std::fmt::Display) -> Failure {
    Failure::new(Code::InvalidArgument, why)
}

fn read_text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| invalid(format!("options: {}: {error}", path.display())))
}

/// Returns the content of a TOML string without escapes.
fn unquoted(value: &str) -> Option<String> {
    let inside = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    let text = inside('"').filter(|text| !text.contains('\\')).or_else(|| inside('\''))?;
    (!text.contains(['"', '\''])).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(body: &str) -> Any {
        let message = Generic { config_body: body.into(), ..Generic::default() };
        Any { type_url: GENERIC.into(), value: message.encode_to_vec() }
    }

    #[test]
    fn options_of_runc_are_decoded() {
        // no_pivot_root, io_uid 7, root "/r", systemd_cgroup
        let value = vec![8, 1, 32, 7, 58, 2, b'/', b'r', 72, 1];
        let any = Any { type_url: format!("types.containerd.io/{RUNC}"), value };
        let options = Options::read(Some(&any)).unwrap();
        let expected = Options {
            no_pivot_root: true,
            io_uid: 7,
            root: "/r".into(),
            systemd_cgroup: true,
            ..Options::default()
        };
        assert_eq!(options, expected);
    }

    #[test]
    fn options_as_text_are_parsed() {
        let text = "\n# x\nSystemdCgroup = true\n  Root = \"/r\"\nIoUid=5\nShimCgroup = 'a'\n";
        let options = Options::read(Some(&generic(text))).unwrap();
        assert!(options.systemd_cgroup);
        assert_eq!((options.root.as_str(), options.io_uid), ("/r", 5));
        assert_eq!(options.shim_cgroup, "a");
        assert_eq!(Options::read(None).unwrap(), Options::default());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "NoPivotRoot = true").unwrap();
        let message =
            Generic { config_path: file.path().to_str().unwrap().into(), ..Generic::default() };
        let any = Any { type_url: GENERIC.into(), value: message.encode_to_vec() };
        assert!(Options::read(Some(&any)).unwrap().no_pivot_root);
    }

    #[test]
    fn what_the_shim_cannot_do_is_refused() {
        for (text, part) in [
            ("BinaryName = \"runc\"", "BinaryName"),
            ("NoSuchOption = true", "line 1"),
            ("Root = /r", "line 1"),
            ("SystemdCgroup = 1", "line 1"),
            ("[table]", "line 1"),
        ] {
            let failure = Options::read(Some(&generic(text))).unwrap_err();
            assert_eq!(failure.code, Code::InvalidArgument);
            assert!(failure.message.contains(part), "{}", failure.message);
        }
        let any = Any { type_url: "x.Y".into(), value: Vec::new() };
        assert!(Options::read(Some(&any)).unwrap_err().message.contains("x.Y"));
    }
}
