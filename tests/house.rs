//! How the source is laid out: which layer may use which, no circles among the values, and file names for every system.
//!
//! It reads the text of `src`, as rustfmt leaves it. Parts for tests only (files and folders named `tests`, items under
//! `#[cfg(test)]`) may use what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A layer: the modules of `src` that are in it, and the layers that they may use besides each other.
struct Layer {
    name: &'static str,
    modules: &'static [&'static str],
    uses: &'static [&'static str],
}

/// The layers, lowest first. A new module of the crate's root has its place here, or the test fails.
const LAYERS: [Layer; 8] = [
    // Ids, limits, typed errors, keys, what is told; time and randomness as values.
    Layer {
        name: "values",
        modules: &[
            "address", "config", "connect", "error", "event", "gateway", "id", "identity", "job", "note",
            "random", "reach", "socket", "text", "time", "unl",
        ],
        uses: &[],
    },
    // Bytes to values and back.
    Layer { name: "wire", modules: &["wire"], uses: &["values"] },
    // State machines: everything that decides something.
    Layer { name: "proto", modules: &["proto"], uses: &["values", "wire"] },
    // The machines put together.
    Layer { name: "node", modules: &["node"], uses: &["values", "wire", "proto"] },
    // The operating system.
    Layer { name: "io", modules: &["io"], uses: &["values"] },
    // A virtual transport under the same engine and nodes, with a virtual clock; for tests only.
    Layer { name: "sim", modules: &["sim"], uses: &["values", "wire", "proto", "node"] },
    // The facade that joins `node` and `io`.
    Layer { name: "net", modules: &["net"], uses: &["values", "wire", "proto", "node", "io"] },
    // Entrances for fuzzing.
    Layer { name: "fuzz", modules: &["fuzz"], uses: &["values", "wire", "proto", "node", "io"] },
];

/// The tool is not in the table: it is a crate of its own, which the compiler keeps to the public API.
const NO_LAYER: [&str; 2] = ["lib", "bin"];

