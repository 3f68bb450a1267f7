use std::collections::BTreeSet;

use oci_spec::runtime::Spec;
use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::de::{EnumAccess, IntoDeserializer, VariantAccess, value::Error as ValueError};
use serde::forward_to_deserialize_any;

use super::super::members::{correct, distance};
use super::*;

/// Collects the keys of a type: gives every struct all the fields that its `Deserialize` names,
/// every map and array one element, every option a value.
struct Probe<'a> {
    path: String,
    paths: &'a mut BTreeSet<String>,
    /// The number of refused scalars: some types accept only certain strings.
    text: &'static str,
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_str(self.text)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_bool(false)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_seq(Once(Some(self), "[]"))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_map(Once(Some(self), "{}"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_map(Fields { probe: self, fields: fields.iter(), at: "" })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_enum(Variant(variants[0]))
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_u64(0)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_u64(0)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_u64(0)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_u64(0)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_u64(0)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_u64(0)
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct
        identifier ignored_any
    }
}

struct Once<'a>(Option<Probe<'a>>, &'static str);

impl<'de> SeqAccess<'de> for Once<'_> {
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ValueError> {
        let Some(probe) = self.0.take() else { return Ok(None) };
        seed.deserialize(Probe { path: probe.path + self.1, ..probe }).map(Some)
    }
}

impl<'de> MapAccess<'de> for Once<'_> {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ValueError> {
        if self.0.is_none() {
            return Ok(None);
        }
        let name: StrDeserializer<'_, ValueError> = "x".into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ValueError> {
        let probe = self.0.take().unwrap();
        seed.deserialize(Probe { path: probe.path + self.1, ..probe })
    }
}

struct Fields<'a> {
    probe: Probe<'a>,
    fields: std::slice::Iter<'static, &'static str>,
    at: &'static str,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ValueError> {
        let Some(name) = self.fields.next() else { return Ok(None) };
        self.at = name;
        let name: StrDeserializer<'_, ValueError> = (*name).into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ValueError> {
        let dot = if self.probe.path.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{}", self.probe.path, self.at);
        self.probe.paths.insert(path.clone());
        // Strings that some types check.
        let text = match path.as_str() {
            "process.execCPUAffinity.initial" | "process.execCPUAffinity.final" => "0",
            path if path.contains("capabilities") => "CAP_CHOWN",
            _ => "x",
        };
        seed.deserialize(Probe { path, paths: self.probe.paths, text })
    }
}

