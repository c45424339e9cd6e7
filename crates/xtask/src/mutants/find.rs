//! What to mutate: found in the source, each with a key that does not change when lines move.

use super::finder::Finder;
use super::syntax::is_off;
use std::collections::BTreeMap;
use syn::visit::Visit;

/// Where the files of annulus-core are.
pub(crate) const SOURCES: &str = "crates/annulus-core/src/";

/// What a mutation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Weakens an ordering one step.
    Ordering,
    /// Removes a fence.
    Fence,
    /// Negates a check, or skips it.
    Check,
    /// Swaps two neighbouring stores.
    Swap,
}

/// One mutation.
#[derive(Clone, Debug)]
pub(crate) struct Mutation {
    /// Its number in the mutated copy, from 1.
    pub(crate) id: u32,
    pub(crate) kind: Kind,
    /// The file, from the folder of the sources.
    pub(crate) file: String,
    /// Where it begins, from 1.
    pub(crate) line: usize,
    /// `file place: what`.
    pub(crate) key: String,
}

/// All mutations, and the files with all of them in.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) mutations: Vec<Mutation>,
    pub(crate) files: BTreeMap<String, String>,
}

/// Finds the mutations of annulus-core, whose files `text` returns by their names from the folder of the sources. Follows
/// the modules from `lib.rs`, so that a module for tests or for loom alone is left out.
///
/// # Errors
///
/// A file that is missing or that cannot be parsed.
pub(crate) fn find(text: &dyn Fn(&str) -> Option<String>) -> Result<Found, String> {
    let mut found = Found::default();
    let mut files = vec!["lib.rs".to_owned()];
    while let Some(module) = files.pop() {
        let candidates = [module.clone(), format!("{module}.rs"), format!("{module}/mod.rs")];
        let there = candidates.into_iter().find_map(|path| text(&path).map(|text| (path, text)));
        let (path, text) = there.ok_or_else(|| format!("{SOURCES}{module} is missing"))?;
        let parsed = syn::parse_file(&text).map_err(|e| format!("{SOURCES}{path}: {e}"))?;
        let mut finder = Finder::new(&path, &text, &mut found.mutations);
        finder.visit_file(&parsed);
        let edited = finder.edits.apply(&text);
        files.extend(modules(&path, &parsed).into_iter().rev());
        found.files.insert(path, edited);
    }
    number_alike(&mut found.mutations);
    Ok(found)
}

/// The modules of a file that are files themselves, without `.rs` or `/mod.rs`.
fn modules(path: &str, file: &syn::File) -> Vec<String> {
    let folder = match path.strip_suffix("lib.rs").or_else(|| path.strip_suffix("mod.rs")) {
        Some(folder) => folder.to_owned(),
        None => format!("{}/", path.trim_end_matches(".rs")),
    };
    let outside = file.items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) if module.content.is_none() && !is_off(&module.attrs) => Some(&module.ident),
        _ => None,
    });
    outside.map(|name| format!("{folder}{name}")).collect()
}

