//! Reads which source file imports from which, as far as the text tells: `use` items, and paths that
//! begin with `crate`, `super`, `self`, a module of the file or a name that a `use` item gives. What a
//! module re-exports counts as an import from the file that defines the item.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A file by its path below `src`, with `/`.
type File = String;
/// Segments of a path in the code.
type Segments = Vec<String>;

/// The files, and what they import from.
pub struct Graph {
    edges: BTreeSet<(File, File)>,
}

impl Graph {
    /// Reads the sources of the library.
    pub fn read() -> Graph {
        Graph::of("lib.rs")
    }

    /// Reads the sources of the crate whose root is the file `root`.
    pub fn of(root: &str) -> Graph {
        let files = sources();
        let files: Vec<(&str, &str)> =
            files.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
        parse_from(root, &files)
    }

    /// Pairs of an importing file and the file that it imports from.
    pub fn edges(&self) -> impl Iterator<Item = (&str, &str)> {
        self.edges.iter().map(|(from, to)| (from.as_str(), to.as_str()))
    }

    /// The top-level module that a file belongs to.
    pub fn top(file: &str) -> &str {
        let name = file.split('/').next().unwrap_or(file);
        name.strip_suffix(".rs").unwrap_or(name)
    }
}

/// The source files of this package, with their texts.
pub fn sources() -> Vec<(File, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &src, &mut files);
    files
}

