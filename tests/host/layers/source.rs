//! The source files as syntax trees, and what each of them names.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{Attribute, Item, UseTree, Visibility, spanned::Spanned, visit::Visit};

/// Segments of a path. One that begins in the crate begins with `crate`.
pub type Segments = Vec<String>;

/// A source file without its tests.
#[derive(Default)]
pub struct Source {
    /// Below `src`: `app/list.rs`.
    pub file: String,
    /// Number of lines, tests included.
    pub lines: usize,
    /// Path of the module: `[crate, app, list]`.
    pub module: Segments,
    /// All paths that it names: `crate`, `self` and `super` are resolved; others are as written.
    pub paths: BTreeSet<Segments>,
    /// Macros that it calls, by the last segment.
    pub macros: BTreeSet<String>,
    /// Names of the fields that it accesses.
    pub fields: BTreeSet<String>,
    /// Whether it has `async` or `.await`.
    pub is_async: bool,
    /// Whether it has `unsafe`.
    pub is_unsafe: bool,
    /// Private imports of other modules in order, those behind an attribute excepted.
    pub imports: Vec<Import>,
    /// Names and lengths of functions longer than a screen.
    pub functions: Vec<(String, usize)>,
    /// Names that it defines.
    defined: BTreeSet<String>,
    /// Names that it imports, private ones included, and where they come from.
    imported: BTreeMap<String, Segments>,
    /// Modules of which it imports everything.
    globs: Vec<Segments>,
    /// Paths that it re-exports only.
    exported: BTreeSet<Segments>,
}

/// A `use` declaration.
pub struct Import {
    pub first_line: usize,
    pub last_line: usize,
    /// The first segment as written.
    pub root: String,
}

/// Lines of a function that still fits on a screen.
const SCREEN: usize = 60;

/// All files of `src`, but those of unit tests.
pub fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(read_sources);
    &SOURCES
}

fn read_sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let files = files.into_iter().map(|path| {
        let file = path.strip_prefix(&root).unwrap().to_str().unwrap();
        Source::parse(file, &fs::read_to_string(&path).unwrap())
    });
    files.collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().unwrap() == "tests" {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

// === impl Source ===

impl Source {
    pub fn parse(file: &str, text: &str) -> Self {
        let mut module = vec!["crate".to_owned()];
        let stem = file.strip_suffix(".rs").unwrap();
        module.extend(stem.split('/').map(str::to_owned));
        if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
            module.pop();
        }
        let tree = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut source = Self {
            file: file.to_owned(),
            lines: text.lines().count(),
            module: module.clone(),
            ..Self::default()
        };
        let children = tree.items.iter().filter_map(|item| match item {
            Item::Mod(module) if module.content.is_none() => Some(module.ident.to_string()),
            _ => None,
        });
        source.defined = tree
            .items
            .iter()
            .filter_map(defined)
            .map(ToString::to_string)
            .collect();
        let mut reader = Reader {
            children: children.collect(),
            module,
            source: &mut source,
        };
        reader.visit_file(&tree);
        source
    }

    /// The module below the crate: `app`.
    pub fn layer(&self) -> &str {
        self.module.get(1).map_or("lib", String::as_str)
    }

    /// Modules below the crate that it names.
    pub fn layers_named(&self) -> BTreeSet<&str> {
        let in_crate = |path: &&Segments| path[0] == "crate";
        let paths = self.paths.iter().filter(in_crate);
        paths
            .filter_map(|path| path.get(1))
            .map(String::as_str)
            .collect()
    }

    /// Whether it names this external crate.
    pub fn names_crate(&self, name: &str) -> bool {
        self.paths.iter().any(|path| path[0] == name)
    }
}

