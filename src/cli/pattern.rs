//! Extended regular expressions (regex(7)) over ids of containers.
//!
//! An id is short and has few characters, so sets of positions serve in place of an automaton: the time
//! grows with the product of the lengths, whatever the expression is. The functions of the C library
//! would add 70 kB to the program.

use crate::{Error, Result};

/// How deep groups can be nested, which bounds the recursion.
const DEPTH: u8 = 8;

/// The largest number in `{MIN,MAX}` (RE_DUP_MAX of POSIX).
const REPEATS: usize = 255;

/// An expression that may match any part of a text.
#[derive(Debug)]
pub struct Pattern(Alternatives);

type Alternatives = Vec<Vec<Node>>;

#[derive(Debug)]
enum Node {
    /// One of these bytes.
    Byte(Box<[bool; 128]>),
    Start,
    End,
    Group(Alternatives),
    Repeat(Box<Node>, usize, Option<usize>),
}

/// For each position of a text, whether the part of the expression so far can end there.
type Positions = Vec<bool>;

impl Pattern {
    /// Parses an expression. The error names it.
    pub fn new(text: &str) -> Result<Pattern> {
        let mut parser = Parser { text: text.as_bytes(), at: 0 };
        let parsed = parser.alternatives(0).and_then(|parsed| match parser.peek() {
            None => Ok(Pattern(parsed)),
            Some(_) => Err("a \")\" without a \"(\""),
        });
        parsed.map_err(|why| Error::invalid("--regex", text, format!("invalid expression: {why}")))
    }

    /// Whether a part of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        let all = vec![true; text.len() + 1];
        ends_of_any(&self.0, text.as_bytes(), &all).contains(&true)
    }
}

fn ends_of_any(alternatives: &Alternatives, text: &[u8], from: &Positions) -> Positions {
    let mut found = vec![false; from.len()];
    for sequence in alternatives {
        let last = sequence.iter().fold(from.clone(), |from, node| ends(node, text, &from));
        add(&mut found, &last);
    }
    found
}

/// Adds positions; returns whether one is new.
fn add(to: &mut Positions, more: &Positions) -> bool {
    let mut is_new = false;
    for (to, more) in to.iter_mut().zip(more) {
        is_new |= *more && !*to;
        *to |= more;
    }
    is_new
}

