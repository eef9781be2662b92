//! Who uses whom inside a crate: an edge runs from a using file to the file that defines what it uses. Re-exports are
//! looked through; `mod` lines, public re-exports and tests are no uses.

use std::collections::{BTreeMap, BTreeSet};

/// A module's path from the crate's root.
type Module = Vec<String>;

/// The files of a crate by module.
#[derive(Default)]
pub struct Crate {
    modules: BTreeMap<Module, Source>,
}

struct Source {
    file: String,
    code: String,
    imports: Vec<Import>,
}

/// One name that a `use` brings in.
struct Import {
    path: Module,
    /// `*` for all of them.
    name: String,
    is_public: bool,
}

impl Crate {
    /// Reads files by their path below `src`, tests left out.
    pub fn read<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut modules = BTreeMap::new();
        for (file, text) in files {
            let code = code_of(text);
            let (imports, code) = imports_of(&code);
            modules.insert(module_of(file), Source { file: file.to_owned(), code, imports });
        }
        Self { modules }
    }

    /// The edges: file to file.
    pub fn edges(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (module, source) in &self.modules {
            let used = source.imports.iter().filter(|import| !import.is_public).map(|import| import.path.clone());
            let used = used.chain(paths_in(&source.code));
            let targets = used.flat_map(|path| self.definition(module, &path, 0));
            let targets = targets.filter_map(|target| Some(self.modules.get(&target)?.file.as_str()));
            edges.entry(&source.file).or_default().extend(targets.filter(|file| *file != source.file));
        }
        edges
    }

    /// The modules in which the things that a path names are defined; empty for what is not of this crate.
    fn definition(&self, from: &Module, path: &[String], depth: usize) -> Vec<Module> {
        // Re-exports of re-exports end long before this; a path that goes round names nothing.
        const DEPTH_MAX: usize = 16;
        let Some((first, rest)) = path.split_first().filter(|_| depth < DEPTH_MAX) else { return Vec::new() };
        let child = |module: &Module, name: &String| [module.as_slice(), std::slice::from_ref(name)].concat();
        match first.as_str() {
            "crate" => self.item(&Vec::new(), rest, depth),
            "self" => self.item(from, rest, depth),
            "super" => {
                let parent = from[..from.len().saturating_sub(1)].to_vec();
                let is_above = rest.first().is_some_and(|next| next == "super");
                if is_above { self.definition(&parent, rest, depth) } else { self.item(&parent, rest, depth) }
            }
            _ if self.modules.contains_key(&child(from, first)) => self.item(&child(from, first), rest, depth),
            // A name that a `use` of the same file has brought in.
            _ => {
                let source = &self.modules[from];
                let named = source.imports.iter().filter(|import| import.name == *first && import.path != path);
                let whole = named.map(|import| [import.path.as_slice(), rest].concat());
                whole.flat_map(|path| self.definition(from, &path, depth + 1)).collect()
            }
        }
    }

    /// Goes down from a module of this crate.
    fn item(&self, module: &Module, path: &[String], depth: usize) -> Vec<Module> {
        let Some(source) = self.modules.get(module) else { return Vec::new() };
        let Some((name, rest)) = path.split_first() else { return vec![module.clone()] };
        let below = [module.as_slice(), std::slice::from_ref(name)].concat();
        if self.modules.contains_key(&below) {
            return self.item(&below, rest, depth);
        }
        if name == "*" {
            let imported = source.imports.iter().flat_map(|import| self.definition(module, &import.path, depth + 1));
            return imported.chain([module.clone()]).collect();
        }
        if source.defines(name) {
            return vec![module.clone()];
        }
        if let Some(import) = source.imports.iter().find(|import| import.name == *name) {
            return self.definition(module, &[import.path.as_slice(), rest].concat(), depth + 1);
        }
        let globs = source.imports.iter().filter(|import| import.name == "*");
        let mut found = globs.flat_map(|import| {
            let path = [&import.path[..import.path.len() - 1], path].concat();
            self.definition(module, &path, depth + 1)
        });
        found
            .find(|module| self.modules[module].defines(name))
            .map_or_else(|| vec![module.clone()], |found| vec![found])
    }

    /// Files that use each other in a circle, each circle once.
    pub fn circles(&self) -> Vec<Vec<&str>> {
        let edges = self.edges();
        let reach = |from: &str| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
            while let Some(file) = open.pop() {
                let next = edges.get(file.as_str()).into_iter().flatten();
                open.extend(next.filter(|next| seen.insert(**next)).map(|next| (*next).to_owned()));
            }
            seen
        };
        let reached: BTreeMap<&str, BTreeSet<&str>> = edges.keys().map(|file| (*file, reach(file))).collect();
        let mut circles = BTreeSet::new();
        for (file, beyond) in reached.iter().filter(|(file, beyond)| beyond.contains(*file)) {
            let circle = beyond.iter().filter(|other| reached[**other].contains(file));
            circles.insert(circle.copied().collect::<Vec<_>>());
        }
        circles.into_iter().collect()
    }
}