/// The files that each file names an item of. Re-exports of a module's children do not count.
pub fn references(sources: &[Source]) -> BTreeMap<&str, BTreeSet<&str>> {
    let modules: BTreeMap<_, _> = sources
        .iter()
        .map(|source| (source.module.as_slice(), source))
        .collect();
    let edges = sources.iter().map(|source| {
        let paths = source
            .paths
            .iter()
            .filter(|path| path[0] == "crate" && !source.exported.contains(*path));
        let files = paths.filter_map(|path| Some(resolve(&modules, path, 8)?.file.as_str()));
        let others = files.filter(|file| *file != source.file).collect();
        (source.file.as_str(), others)
    });
    edges.collect()
}

/// The file that defines what a path names, through re-exports.
fn resolve<'s>(
    modules: &BTreeMap<&[String], &'s Source>,
    path: &[String],
    depth: usize,
) -> Option<&'s Source> {
    let length = (1..=path.len())
        .rev()
        .find(|length| modules.contains_key(&path[..*length]))?;
    let source = modules[&path[..length]];
    let Some(name) = path.get(length).filter(|_| depth > 0) else {
        return Some(source);
    };
    if source.defined.contains(name) {
        return Some(source);
    }
    if let Some(target) = source.imported.get(name) {
        let target: Vec<_> = target.iter().chain(&path[length + 1..]).cloned().collect();
        return resolve(modules, &target, depth - 1);
    }
    let in_glob = source.globs.iter().find_map(|glob| {
        let inside: Vec<_> = glob.iter().chain(&path[length..]).cloned().collect();
        let found = resolve(modules, &inside, depth - 1)?;
        found.defined.contains(name).then_some(found)
    });
    Some(in_glob.unwrap_or(source))
}

/// Collects what a file names.
struct Reader<'s> {
    /// The modules below it that are files.
    children: BTreeSet<String>,
    /// That of the file, or of the module in it that is being read.
    module: Segments,
    source: &'s mut Source,
}

// === impl Reader ===

impl Reader<'_> {
    /// Resolves `self`, `super` and names of the file's child modules.
    fn absolute(&self, path: &[String]) -> Segments {
        let mut result = self.module.clone();
        match path[0].as_str() {
            "crate" => return path.to_vec(),
            "self" | "super" => {}
            child if self.children.contains(child) && self.module == self.source.module => {}
            _ => return path.to_vec(),
        }
        for segment in path {
            match segment.as_str() {
                "self" => {}
                "super" => drop(result.pop()),
                _ => result.push(segment.clone()),
            }
        }
        result
    }

    fn name(&mut self, path: Segments) {
        if !path.is_empty() {
            let path = self.absolute(&path);
            self.source.paths.insert(path);
        }
    }

    fn import(&mut self, tree: &UseTree, before: &Segments, is_public: bool) {
        let mut path = before.clone();
        let (name, path) = match tree {
            UseTree::Path(tree) => {
                path.push(tree.ident.to_string());
                return self.import(&tree.tree, &path, is_public);
            }
            UseTree::Group(tree) => {
                for tree in &tree.items {
                    self.import(tree, before, is_public);
                }
                return;
            }
            UseTree::Glob(_) => (None, path),
            UseTree::Name(tree) if tree.ident == "self" => (path.last().cloned(), path),
            UseTree::Name(tree) => {
                path.push(tree.ident.to_string());
                (path.last().cloned(), path)
            }
            UseTree::Rename(tree) => {
                if tree.ident != "self" {
                    path.push(tree.ident.to_string());
                }
                (Some(tree.rename.to_string()), path)
            }
        };
        let path = self.absolute(&path);
        let is_child =
            path.len() > self.source.module.len() && path.starts_with(&self.source.module);
        if is_public && is_child {
            self.source.exported.insert(path.clone());
        }
        match name {
            Some(name) => drop(self.source.imported.insert(name, path.clone())),
            None => self.source.globs.push(path.clone()),
        }
        self.source.paths.insert(path);
    }

    /// Paths, macros and keywords in what a macro is given.
    fn tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (Segments::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    let ident = ident.to_string();
                    match ident.as_str() {
                        "async" | "await" => self.source.is_async = true,
                        "unsafe" => self.source.is_unsafe = true,
                        _ => {}
                    }
                    if colons != 2 {
                        self.name_long(std::mem::take(&mut path));
                    }
                    path.push(ident);
                    colons = 0;
                }
                TokenTree::Punct(sign) if sign.as_char() == ':' => colons += 1,
                other => {
                    if matches!(&other, TokenTree::Punct(sign) if sign.as_char() == '!')
                        && let Some(name) = path.last()
                    {
                        self.source.macros.insert(name.clone());
                    }
                    self.name_long(std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        let mut inside = group.stream().into_iter();
                        // `pub(in crate::x)` names no item of `x`.
                        let is_visibility =
                            matches!(inside.next(), Some(TokenTree::Ident(first)) if first == "in");
                        if !is_visibility {
                            self.tokens(group.stream());
                        }
                    }
                }
            }
        }
        self.name_long(path);
    }

    /// Names a path, not a single word.
    fn name_long(&mut self, path: Segments) {
        if path.len() > 1 {
            self.name(path);
        }
    }

    fn function(&mut self, name: &syn::Ident, span: proc_macro2::Span) {
        let lines = span.end().line - span.start().line + 1;
        if lines > SCREEN {
            self.source.functions.push((name.to_string(), lines));
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("test"))
    })
}