#[test]
fn each_layer_uses_only_those_that_it_may() {
    let mut wrong = Vec::new();
    for (module, files) in modules() {
        for (file, text) in files {
            let imports = imports(&text, depth(&file));
            wrong.extend(
                forbidden(&module, &imports).into_iter().map(|why| format!("{}: {why}", file.display())),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn values_do_not_import_each_other_in_a_circle() {
    let all = modules();
    let graph = LAYERS[0]
        .modules
        .iter()
        .map(|&module| {
            let files = all.get(module).unwrap_or_else(|| panic!("{module} is in the table, and not in src"));
            let imports: BTreeSet<String> =
                files.iter().flat_map(|(file, text)| imports(text, depth(file))).collect();
            (module.to_owned(), imports)
        })
        .collect();
    assert_eq!(circle(&graph), None);
}

#[test]
fn every_system_can_have_the_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names: Vec<PathBuf> = files(root, &["target", ".git"]);
    assert!(
        names.iter().any(|file| file.ends_with("tests/house.rs")),
        "the package was not found: {names:?}"
    );
    let bad: Vec<_> = names
        .iter()
        .filter(|file| {
            let within = file.strip_prefix(root).expect("it was found there");
            within.components().any(|part| is_bad_on_windows(&part.as_os_str().to_string_lossy()))
        })
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = "
//! crate::comment::X
use std::fmt;
use crate::address::{A, B};
pub(crate) use crate::{
    config::{self, links::C},
    connect,
};
use super::super::unl::D;
use super::sibling;
use self::child::E;

fn f() -> crate::event::F {
    g() // crate::comment
}

#[cfg(test)]
use crate::wire::G;
#[cfg(not(test))]
use crate::gateway::H;
impl X {
    #[cfg(test)]
    fn only_for_tests() {
        crate::wire::g();
    }

    /// [`crate::comment`]
    fn i() {
        crate::id::i();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use crate::wire::*;
}
";
    let found = imports(text, 2);
    assert_eq!(
        found.iter().map(String::as_str).collect::<Vec<_>>(),
        ["address", "config", "connect", "event", "gateway", "id", "unl"]
    );
    assert!(!imports(text, 3).contains("unl"), "three levels down that is no module of the root");
}

#[test]
fn a_layer_that_uses_a_higher_one_is_found() {
    let imports = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    for (module, fits) in [
        ("config", &["reach", "id"][..]),
        ("wire", &["config", "wire"]),
        ("net", &["io", "node"]),
        ("io", &["reach"]),
    ] {
        assert_eq!(forbidden(module, &imports(fits)), [""; 0], "{module}");
    }
    for (module, above) in [
        ("config", "wire"),
        ("wire", "proto"),
        ("proto", "node"),
        ("io", "node"),
        ("node", "io"),
        ("sim", "net"),
    ] {
        assert_eq!(forbidden(module, &imports(&["reach", above])).len(), 1, "{module} uses {above}");
    }
    assert_eq!(
        forbidden("node", &imports(&["Config"])).len(),
        1,
        "a name of the root hides where it is from"
    );
    assert_eq!(forbidden("misc", &imports(&[])).len(), 1, "a module that is in no layer");
}

#[test]
fn circles_are_found() {
    let graph = |edges: &[(&str, &[&str])]| {
        edges
            .iter()
            .map(|&(from, to)| (from.to_owned(), to.iter().map(|&to| to.to_owned()).collect()))
            .collect()
    };
    assert_eq!(circle(&graph(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])), None);
    assert_eq!(circle(&graph(&[("a", &["a", "b"]), ("b", &["b"])])), None, "a module may name itself");
    let found = circle(&graph(&[("a", &["b"]), ("b", &["c"]), ("c", &["d"]), ("d", &["b"])]));
    assert_eq!(found, Some(["b", "c", "d", "b"].map(str::to_owned).to_vec()));
}

#[test]
fn names_that_windows_keeps_for_itself_are_known() {
    for bad in
        ["con.rs", "Con", "aux", "NUL.tar.gz", "com1.rs", "lpt9", "prn.md", "a:b", "what?", "dot.", "space "]
    {
        assert!(is_bad_on_windows(bad), "{bad:?}");
    }
    for good in ["connection.rs", "cons.rs", "common", "com.rs", "com10.rs", ".ci", "auxiliary.rs", "null"] {
        assert!(!is_bad_on_windows(good), "{good:?}");
    }
}

/// The modules of the crate's root, each with its files and their texts; without those for tests only.
fn modules() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for file in files(&src, &["tests"]) {
        let within = file.strip_prefix(&src).expect("it was found there").to_owned();
        let first = within.components().next().expect("it has a name").as_os_str().to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        if within.ends_with("tests.rs") || NO_LAYER.contains(&module.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        modules.entry(module).or_default().push((within, text));
    }
    modules
}

/// All files of a folder, and of those in it but the ones named.
fn files(folder: &Path, without: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.expect("the folder can be read");
        if !entry.file_type().expect("it is there").is_dir() {
            found.push(entry.path());
        } else if !without.iter().any(|&name| entry.file_name() == name) {
            found.extend(files(&entry.path(), without));
        }
    }
    found.sort();
    found
}

/// How many levels below the crate's root a file's module is.
fn depth(within: &Path) -> usize {
    within.components().count() - usize::from(within.ends_with("mod.rs"))
}

/// What this module uses and may not, in words.
fn forbidden(module: &str, imports: &BTreeSet<String>) -> Vec<String> {
    let Some(layer) = layer_of(module) else { return vec![format!("{module} has no layer")] };
    let complaint = |import: &String| match layer_of(import) {
        Some(other) if other.name == layer.name || layer.uses.contains(&other.name) => None,
        Some(other) => Some(format!("{} may not use {import}, of {}", layer.name, other.name)),
        None => Some(format!("crate::{import} is no module that has a layer")),
    };
    imports.iter().filter_map(complaint).collect()
}

fn layer_of(module: &str) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.modules.contains(&module))
}