impl Source {
    /// Whether an item of this name is written here.
    fn defines(&self, name: &str) -> bool {
        const KINDS: [&str; 8] = ["fn", "struct", "enum", "trait", "const", "static", "type", "macro_rules!"];
        let is_end = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        KINDS.iter().any(|kind| {
            let head = format!("{kind} {name}");
            self.code.match_indices(&head).any(|(at, _)| is_end(&self.code[at + head.len()..]))
        })
    }
}

fn module_of(file: &str) -> Module {
    let stem = file.trim_end_matches(".rs").trim_end_matches("/mod");
    if stem == "lib" || stem == "main" { Vec::new() } else { stem.split('/').map(str::to_owned).collect() }
}

/// The code without comments and without what is there for tests only.
pub fn code_of(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            let indent = &line[..line.len() - line.trim_start().len()];
            let end = format!("{indent}}}");
            let item = lines.by_ref().find(|line| !line.trim_start().starts_with("#["));
            if item.is_some_and(|item| !item.trim_end().ends_with([';', '}'])) {
                lines.by_ref().find(|line| *line == end);
            }
            continue;
        }
        let code = line.split("// ").next().unwrap_or_default();
        if !code.trim_start().starts_with("//") {
            kept.push_str(code);
            kept.push('\n');
        }
    }
    kept
}

/// What the `use` lines bring in, and the code without them.
fn imports_of(code: &str) -> (Vec<Import>, String) {
    let (mut imports, mut rest) = (Vec::new(), String::new());
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let head = line.trim_start();
        let is_public = head.starts_with("pub");
        let body = ["pub ", "pub(crate) ", "pub(super) "].iter().find_map(|word| head.strip_prefix(word));
        let Some(tree) = body.unwrap_or(head).strip_prefix("use ") else {
            // A `mod` line says where a file is, not that anything of it is used.
            if !body.unwrap_or(head).starts_with("mod ") || !head.ends_with(';') {
                rest.push_str(line);
                rest.push('\n');
            }
            continue;
        };
        let mut tree = tree.to_owned();
        while !tree.trim_end().ends_with(';') {
            let Some(next) = lines.next() else { break };
            tree.push_str(next.trim());
        }
        expand(&[], tree.trim().trim_end_matches(';'), is_public, &mut imports);
    }
    (imports, rest)
}

/// Takes a tree of `use` apart.
fn expand(prefix: &[String], tree: &str, is_public: bool, into: &mut Vec<Import>) {
    if let Some((head, group)) = tree.split_once('{') {
        let prefix = [prefix, &segments(head)].concat();
        let group = group.trim_end().strip_suffix('}').unwrap_or(group);
        let (mut depth, mut start) = (0, 0);
        for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(&prefix, group[start..at].trim(), is_public, into);
                    start = (at + 1).min(group.len());
                }
                _ => {}
            }
        }
        return;
    }
    let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias.trim())));
    let mut path = [prefix, &segments(path)].concat();
    if path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let Some(last) = path.last().filter(|_| !tree.is_empty()) else { return };
    let name = alias.map_or_else(|| last.clone(), str::to_owned);
    into.push(Import { path, name, is_public });
}

fn segments(path: &str) -> Module {
    path.split("::").map(|segment| segment.trim().to_owned()).filter(|segment| !segment.is_empty()).collect()
}

/// The paths with `::` that stand in the code.
fn paths_in(code: &str) -> Vec<Module> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code.split(|c| !is_part(c)).filter(|word| word.contains("::") && !word.starts_with(':'));
    words.map(segments).filter(|path| !path.is_empty()).collect()
}

#[test]
fn a_planted_circle_is_found() {
    // A reader that finds nothing anywhere would keep the rule green for ever.
    let one = "//! One.\nuse super::Two;\npub struct One;\n";
    let two = "//! Two.\nuse std::fmt;\n\nuse crate::pair::{One as First, one::Other};\npub struct Two;\n";
    let circle = |two| {
        Crate::read([("lib.rs", "mod pair;\n"), ("pair/mod.rs", PAIR), ("pair/one.rs", one), ("pair/two.rs", two)])
    };
    const PAIR: &str = "mod one;\nmod two;\npub use one::One;\npub use two::*;\n";
    assert_eq!(circle(two).circles(), [["pair/one.rs", "pair/two.rs"]], "through a named re-export and one of all");
    let inline = "pub struct Two;\nfn make() -> super::One {}\n";
    assert_eq!(circle(inline).circles(), [["pair/one.rs", "pair/two.rs"]], "a path in the code is a use");
    let by_module = "use crate::pair::one;\npub struct Two;\nfn make() -> one::One {}\n";
    assert_eq!(circle(by_module).circles(), [["pair/one.rs", "pair/two.rs"]], "through a module's name");
    let tests = "pub struct Two;\n#[cfg(test)]\nmod tests {\n    use super::super::One;\n}\n// crate::pair::One\n";
    assert!(circle(tests).circles().is_empty(), "tests and comments are no uses");
    let parent = Crate::read([
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "mod b;\npub fn x() { b::y() }\n"),
        ("a/b.rs", "use super::x;\npub fn y() {}\n"),
    ]);
    assert_eq!(parent.circles(), [["a/b.rs", "a/mod.rs"]], "a folder's head that calls what calls it");
}