fn defined(item: &Item) -> Option<&syn::Ident> {
    Some(match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Mod(item) if item.content.is_some() => &item.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    })
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Const(item) => &item.attrs,
            Item::Struct(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if is_test(attributes) {
            return;
        }
        syn::visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if is_test(&item.attrs) {
            return;
        }
        self.function(&item.sig.ident, item.block.span());
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig.ident, item.block.span());
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_some() {
            self.module.push(item.ident.to_string());
            syn::visit::visit_item_mod(self, item);
            self.module.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_public = !matches!(item.vis, Visibility::Inherited);
        self.import(&item.tree, &Segments::new(), is_public);
        if !is_public && item.attrs.is_empty() && self.module == self.source.module {
            let root = match &item.tree {
                UseTree::Path(tree) => tree.ident.to_string(),
                UseTree::Name(tree) => tree.ident.to_string(),
                UseTree::Rename(tree) => tree.ident.to_string(),
                UseTree::Glob(_) | UseTree::Group(_) => String::new(),
            };
            // Names of the file itself: `use Kind::*`, `use child::Item`.
            let source = &self.source;
            if source.imported.contains_key(&root)
                || source.defined.contains(&root)
                || self.children.contains(&root)
            {
                return;
            }
            self.source.imports.push(Import {
                first_line: item.span().start().line,
                last_line: item.span().end().line,
                root,
            });
        }
    }

    // `pub(in crate::x)` names no item of `x`.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Segments = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        self.name_long(segments);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(last) = call.path.segments.last() {
            self.source.macros.insert(last.ident.to_string());
        }
        self.tokens(call.tokens.clone());
        syn::visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
        self.source.is_unsafe |= attribute.path().is_ident("unsafe");
        syn::visit::visit_attribute(self, attribute);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.source.is_async |= signature.asyncness.is_some();
        self.source.is_unsafe |= matches!(signature.safety, syn::Safety::Unsafe(_));
        syn::visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.source.is_async = true;
        syn::visit::visit_expr_async(self, block);
    }

    fn visit_expr_field(&mut self, field: &'ast syn::ExprField) {
        if let syn::Member::Named(name) = &field.member {
            self.source.fields.insert(name.to_string());
        }
        syn::visit::visit_expr_field(self, field);
    }

    fn visit_expr_await(&mut self, expression: &'ast syn::ExprAwait) {
        self.source.is_async = true;
        syn::visit::visit_expr_await(self, expression);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.source.is_unsafe = true;
        syn::visit::visit_expr_unsafe(self, block);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.source.is_unsafe |= item.unsafety.is_some();
        syn::visit::visit_item_impl(self, item);
    }
}