struct Variant(&'static str);

impl<'de> EnumAccess<'de> for Variant {
    type Error = ValueError;
    type Variant = Variant;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Variant), ValueError> {
        let name: StrDeserializer<'_, ValueError> = self.0.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant {
    type Error = ValueError;

    fn unit_variant(self) -> Result<(), ValueError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, ValueError> {
        unreachable!("no enum of the specification holds a value")
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, ValueError> {
        unreachable!("no enum of the specification holds a value")
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, ValueError> {
        unreachable!("no enum of the specification holds a value")
    }
}

/// The keys that only the parser's types have, and those that only this table has.
#[test]
fn the_table_has_every_key_of_the_parser_and_no_other() {
    let mut parsed = BTreeSet::new();
    Spec::deserialize(Probe { path: String::new(), paths: &mut parsed, text: "x" }).unwrap();
    assert!(parsed.len() > 150, "{parsed:?}");
    let table = paths(CONFIG);
    let foreign: Vec<&String> =
        table.iter().filter(|(_, of)| matches!(of, Of::Foreign)).map(|(path, _)| path).collect();
    let inside_foreign = |path: &String| {
        foreign
            .iter()
            .any(|f| path.strip_prefix(f.as_str()).is_some_and(|rest| rest.starts_with('.')))
    };
    let table: BTreeSet<String> = table.iter().map(|(path, _)| path.clone()).collect();
    // Not in the specification: mappings at the top, and deprecated keys in another case. `correct`
    // reports both.
    let wrong = |path: &String| {
        let top = path.split(['[', '.']).next().unwrap_or_default();
        ["uidMappings", "gidMappings"].contains(&top)
            || ["linux.intelRdt.enableCmt", "linux.intelRdt.enableMbm"].contains(&path.as_str())
    };
    let missing: Vec<_> = parsed
        .iter()
        .filter(|path| !table.contains(*path) && !inside_foreign(path) && !wrong(path))
        .collect();
    assert!(missing.is_empty(), "read by the parser, and not in the table: {missing:?}");
    let only_here: Vec<_> = table.iter().filter(|path| !parsed.contains(*path)).collect();
    assert_eq!(
        only_here,
        ["freebsd", "linux.intelRdt.enableCMT", "linux.intelRdt.enableMBM"],
        "in the table, and not read by the parser"
    );
}

fn corrected(text: &str) -> (String, Vec<String>) {
    let mut warnings = Vec::new();
    let text = correct(text, CONFIG, "", false, &mut warnings).unwrap();
    (text.into_owned(), warnings)
}

#[test]
fn a_key_in_other_letters_is_taken_for_the_known_one() {
    for (text, right, field) in [
        (r#"{"ROOT": {"path": "a"}}"#, r#"{"root": {"path": "a"}}"#, "ROOT"),
        (r#"{"root": {"readOnly": true}}"#, r#"{"root": {"readonly": true}}"#, "root.readOnly"),
        (
            r#"{"mounts": [{}, {"Type": "x"}]}"#,
            r#"{"mounts": [{}, {"type": "x"}]}"#,
            "mounts[1].Type",
        ),
        (
            r#"{"linux": {"resources": {"rdma": {"MLX": {"HCAhandles": 1}}}}}"#,
            r#"{"linux": {"resources": {"rdma": {"MLX": {"hcaHandles": 1}}}}}"#,
            "linux.resources.rdma.MLX.HCAhandles",
        ),
    ] {
        let (text, warnings) = corrected(text);
        assert_eq!(text, right);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with(&format!("{field}: taken for ")), "{warnings:?}");
    }
    // Below a key in another case too.
    let (text, warnings) = corrected(r#"{"Process": {"USER": {"UID": 5}}}"#);
    assert_eq!((text.as_str(), warnings.len()), (r#"{"process": {"user": {"uid": 5}}}"#, 3));
}

#[test]
fn a_near_miss_is_told() {
    for (text, known) in [
        (r#"{"root": {"read_only": true}}"#, "readonly"),
        (r#"{"process": {"noNewPrivilege": true}}"#, "noNewPrivileges"),
        (r#"{"process": {"no_new_privileges": true}}"#, "noNewPrivileges"),
        (r#"{"linux": {"maskedPath": []}}"#, "maskedPaths"),
        (r#"{"hooks": {"post-stop": []}}"#, "poststop"),
        (r#"{"linux": {"resources": {"memory": {"limits": 1}}}}"#, "limit"),
        (r#"{"linux": {"resources": {"cpus": {}}}}"#, "cpu"),
        (r#"{"uidMappings": []}"#, "linux.uidMappings"),
        (r#"{"process": {"readonly": true}}"#, "root.readonly"),
        (r#"{"linux": {"oomScoreAdj": 1}}"#, "process.oomScoreAdj"),
    ] {
        let (same, warnings) = corrected(text);
        assert_eq!(same, text);
        assert_eq!(warnings.len(), 1, "{text}: {warnings:?}");
        assert!(warnings.iter().all(|w| w.contains(&format!("did you mean {known:?}"))), "{text}");
    }
}

#[test]
fn extensions_and_free_keys_are_nobodys_business() {
    for text in [
        r#"{"x-vendor": {"Root": 1}, "annotations": {"ROOT": "x"}, "linux": {"sysctl": {"A": "b"}}}"#,
        r#"{"windows": {"Image": {}}, "root": null, "mounts": [null, {}]}"#,
        r#"{"hostname": -1}"#,
    ] {
        assert_eq!(corrected(text), (text.to_owned(), Vec::new()));
    }
}

#[test]
fn an_escaped_key_in_other_letters_is_refused() {
    let text = r#"{"root": {"read\u004fnly": true}}"#;
    let error = correct(text, CONFIG, "", false, &mut Vec::new()).unwrap_err().to_string();
    assert_eq!(error, r#"root.readOnly: write it as "readonly""#);
    assert!(correct(r#"{"r\u006fot": {}}"#, CONFIG, "", false, &mut Vec::new()).is_ok());
}

#[test]
fn distances() {
    let of =
        |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
    assert_eq!((of("", ""), of("abc", ""), of("", "abc"), of("abc", "abc")), (0, 3, 3, 0));
    assert_eq!((of("kitten", "sitting"), of("flaw", "lawn"), of("ab", "ba")), (3, 2, 2));
}
