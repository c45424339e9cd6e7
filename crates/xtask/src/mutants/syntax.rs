//! What pieces of syntax are: kept or not, a store, a chain of operands.

use proc_macro2::Span;
use std::ops::Range;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, BinOp, Expr, Stmt};

/// Calls that are fences, or end in one.
pub(super) const FENCES: [&str; 6] =
    ["fence", "compiler_fence", "full_fence", "light_fence", "before_looking", "heavy"];

/// Calls that store what other processes see, or make system calls that they notice.
const STORES: [&str; 35] = [
    "advance",
    "announce",
    "clear",
    "compare_exchange",
    "complete",
    "count",
    "declare",
    "fetch_add",
    "fetch_or",
    "grant",
    "hold",
    "join",
    "leave",
    "leave_again",
    "leave_all",
    "leave_staged",
    "merge",
    "move_on",
    "occupy",
    "post",
    "prepare",
    "preset",
    "publish",
    "raise",
    "release",
    "stack",
    "store",
    "swap",
    "take",
    "take_again",
    "vacate",
    "wake",
    "wake_producer",
    "withdraw",
    "write",
];

/// What does not exist in the library as it is used.
const OFF: [&str; 4] = ["test", "loom", "fuzzing", "annulus_faults"];

/// Whether `#[cfg(..)]` keeps something out of the library as it is used.
pub(super) fn is_off(attrs: &[Attribute]) -> bool {
    fn off(meta: &syn::Meta) -> bool {
        match meta {
            syn::Meta::Path(path) => OFF.iter().any(|name| path.is_ident(name)),
            syn::Meta::List(list) if list.path.is_ident("all") => parts(list).iter().any(off),
            syn::Meta::List(list) if list.path.is_ident("any") => parts(list).iter().all(off),
            _ => false,
        }
    }
    fn parts(list: &syn::MetaList) -> Vec<syn::Meta> {
        let parser = syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated;
        list.parse_args_with(parser).map(|list| list.into_iter().collect()).unwrap_or_default()
    }
    attrs.iter().any(|attr| {
        attr.path().is_ident("test")
            || attr.path().is_ident("cfg") && attr.parse_args::<syn::Meta>().is_ok_and(|meta| off(&meta))
    })
}

/// The attributes of an expression that may have some.
pub(super) fn attrs(expr: &Expr) -> &[Attribute] {
    match expr {
        Expr::Assign(e) => &e.attrs,
        Expr::Block(e) => &e.attrs,
        Expr::Call(e) => &e.attrs,
        Expr::ForLoop(e) => &e.attrs,
        Expr::If(e) => &e.attrs,
        Expr::Loop(e) => &e.attrs,
        Expr::Match(e) => &e.attrs,
        Expr::MethodCall(e) => &e.attrs,
        Expr::Return(e) => &e.attrs,
        Expr::Unsafe(e) => &e.attrs,
        Expr::While(e) => &e.attrs,
        _ => &[],
    }
}

/// The range of a piece of syntax in its file.
pub(super) fn range(syntax: &impl Spanned) -> Range<usize> {
    syntax.span().byte_range()
}

/// Without parentheses around.
pub(super) fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(paren) => bare(&paren.expr),
        Expr::Group(group) => bare(&group.expr),
        _ => expr,
    }
}

/// What is joined by one kind of operator, `&&` or `||`.
pub(super) fn operands<'e>(expr: &'e Expr, op: &BinOp, found: &mut Vec<&'e Expr>) {
    let expr = bare(expr);
    match expr {
        Expr::Binary(binary) if std::mem::discriminant(&binary.op) == std::mem::discriminant(op) => {
            operands(&binary.left, op, found);
            operands(&binary.right, op, found);
        }
        _ => found.push(expr),
    }
}

/// One step weaker.
pub(super) fn weaker(call: &str, ordering: &str) -> &'static [&'static str] {
    match (call, ordering) {
        ("fence" | "compiler_fence", "Acquire" | "Release") => &[], // its removal
        ("store", "SeqCst") => &["Release"],
        ("load", "SeqCst") => &["Acquire"],
        (_, "SeqCst") => &["AcqRel"],
        (_, "AcqRel") => &["Acquire", "Release"],
        (_, "Acquire" | "Release") => &["Relaxed"],
        _ => &[],
    }
}

/// The names that a `let` binds.
pub(super) fn bound(pat: &syn::Pat) -> Vec<String> {
    struct Binds(Vec<String>);
    impl<'ast> Visit<'ast> for Binds {
        fn visit_pat_ident(&mut self, pat: &'ast syn::PatIdent) {
            self.0.push(pat.ident.to_string());
            visit::visit_pat_ident(self, pat);
        }
    }
    let mut binds = Binds(Vec::new());
    binds.visit_pat(pat);
    binds.0
}

/// Whether a statement, or the value of a `let`, stores what others see, and whether it does so by presetting alone.
pub(super) fn stores(stmt: &Stmt) -> Option<bool> {
    struct Stores {
        presets: bool,
        others: bool,
    }
    impl<'ast> Visit<'ast> for Stores {
        fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
            let name = call.method.to_string();
            // The state's verb has the name of a cell's.
            let is_state = name == "set"
                && matches!(&*call.receiver, Expr::Field(field)
                    if matches!(&field.member, syn::Member::Named(name) if name == "state"));
            self.presets |= name == "preset";
            self.others |= name != "preset" && is_call_of(&name) || is_state;
            visit::visit_expr_method_call(self, call);
        }
        fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
            self.others |= called(&call.func).is_some_and(|name| is_call_of(&name));
            visit::visit_expr_call(self, call);
        }
    }
    fn is_call_of(name: &str) -> bool {
        STORES.contains(&name) || FENCES.contains(&name)
    }
    let (expr, semicolon) = match stmt {
        Stmt::Expr(expr, semicolon) => (expr, semicolon.is_some()),
        Stmt::Local(syn::Local { init: Some(init), attrs, .. })
            if attrs.is_empty() && init.diverge.is_none() =>
        {
            (&*init.expr, true)
        }
        _ => return None,
    };
    let is_unit = match expr {
        Expr::ForLoop(_) | Expr::While(_) => true,
        Expr::If(expr) => expr.else_branch.is_none(),
        _ => false,
    };
    if !attrs(expr).is_empty() || !semicolon && !is_unit {
        return None;
    }
    let mut found = Stores { presets: false, others: false };
    found.visit_expr(expr);
    (found.presets || found.others).then_some(!found.others)
}

/// The name of the function that is called.
pub(super) fn called(function: &Expr) -> Option<String> {
    match function {
        Expr::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        _ => None,
    }
}

/// Whether a condition has a `let` in it.
pub(super) fn has_let(expr: &Expr) -> bool {
    let mut parts = Vec::new();
    operands(expr, &BinOp::And(syn::Token![&&](Span::call_site())), &mut parts);
    parts.iter().any(|part| matches!(part, Expr::Let(_)))
}