/// The modules of the crate's root that a file names, by `crate::` or by enough `super::`, in imports or elsewhere.
fn imports(text: &str, depth: usize) -> BTreeSet<String> {
    let code = without_tests(text);
    let by_super = "super::".repeat(depth);
    let mut found = after(&code, "crate::");
    // What a module inside of the file gets from the file looks the same: only what has a layer counts.
    found.extend(after(&code, &by_super).into_iter().filter(|name| layer_of(name).is_some()));
    found
}

/// The first names behind each place where the path begins so: one, or those of a group in braces.
fn after(code: &str, path: &str) -> BTreeSet<String> {
    let is_part_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | ':');
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(path) {
        if code[..at].ends_with(is_part_of_name) {
            continue;
        }
        let rest = &code[at + path.len()..];
        let mut level = 0;
        let mut is_first = true;
        let mut name = String::new();
        for c in rest.chars() {
            match c {
                '{' => level += 1,
                '}' => level -= 1,
                ',' if level == 1 => is_first = true,
                c if is_part_of_name(c) && c != ':' && is_first && level <= 1 => {
                    name.push(c);
                    continue;
                }
                _ => {}
            }
            if !name.is_empty() {
                found.insert(std::mem::take(&mut name));
                is_first = c == ',' && level == 1;
            }
            if level == 0 {
                break;
            }
        }
    }
    found.remove("super");
    found.remove("self");
    found
}

/// Without comments, and without what is compiled for tests only: an item ends where its first line does, or with the
/// brace that is indented as it is.
fn without_tests(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    while let Some(line) = lines.next() {
        if !is_for_tests(line) {
            code += line.split_once(" // ").map_or(line, |(code, _)| code);
            code.push('\n');
            continue;
        }
        let indent = indent_of(line);
        let mut item = lines.by_ref().skip_while(|line| line.trim_start().starts_with("#["));
        let first = item.next().unwrap_or_default();
        if !first.ends_with([';', ',', '}']) {
            let _ =
                item.find(|line| indent_of(line) == indent && line.trim_start().starts_with(['}', ')', ']']));
        }
    }
    code
}

fn is_for_tests(line: &str) -> bool {
    let line = line.trim_start();
    let words = || line.split(|c: char| !c.is_alphanumeric());
    line.starts_with("#[cfg(")
        && words().any(|word| matches!(word, "test" | "doctest"))
        && !line.contains("not(test")
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// A circle, as a walk along it that ends where it began.
fn circle(graph: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk<'g>(
        from: &'g String,
        graph: &'g BTreeMap<String, BTreeSet<String>>,
        way: &mut Vec<&'g String>,
        done: &mut BTreeSet<&'g String>,
    ) -> Option<Vec<String>> {
        if let Some(begin) = way.iter().position(|&passed| passed == from) {
            return Some(way[begin..].iter().copied().chain([from]).cloned().collect());
        }
        if !done.insert(from) {
            return None;
        }
        way.push(from);
        let next = graph.get(from).into_iter().flatten().filter(|&to| to != from);
        let found = next.into_iter().find_map(|to| walk(to, graph, way, done));
        way.pop();
        found
    }
    let mut done = BTreeSet::new();
    graph.keys().find_map(|from| walk(from, graph, &mut Vec::new(), &mut done))
}

/// Windows keeps the names of its devices for itself, whatever comes behind a dot, and some characters (Microsoft, "Naming
/// Files, Paths, and Namespaces").
fn is_bad_on_windows(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let is_device = matches!(stem.as_str(), "con" | "prn" | "aux" | "nul" | "conin$" | "conout$")
        || ["com", "lpt"].iter().any(|device| {
            stem.strip_prefix(device).is_some_and(|rest| rest.chars().count() == 1 && rest.contains(is_digit))
        });
    is_device
        || name.ends_with(['.', ' '])
        || name.contains(|c: char| "<>:\"/\\|?*".contains(c) || c.is_control())
}

/// The three that are raised count as well.
fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || "\u{b9}\u{b2}\u{b3}".contains(c)
}