/// Returns where matches of `node` end that begin at `from`.
fn ends(node: &Node, text: &[u8], from: &Positions) -> Positions {
    let keep = |kept: usize| from.iter().enumerate().map(|(at, is)| *is && at == kept).collect();
    match node {
        Node::Start => keep(0),
        Node::End => keep(text.len()),
        Node::Byte(set) => {
            let is_in = |byte: &u8| set.get(usize::from(*byte)).copied().unwrap_or(false);
            let taken = text.iter().zip(from).map(|(byte, from)| *from && is_in(byte));
            std::iter::once(false).chain(taken).collect()
        }
        Node::Group(alternatives) => ends_of_any(alternatives, text, from),
        Node::Repeat(node, least, most) => {
            let mut last = from.clone();
            for _ in 0..*least {
                let next = ends(node, text, &last);
                if next == last {
                    break;
                }
                last = next;
            }
            let mut found = last.clone();
            for _ in *least..most.unwrap_or(least + text.len()) {
                last = ends(node, text, &last);
                if !add(&mut found, &last) {
                    break;
                }
            }
            found
        }
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

type Parsed<T> = std::result::Result<T, &'static str>;

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take_if(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn alternatives(&mut self, depth: u8) -> Parsed<Alternatives> {
        let mut found = vec![Vec::new()];
        while let Some(byte) = self.peek().filter(|byte| *byte != b')') {
            if byte == b'|' {
                self.at += 1;
                found.push(Vec::new());
            } else if let Some(sequence) = found.last_mut() {
                let node = self.node(depth)?;
                sequence.push(self.repeated(node)?);
            }
        }
        if found.iter().any(Vec::is_empty) { Err("an empty alternative") } else { Ok(found) }
    }

    fn node(&mut self, depth: u8) -> Parsed<Node> {
        let one = |byte: u8| match byte {
            0..128 => Ok(of(|other| other == byte)),
            _ => Err("a character that no id has"),
        };
        match self.take().unwrap_or_default() {
            b'^' => Ok(Node::Start),
            b'$' => Ok(Node::End),
            b'.' => Ok(of(|_| true)),
            b'[' => self.set(),
            b'(' if depth == DEPTH => Err("too many nested groups"),
            b'(' => {
                let group = self.alternatives(depth + 1)?;
                if self.take_if(b')') {
                    Ok(Node::Group(group))
                } else {
                    Err("a \"(\" without a \")\"")
                }
            }
            b'*' | b'+' | b'?' | b'{' => Err("nothing to repeat"),
            b'\\' => match self.take() {
                Some(byte) if byte.is_ascii_punctuation() => one(byte),
                _ => Err("a \"\\\" before something else than a sign"),
            },
            byte => one(byte),
        }
    }

    fn repeated(&mut self, node: Node) -> Parsed<Node> {
        let (least, most) = match self.peek() {
            Some(b'*') => (0, None),
            Some(b'+') => (1, None),
            Some(b'?') => (0, Some(1)),
            Some(b'{') => {
                self.at += 1;
                self.bounds()?
            }
            _ => return Ok(node),
        };
        // The last character, a closing brace if there are braces.
        self.at += 1;
        match self.peek() {
            Some(b'*' | b'+' | b'?' | b'{') => Err("nothing to repeat"),
            _ if matches!(node, Node::Start | Node::End) => Err("nothing to repeat"),
            _ => Ok(Node::Repeat(Box::new(node), least, most)),
        }
    }

    /// Parses `MIN}`, `MIN,}` or `MIN,MAX}` as far as the brace.
    fn bounds(&mut self) -> Parsed<(usize, Option<usize>)> {
        const SYNTAX: &str = "expected {MIN}, {MIN,} or {MIN,MAX}, each at most 255";
        let least = self.number().ok_or(SYNTAX)?;
        let most = match self.take_if(b',') {
            false => Some(least),
            true if self.peek() == Some(b'}') => None,
            true => Some(self.number().ok_or(SYNTAX)?),
        };
        let is_valid = self.peek() == Some(b'}') && most.is_none_or(|most| least <= most);
        if is_valid { Ok((least, most)) } else { Err(SYNTAX) }
    }

    fn number(&mut self) -> Option<usize> {
        let rest = self.text.get(self.at..)?;
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = std::str::from_utf8(rest.get(..length)?).ok()?;
        self.at += length;
        digits.parse().ok().filter(|number| *number <= REPEATS)
    }

    /// Parses a bracket expression after its bracket.
    fn set(&mut self) -> Parsed<Node> {
        const OPEN: &str = "a \"[\" without a \"]\"";
        let is_negated = self.take_if(b'^');
        let mut ranges = Vec::new();
        // A bracket at the beginning stands for itself.
        while ranges.is_empty() || self.peek() != Some(b']') {
            let first = self.take().ok_or(OPEN)?;
            if first == b'[' && matches!(self.peek(), Some(b':' | b'.' | b'=')) {
                return Err("classes such as [:alpha:] are not supported");
            }
            let is_range = self.peek() == Some(b'-')
                && self.text.get(self.at + 1).is_some_and(|next| *next != b']');
            let last = if is_range {
                self.at += 1;
                self.take().ok_or(OPEN)?
            } else {
                first
            };
            if first > last {
                return Err("a range that ends before it begins");
            }
            ranges.push(first..=last);
        }
        self.at += 1;
        Ok(of(|byte| ranges.iter().any(|range| range.contains(&byte)) != is_negated))
    }
}

fn of(is_in: impl Fn(u8) -> bool) -> Node {
    let mut set = Box::new([false; 128]);
    (0..128).zip(set.iter_mut()).for_each(|(byte, in_set)| *in_set = is_in(byte));
    Node::Byte(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_ids_match() {
        for (pattern, yes, no) in [
            ("web", &["web", "web-1", "my-web"][..], &["we", "wbe"][..]),
            ("^web", &["web-1"], &["my-web"]),
            ("web$", &["my-web"], &["web-1"]),
            ("^web$", &["web"], &["web1", "aweb"]),
            ("^web-[0-9]+$", &["web-1", "web-42"], &["web-", "web-x", "web-1a"]),
            ("^(web|db)-.*", &["web-", "db-a"], &["webdb", "a-db"]),
            ("^a?b*c$", &["c", "ac", "abbc", "bc"], &["aac", "ab"]),
            ("^a{2}$", &["aa"], &["a", "aaa"]),
            ("^a{2,}$", &["aa", "aaaa"], &["a"]),
            ("^a{1,2}$", &["a", "aa"], &["aaa"]),
            ("^(ab){0,1}c{0}$", &["ab"], &["abab", "c"]),
            ("^[^a-c]$", &["d", "-"], &["b"]),
            ("^[]a]$", &["a"], &["b"]),
            ("^[a-]$", &["-", "a"], &["b"]),
            ("a\\.b", &["a.b"], &["aXb"]),
            ("^(a*)*b$", &["b", "aaab"], &["aaa"]),
            ("^((a|b)+c)+$", &["abcbc"], &["cab", "abcb"]),
            (".", &["x"], &[]),
            ("x^|y", &["y"], &["x"]),
        ] {
            let compiled = Pattern::new(pattern).unwrap();
            for id in yes {
                assert!(compiled.matches(id), "{pattern} {id}");
            }
            for id in no {
                assert!(!compiled.matches(id), "{pattern} {id}");
            }
        }
    }

    #[test]
    fn other_expressions_are_refused() {
        let nested = format!("{}a{}", "(".repeat(9), ")".repeat(9));
        for (pattern, why) in [
            ("", "empty"),
            ("a|", "empty"),
            ("()", "empty"),
            ("*", "nothing to repeat"),
            ("a**", "nothing to repeat"),
            ("^*", "nothing to repeat"),
            ("a|+", "nothing to repeat"),
            ("(a", "without a \")\""),
            ("a)", "without a \"(\""),
            ("[a", "without a \"]\""),
            ("[", "without a \"]\""),
            ("[]", "without a \"]\""),
            ("[b-a]", "ends before"),
            ("[[:alpha:]]", "classes"),
            ("a{", "{MIN}"),
            ("a{1", "{MIN}"),
            ("a{2,1}", "{MIN}"),
            ("a{256}", "{MIN}"),
            ("a{,1}", "{MIN}"),
            ("\\", "a \"\\\""),
            ("\\d", "a \"\\\""),
            ("\u{e9}", "no id has"),
            (&nested, "nested"),
        ] {
            let error = Pattern::new(pattern).unwrap_err().to_string();
            assert!(error.starts_with("--regex: ") && error.contains(why), "{pattern}: {error}");
        }
    }

    /// The worst expressions of the permitted depth, on the longest id.
    #[test]
    fn the_time_is_bounded() {
        let id = "a".repeat(255);
        for repeat in ["*", "+", "{0,255}", "{255}", "{2,}"] {
            for inner in ["a", "a?", "a|aa", "a{1,2}"] {
                let pattern =
                    format!("^{}{inner}{}b", "(".repeat(8), format!("){repeat}").repeat(8));
                assert!(!Pattern::new(&pattern).unwrap().matches(&id), "{pattern}");
            }
        }
    }
}