/// Keys that are alike are told apart by a number.
fn number_alike(mutations: &mut [Mutation]) {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for mutation in mutations {
        let n = seen.entry(mutation.key.clone()).or_default();
        *n += 1;
        if *n > 1 {
            mutation.key.push_str(&format!(" #{n}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mutations of one function's file, and the file with them in.
    fn of(text: &str) -> (Vec<String>, String) {
        let found = find(&|name| match name {
            "lib.rs" => Some("pub mod x;".into()),
            "x.rs" => Some(text.into()),
            _ => None,
        });
        let mut found = found.unwrap();
        let keys = found.mutations.into_iter().map(|m| m.key.trim_start_matches("x.rs ").to_owned());
        let text = found.files.remove("x.rs").unwrap();
        assert!(syn::parse_file(&text).is_ok(), "{text}");
        (keys.collect(), text)
    }

    #[test]
    fn orderings_are_weakened_one_step() {
        let (keys, text) = of("impl W {
            fn f(&self) {
                self.0.store(1, Ordering::SeqCst);
                let x = self.0.load(Ordering::Relaxed);
                let x = self.0.load(Ordering::Acquire);
                let x = self.0.swap(1, Ordering::AcqRel);
                let x = self.0.fetch_add(1, Ordering::SeqCst);
            }
        }");
        let wanted = [
            "W::f: store SeqCst weakened to Release",
            "W::f: load Acquire weakened to Relaxed",
            "W::f: swap AcqRel weakened to Acquire",
            "W::f: swap AcqRel weakened to Release",
            "W::f: fetch_add SeqCst weakened to AcqRel",
        ];
        assert_eq!(keys, wanted);
        assert!(
            text.contains("store(1, crate::mutant::ordering(1, Ordering::SeqCst, Ordering::Release))"),
            "{text}"
        );
    }

    #[test]
    fn orderings_in_macros_are_found() {
        let (keys, _) =
            of("macro_rules! w { ($a:ident) => { fn f(&self) { self.0.load(Ordering::Acquire) } } }");
        assert_eq!(keys, [": load Acquire weakened to Relaxed"]);
    }

    #[test]
    fn fences_are_removed() {
        let (keys, text) = of("fn f(park: &impl Park, light: Light) -> u32 {
            match light { Light::No => {} Light::Yes => full_fence(), }
            let did = park.heavy(); g();
            fence(Ordering::Acquire);
            crate::fence(Ordering::SeqCst);
            0
        }");
        let wanted = [
            "f: full_fence() removed",
            "f: heavy() removed",
            "f: fence(Acquire) removed",
            "f: fence(SeqCst) removed",
            "f: fence(SeqCst) weakened to AcqRel",
        ];
        let orders: Vec<_> = keys.iter().filter(|k| !k.contains("swapped")).collect();
        assert_eq!(orders, wanted.iter().collect::<Vec<_>>());
        assert!(text.contains("let did = (if crate::mutant::on("), "{text}");
        assert!(text.contains("Light::Yes => (if !crate::mutant::on("), "{text}");
    }

    #[test]
    fn checks_of_shared_values_are_negated_and_skipped() {
        let (keys, text) = of("fn f(page: &Page, own: u64) -> bool {
            if own > 1 { return false; }
            let seen = page.tail.look();
            let late = seen + 1;
            if late > own { g(); }
            page.more.peek() != 0 && own < 3
        }");
        let all = |check: &str| {
            ["negated", "always true", "always false"].map(|what| format!("f: check `{check}` {what}"))
        };
        let mut wanted: Vec<String> = all("page.more.peek() != 0 && own < 3").into();
        // `own < 3` alone depends on nobody; the other operand decides alone, or is negated.
        wanted.extend(["negated", "always true"].map(|w| format!("f: check `page.more.peek() != 0` {w}")));
        wanted.extend(all("late > own"));
        assert_eq!(keys, wanted);
        assert!(text.contains("if crate::mutant::check(6, 7, 8, late > own) {"), "{text}");
    }

    #[test]
    fn checks_stand_in_many_places() {
        let places = [
            "fn f(p: &P) { while p.w.look() == 0 {} }",
            "fn f(p: &P) { match 1 { n if p.w.look() == n => {} _ => {} } }",
            "fn f(p: &P) { let ok = p.w.look() == 0; }",
            "fn f(p: &P) -> Option<u8> { (p.w.take()).then_some(1) }",
            "fn f(p: &P) -> bool { let x = p.w.look().is_some_and(|w| w.g()); }",
            "fn f(p: &P) -> bool { unsafe { p.w.take() } }",
            "fn f(header: u64) { if header == 0 {} }",
            "fn f(s: &S) { if s.spot.position == 0 {} }",
            "fn f(p: &P) { let mut n = 0; loop { if n > 1 {} n = p.w.look(); } }",
        ];
        for place in places {
            let (keys, _) = of(place);
            assert_eq!(keys.len(), 3, "{place}: {keys:?}");
        }
        let (keys, text) = of("fn f(p: &P) { if let Some(w) = p.w.peek() && w > 1 {} }");
        assert_eq!(keys.len(), 3, "{keys:?}");
        assert!(keys[2].ends_with("check `let Some(w) = p.w.peek()` never matches"), "{keys:?}");
        assert!(text.contains("check(1, 2, 0, w > 1) && !crate::mutant::on(3) {"), "{text}");
        let (keys, _) = of("fn f(p: &P) -> bool { p.a.look() == 1 || p.b.look() == 2 || p.c.look() == 3 }");
        // The whole three ways, each operand two: no part of the chain is a check of its own.
        assert_eq!(keys.len(), 9, "{keys:?}");
    }

    #[test]
    fn neighbouring_stores_are_swapped() {
        let (keys, text) = of("fn f(p: &P) {
            p.a.publish(1); p.b.publish(2);
            if true { p.c.clear(); }
            let x = 1;
            p.d.publish(x);
            p.e.set(1);
            p.state.set(1);
            p.f.preset(1); p.g.preset(2);
            let had = p.h.take(); p.i.move_on(); p.j.wake();
            let had = p.k.take(); p.l.clear(had);
        }");
        let wanted = [
            "f: swapped `p.a.publish(1)` and `p.b.publish(2)`",
            "f: swapped `p.b.publish(2)` and `if true { p.c.clear(); }`",
            "f: swapped `p.state.set(1)` and `p.f.preset(1)`",
            "f: swapped `let had = p.h.take()` and `p.i.move_on()`",
            "f: swapped `p.i.move_on()` and `p.j.wake()`",
        ];
        assert_eq!(keys, wanted);
        assert!(text.contains("if crate::mutant::on(1) { p.b.publish(2); p.a.publish(1); if true"), "{text}");
        assert!(text.contains("} else { p.a.publish(1); p.b.publish(2);"), "{text}");
        let overtaken =
            "let had = { if crate::mutant::on(4) { p.i.move_on(); } p.h.take() }; if crate::mutant::on(5)";
        assert!(
            text.contains(overtaken) && text.contains("if !crate::mutant::on(4) { p.i.move_on(); }"),
            "{text}"
        );
    }

    #[test]
    fn what_is_not_the_library_as_it_is_used_is_left_alone() {
        let (keys, _) = of("#[cfg(test)] mod tests { fn f(p: &P) { fence(Ordering::Acquire); } }
            #[cfg(loom)] fn g() { fence(Ordering::Acquire); }
            #[cfg(all(loom, test))] fn g() { fence(Ordering::Acquire); }
            #[cfg(any(loom, fuzzing))] impl X { fn g() { fence(Ordering::Acquire); } }
            const fn h(header: u64) -> bool { header == 0 }
            fn i() { #[cfg(loom)] fence(Ordering::Acquire); }");
        assert_eq!(keys, Vec::<String>::new());
        let (keys, _) = of("#[cfg(not(loom))] fn g() { fence(Ordering::Acquire); }");
        assert_eq!(keys.len(), 1);
        let missing = find(&|name| (name == "lib.rs").then(|| "#[cfg(fuzzing)] mod a; mod b;".into()));
        assert!(missing.unwrap_err().contains("src/b is missing"));
    }

    #[test]
    fn keys_do_not_move_with_lines() {
        let text = "fn f() { fence(Ordering::Acquire); g(); fence(Ordering::Acquire); }";
        let (keys, _) = of(text);
        assert_eq!(keys, ["f: fence(Acquire) removed", "f: fence(Acquire) removed #2"]);
        assert_eq!(of(&format!("\n// x\n{}", text.replace("; ", ";\n"))).0, keys);
    }

    #[test]
    fn this_repository_has_its_mutations() {
        let root = crate::process::root().join(SOURCES);
        let found = find(&|name| std::fs::read_to_string(root.join(name)).ok()).unwrap();
        for key in [
            "words.rs Header::publish: store Release weakened to Relaxed",
            "words.rs full_fence: fence(SeqCst) removed",
        ] {
            assert!(found.mutations.iter().any(|m| m.key == key), "{key}");
        }
        let parsed = found.files.values().all(|text| syn::parse_file(text).is_ok());
        assert!(
            parsed && found.mutations.len() > 300 && found.mutations.len() < 4096,
            "{}",
            found.mutations.len()
        );
    }
}