fn collect(top: &Path, dir: &Path, files: &mut Vec<(File, String)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(top, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            files.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// One module of the crate.
struct Module {
    file: File,
    tokens: Vec<String>,
    /// Names that `use` items give, with the path that each stands for.
    names: BTreeMap<String, Segments>,
    /// Modules whose public names are imported or re-exported with `*`.
    globs: Vec<Segments>,
    /// Paths that are re-exported.
    exports: Vec<Segments>,
    children: BTreeSet<String>,
}

/// The graph of the given files, without what is compiled for tests only.
pub fn parse(files: &[(&str, &str)]) -> Graph {
    parse_from("lib.rs", files)
}

/// The graph of the modules of the crate whose root is the file `root`.
fn parse_from(root: &str, files: &[(&str, &str)]) -> Graph {
    let texts: BTreeMap<&str, &str> = files.iter().copied().collect();
    let mut modules = BTreeMap::new();
    add(&texts, root, Vec::new(), &mut modules);
    let mut edges = BTreeSet::new();
    for (path, module) in &modules {
        for used in module.used() {
            if let Some(target) = resolve(&modules, path, used, 0) {
                let to = &modules[&target].file;
                if to != &module.file && to != root && module.file != root {
                    edges.insert((module.file.clone(), to.clone()));
                }
            }
        }
        // A re-export of a module's own parts is no use of them; one of another module's is.
        for exported in &module.exports {
            if let Some(target) = resolve(&modules, path, exported.clone(), 0) {
                let to = &modules[&target].file;
                if module.file != root && Graph::top(to) != Graph::top(&module.file) {
                    edges.insert((module.file.clone(), to.clone()));
                }
            }
        }
    }
    Graph { edges }
}

fn add(
    texts: &BTreeMap<&str, &str>,
    file: &str,
    path: Segments,
    modules: &mut BTreeMap<Segments, Module>,
) {
    let Some(text) = texts.get(file) else { panic!("there is no {file}") };
    let tokens = without_tests(&tokens(text));
    let roots = ["mod.rs", "lib.rs", "main.rs"];
    let dir = match roots.iter().find_map(|root| file.strip_suffix(root)) {
        Some(dir) => dir.to_owned(),
        None => file.strip_suffix(".rs").unwrap().to_owned() + "/",
    };
    let mut children = BTreeSet::new();
    for window in tokens.windows(3) {
        if window[0] == "mod" && window[2] == ";" {
            children.insert(window[1].clone());
        }
    }
    for child in &children {
        let nested = format!("{dir}{child}/mod.rs");
        let flat = format!("{dir}{child}.rs");
        let found = if texts.contains_key(flat.as_str()) { flat } else { nested };
        add(texts, &found, [path.as_slice(), std::slice::from_ref(child)].concat(), modules);
    }
    let mut module = Module {
        file: file.to_owned(),
        tokens,
        names: BTreeMap::new(),
        globs: Vec::new(),
        exports: Vec::new(),
        children,
    };
    module.read_uses();
    modules.insert(path, module);
}

impl Module {
    /// Takes the `use` items out of the tokens.
    fn read_uses(&mut self) {
        let mut rest = Vec::new();
        let mut tokens = std::mem::take(&mut self.tokens).into_iter();
        while let Some(token) = tokens.next() {
            if token != "use" {
                rest.push(token);
                continue;
            }
            let is_public = matches!(rest.last().map(String::as_str), Some("pub" | ")"));
            let item: Vec<String> = tokens.by_ref().take_while(|token| token != ";").collect();
            for (path, name) in tree(&item, &[]) {
                if is_public {
                    self.exports.push(path.clone());
                } else {
                    rest.extend(path.iter().flat_map(|part| [part.clone(), "::".into()]));
                    rest.pop();
                    rest.push(";".into());
                }
                if name == "*" {
                    self.globs.push(path);
                } else {
                    self.names.insert(name, path);
                }
            }
        }
        self.tokens = rest;
    }

    /// The paths that the code goes.
    fn used(&self) -> Vec<Segments> {
        let mut paths: Vec<Segments> = Vec::new();
        let mut i = 0;
        while i < self.tokens.len() {
            let begins = i == 0 || !matches!(self.tokens[i - 1].as_str(), "::" | "." | "mod");
            if !begins || !is_name(&self.tokens[i]) {
                i += 1;
                continue;
            }
            let mut path = vec![self.tokens[i].clone()];
            while self.tokens.get(i + 1).is_some_and(|t| t == "::")
                && self.tokens.get(i + 2).is_some_and(|t| is_name(t))
            {
                path.push(self.tokens[i + 2].clone());
                i += 2;
            }
            i += 1;
            if path.len() > 1 {
                paths.push(path);
            }
        }
        paths
    }
}

/// The module in which the item of `used` is defined, if it is one of this crate's.
fn resolve(
    modules: &BTreeMap<Segments, Module>,
    from: &Segments,
    used: Segments,
    depth: usize,
) -> Option<Segments> {
    // An inline module that uses an item of its file, which the flat list of names cannot tell.
    if depth > 8 {
        return None;
    }
    let mut at = from.clone();
    let mut rest = used.into_iter().peekable();
    match rest.peek()?.as_str() {
        "crate" => {
            at.clear();
            rest.next();
        }
        "self" => drop(rest.next()),
        "super" => {
            while rest.next_if(|part| part == "super").is_some() {
                at.pop();
            }
        }
        first => {
            let module = &modules[from];
            if !module.children.contains(first) && !module.names.contains_key(first) {
                return None;
            }
            // A name of a foreign crate, or an item of the file itself.
            if module.names.get(first).is_some_and(|path| path[0] == first) {
                return None;
            }
        }
    }
    while let Some(part) = rest.next() {
        let module = modules.get(&at)?;
        if module.children.contains(&part) {
            at.push(part);
        } else if let Some(path) = module.names.get(&part) {
            let whole = path.iter().cloned().chain(rest).collect();
            return resolve(modules, &at, whole, depth + 1);
        } else {
            for glob in &module.globs {
                let whole = glob.iter().cloned().chain([part.clone()]).collect();
                let found = resolve(modules, &at, whole, depth + 1);
                if let Some(found) = found.filter(|found| found != &at) {
                    return Some(found);
                }
            }
            break;
        }
    }
    Some(at)
}

/// The leaves of the tree of a `use` item: path, and the name that it gets.
fn tree(item: &[String], prefix: &[String]) -> Vec<(Segments, String)> {
    let mut path = prefix.to_vec();
    let mut i = 0;
    while i < item.len() {
        match item[i].as_str() {
            "::" => {}
            "*" => return vec![(path, "*".into())],
            "as" => return vec![(path, item[i + 1].clone())],
            "{" => return branches(&item[i + 1..item.len() - 1], &path),
            "self" if !path.is_empty() => {}
            name => path.push(name.to_owned()),
        }
        i += 1;
    }
    let name = path.last().cloned().unwrap_or_default();
    vec![(path, name)]
}

fn branches(items: &[String], prefix: &[String]) -> Vec<(Segments, String)> {
    let mut depth = 0;
    let parts = items.split(|token| {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        depth == 0 && token == ","
    });
    parts.filter(|part| !part.is_empty()).flat_map(|part| tree(part, prefix)).collect()
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::` and single characters; no comments, and of literals nothing.
fn tokens(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        let rest = &text[i..];
        if rest.starts_with("//") {
            i += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("r#\"") || rest.starts_with("br#\"") {
            i += rest.find("\"#").map_or(rest.len(), |end| end + 2);
        } else if bytes[i] == b'"' {
            i += 1;
            while i < bytes.len() && bytes[i] != b'"' {
                i += if bytes[i] == b'\\' { 2 } else { 1 };
            }
            i += 1;
        } else if bytes[i] == b'\'' {
            // A character, or a lifetime.
            let end = if bytes.get(i + 1) == Some(&b'\\') {
                rest[2..]
                    .find('\'')
                    .map(|end| if rest[2..].starts_with('\'') { 3 } else { end + 2 })
            } else {
                let mut chars = rest.char_indices().skip(2);
                chars.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at)
            };
            i += end.map_or(1, |end| end + 1);
        } else if rest.starts_with("::") {
            tokens.push("::".into());
            i += 2;
        } else if bytes[i].is_ascii_alphanumeric() || bytes[i] == b'_' {
            let len =
                rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            tokens.push(rest[..len].to_owned());
            i += len;
        } else {
            let c = rest.chars().next().unwrap_or(' ');
            if !c.is_whitespace() {
                tokens.push(c.into());
            }
            i += c.len_utf8();
        }
    }
    tokens
}

/// Without the items that have the attribute `#[cfg(test)]` or `#[cfg(any(test, fuzzing))]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    let attributes = ["#[cfg(test)]", "#[cfg(any(test, fuzzing))]"].map(self::tokens);
    let mut kept = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let Some(attribute) = attributes.iter().find(|a| tokens[i..].starts_with(a)) else {
            kept.push(tokens[i].clone());
            i += 1;
            continue;
        };
        let mut depth = 0;
        i += attribute.len();
        // To the end of the item: `;`, or the brace that closes it.
        while i < tokens.len() {
            match tokens[i].as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            i += 1;
            if depth == 0 && matches!(tokens[i - 1].as_str(), ";" | "}") {
                break;
            }
        }
    }
    kept
}
