//! One file's mutations, each with the text that is put around its place.

use super::edit::Edits;
use super::find::{Kind, Mutation};
use super::shared::Names;
use super::syntax::{FENCES, attrs, bare, bound, called, has_let, is_off, operands, range, stores, weaker};
use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use std::collections::HashSet;
use std::ops::Range;
use syn::visit::{self, Visit};
use syn::{Attribute, BinOp, Block, Expr, Stmt, UnOp};

/// Methods whose closure says yes or no.
const ASKING: [&str; 8] =
    ["filter", "is_some_and", "is_none_or", "any", "all", "take_while", "skip_while", "take_if"];

/// Looks through one file.
pub(super) struct Finder<'t> {
    file: &'t str,
    text: &'t str,
    mutations: &'t mut Vec<Mutation>,
    pub(super) edits: Edits,
    /// The type or trait around, and the function.
    owner: Option<String>,
    function: Option<String>,
    names: Names,
    says_yes_or_no: bool,
    /// The call whose arguments are being looked at.
    call: String,
    /// Checks that have their mutations.
    done: HashSet<Range<usize>>,
}

impl<'t> Finder<'t> {
    pub(super) fn new(file: &'t str, text: &'t str, mutations: &'t mut Vec<Mutation>) -> Finder<'t> {
        Finder {
            file,
            text,
            mutations,
            edits: Edits::default(),
            owner: None,
            function: None,
            names: Names::default(),
            says_yes_or_no: false,
            call: String::new(),
            done: HashSet::new(),
        }
    }

    /// Adds a mutation; its number.
    fn add(&mut self, kind: Kind, at: usize, what: &str) -> u32 {
        let id = self.mutations.len() as u32 + 1;
        let place = match (&self.owner, &self.function) {
            (Some(owner), Some(function)) => format!("{owner}::{function}"),
            (owner, function) => owner.as_ref().or(function.as_ref()).cloned().unwrap_or_default(),
        };
        let line = self.text[..at].matches('\n').count() + 1;
        let key = format!("{} {place}: {what}", self.file);
        self.mutations.push(Mutation { id, kind, file: self.file.to_owned(), line, key });
        id
    }

    /// A piece of code on one line, without comments, and shortened.
    fn quote(&self, range: Range<usize>) -> String {
        const MAX: usize = 64;
        let lines = self.text[range].lines().map(|line| line.split("//").next().unwrap_or_default());
        let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
        let text = words.join(" ").replace(" .", ".").replace("( ", "(");
        let text = text.trim_end_matches(';');
        match text.char_indices().nth(MAX) {
            Some((end, _)) => format!("`{} ..`", text[..end].trim_end()),
            None => format!("`{text}`"),
        }
    }

    fn function(&mut self, attrs: &[Attribute], signature: &syn::Signature, block: &Block) {
        // A constant function touches no memory that others write.
        if is_off(attrs) || signature.constness.is_some() {
            return;
        }
        let names = std::mem::replace(&mut self.names, Names::of(signature, block));
        let function = self.function.replace(signature.ident.to_string());
        let is_bool = matches!(&signature.output, syn::ReturnType::Type(_, ty)
            if matches!(&**ty, syn::Type::Path(path) if path.path.is_ident("bool")));
        let outer = std::mem::replace(&mut self.says_yes_or_no, is_bool);
        if is_bool {
            self.tail(block);
        }
        self.visit_block(block);
        (self.names, self.function, self.says_yes_or_no) = (names, function, outer);
    }

    /// The value of a block that says yes or no.
    fn tail(&mut self, block: &Block) {
        if let Some(Stmt::Expr(expr, None)) = block.stmts.last() {
            self.check(expr);
        }
    }

    /// Negates and skips a check, and each of its operands.
    fn check(&mut self, expr: &Expr) {
        let expr = bare(expr);
        match expr {
            Expr::Block(block) => return self.tail(&block.block),
            Expr::Unsafe(block) => return self.tail(&block.block),
            _ => {}
        }
        let mut chain = Vec::new();
        operands(expr, &BinOp::And(syn::Token![&&](Span::call_site())), &mut chain);
        if chain.iter().any(|part| matches!(part, Expr::Let(_))) {
            return self.chain(expr, &chain);
        }
        self.mutate(expr, true, true);
        self.parts(expr);
    }

    /// The operands of `&&` and `||`: skipped so that the others decide, and negated.
    fn parts(&mut self, expr: &Expr) {
        match expr {
            Expr::Binary(binary) if matches!(binary.op, BinOp::And(_) | BinOp::Or(_)) => {
                let is_and = matches!(binary.op, BinOp::And(_));
                let mut parts = Vec::new();
                operands(expr, &binary.op, &mut parts);
                self.done_within(expr, &binary.op);
                for part in parts {
                    self.mutate(part, is_and, !is_and);
                    self.parts(part);
                }
            }
            Expr::Unary(unary) if matches!(unary.op, UnOp::Not(_)) => {
                let inner = bare(&unary.expr);
                self.done.insert(range(inner));
                self.parts(inner);
            }
            _ => {}
        }
    }

    /// `a && b` in `a && b && c` is no check of its own.
    fn done_within(&mut self, expr: &Expr, op: &BinOp) {
        let expr = bare(expr);
        if let Expr::Binary(binary) = expr
            && std::mem::discriminant(&binary.op) == std::mem::discriminant(op)
        {
            self.done.insert(range(expr));
            self.done_within(&binary.left, op);
            self.done_within(&binary.right, op);
        }
    }

    fn mutate(&mut self, expr: &Expr, yes: bool, no: bool) {
        let range = range(expr);
        if !self.names.in_expr(expr) || !self.done.insert(range.clone()) {
            return;
        }
        let quote = self.quote(range.clone());
        let mut add = |wanted: bool, what: &str| {
            if wanted { self.add(Kind::Check, range.start, &format!("check {quote} {what}")) } else { 0 }
        };
        let (negated, yes, no) = (add(true, "negated"), add(yes, "always true"), add(no, "always false"));
        self.edits.wrap(range, format!("crate::mutant::check({negated}, {yes}, {no}, "), ")");
    }

    /// A condition with `let` in it: no part of it can be negated as a whole, and no parentheses put around.
    fn chain(&mut self, expr: &Expr, parts: &[&Expr]) {
        let mut matched = None;
        for part in parts {
            match part {
                Expr::Let(part) if self.names.in_expr(&part.expr) => matched = Some(range(part)),
                Expr::Let(_) => {}
                part => {
                    self.mutate(part, true, false);
                    self.parts(part);
                }
            }
        }
        let whole = range(expr);
        if let Some(matched) = matched.filter(|_| !self.done.contains(&whole)) {
            let what = format!("check {} never matches", self.quote(matched));
            let id = self.add(Kind::Check, whole.start, &what);
            self.edits.wrap(whole, "", format!(" && !crate::mutant::on({id})"));
        }
    }

    /// Weakens an ordering in an argument of `call`.
    fn weaken(&mut self, call: &str, ordering: &str, range: Range<usize>) {
        let path = &self.text[range.clone()][..range.len() - ordering.len()];
        for weaker in weaker(call, ordering) {
            let what = match call {
                "fence" | "compiler_fence" => format!("{call}({ordering}) weakened to {weaker}"),
                _ => format!("{call} {ordering} weakened to {weaker}"),
            };
            let id = self.add(Kind::Ordering, range.start, &what);
            let after = format!(", {path}{weaker})");
            self.edits.wrap(range.clone(), format!("crate::mutant::ordering({id}, "), after);
        }
    }

    fn remove_fence(&mut self, name: &str, expr: Range<usize>, args: Range<usize>) {
        let args = self.text[args].rsplit("::").next().unwrap_or_default().trim().to_owned();
        let id = self.add(Kind::Fence, expr.start, &format!("{name}({args}) removed"));
        let (before, after) = match name {
            // It says that the system did it.
            "heavy" => (format!("(if crate::mutant::on({id}) {{ true }} else {{ "), " })"),
            _ => (format!("(if !crate::mutant::on({id}) {{ "), "; })"),
        };
        self.edits.wrap(expr, before, after);
    }

    /// Swaps each two neighbours of a row of stores.
    fn swap(&mut self, row: &[(&Stmt, bool)]) {
        let texts: Vec<&str> = row.iter().map(|(stmt, _)| &self.text[range(stmt)]).collect();
        let mut before = String::new();
        for i in 1..row.len() {
            // Neither orders anything, and nobody may look meanwhile: the same to the memory model.
            if row[i - 1].1 && row[i].1 {
                continue;
            }
            let (first, second) = (range(row[i - 1].0), range(row[i].0));
            let what = format!("swapped {} and {}", self.quote(first.clone()), self.quote(second));
            let id = self.add(Kind::Swap, first.start, &what);
            let mut order = texts.clone();
            order.swap(i - 1, i);
            before.push_str(&format!("if crate::mutant::on({id}) {{ {} }} else ", order.join(" ")));
        }
        if !before.is_empty() {
            let whole = range(row[0].0).start..range(row[row.len() - 1].0).end;
            self.edits.wrap(whole, format!("{before}{{ "), " }");
        }
    }

    /// Swaps a `let` whose value is a store's with the store behind it, which does not use it.
    fn overtake(&mut self, local: &syn::Local, next: &Stmt) {
        let (Some(init), Stmt::Expr(..)) = (&local.init, next) else { return };
        let (first, second) = (range(&init.expr), range(next));
        let text = &self.text[second.clone()];
        let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        let names = bound(&local.pat);
        if words.any(|word| names.iter().any(|name| name == word)) {
            return;
        }
        let what = format!("swapped {} and {}", self.quote(range(local)), self.quote(second.clone()));
        let id = self.add(Kind::Swap, range(local).start, &what);
        self.edits.wrap(first, format!("{{ if crate::mutant::on({id}) {{ {text} }} "), " }");
        self.edits.wrap(second, format!("if !crate::mutant::on({id}) {{ "), " }");
    }

    /// The orderings in the body of a macro, whose grammar nobody knows but itself.
    fn scan(&mut self, tokens: &TokenStream, call: &str) {
        let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
        let mut last = String::new();
        for (i, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => {
                    let is_call = group.delimiter() == Delimiter::Parenthesis;
                    self.scan(&group.stream(), if is_call { &last } else { "" });
                }
                TokenTree::Ident(ident) => {
                    let text = ident.to_string();
                    let path: String =
                        tokens[i.saturating_sub(3)..i].iter().map(ToString::to_string).collect();
                    if path == "Ordering::" {
                        let start = tokens[i - 3].span().byte_range().start;
                        self.weaken(call, &text, start..ident.span().byte_range().end);
                    }
                    last = text;
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attrs: &[Attribute] = match item {
            syn::Item::Const(_) | syn::Item::Static(_) => return,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Trait(item) => &item.attrs,
            syn::Item::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !is_off(attrs) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let name = match &*item.self_ty {
            syn::Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
            _ => None,
        };
        let name = name.unwrap_or_else(|| self.text[range(&item.self_ty)].to_owned());
        let outer = self.owner.replace(name);
        visit::visit_item_impl(self, item);
        self.owner = outer;
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        let outer = self.owner.replace(item.ident.to_string());
        visit::visit_item_trait(self, item);
        self.owner = outer;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.attrs, &item.sig, &item.block);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.attrs, &item.sig, block);
        }
    }

    fn visit_block(&mut self, block: &'ast Block) {
        let mut row = Vec::new();
        for (i, stmt) in block.stmts.iter().enumerate() {
            match (stmt, stores(stmt)) {
                (Stmt::Local(local), Some(_)) => {
                    self.swap(&std::mem::take(&mut row));
                    let next = block.stmts.get(i + 1);
                    if let Some(next) = next.filter(|next| stores(next).is_some()) {
                        self.overtake(local, next);
                    }
                }
                (_, Some(only_presets)) => row.push((stmt, only_presets)),
                (_, None) => self.swap(&std::mem::take(&mut row)),
            }
        }
        self.swap(&row);
        visit::visit_block(self, block);
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if !is_off(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_expr(&mut self, expr: &'ast Expr) {
        if !is_off(attrs(expr)) {
            visit::visit_expr(self, expr);
        }
    }

    fn visit_expr_if(&mut self, expr: &'ast syn::ExprIf) {
        self.check(&expr.cond);
        visit::visit_expr_if(self, expr);
    }

    fn visit_expr_while(&mut self, expr: &'ast syn::ExprWhile) {
        self.check(&expr.cond);
        visit::visit_expr_while(self, expr);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if is_off(&arm.attrs) {
            return;
        }
        if let Some((_, guard)) = &arm.guard {
            self.check(guard);
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr_return(&mut self, expr: &'ast syn::ExprReturn) {
        if let Some(value) = expr.expr.as_ref().filter(|_| self.says_yes_or_no) {
            self.check(value);
        }
        visit::visit_expr_return(self, expr);
    }

    fn visit_expr_binary(&mut self, expr: &'ast syn::ExprBinary) {
        use BinOp::{And, Eq, Ge, Gt, Le, Lt, Ne, Or};
        if matches!(expr.op, And(_) | Or(_) | Eq(_) | Ge(_) | Gt(_) | Le(_) | Lt(_) | Ne(_)) {
            // The operands of a check that is done are done, too.
            let whole = Expr::Binary(expr.clone());
            if !self.done.contains(&range(&whole)) && !has_let(&whole) {
                self.check(&whole);
            }
        }
        visit::visit_expr_binary(self, expr);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let name = call.method.to_string();
        if name == "then_some" || name == "then" {
            self.check(&call.receiver);
        }
        if let (true, Some(Expr::Closure(closure))) = (ASKING.contains(&name.as_str()), call.args.first()) {
            self.check(&closure.body);
        }
        if FENCES.contains(&name.as_str()) {
            self.remove_fence(&name, range(call), range(&call.args));
        }
        let outer = std::mem::replace(&mut self.call, name);
        visit::visit_expr_method_call(self, call);
        self.call = outer;
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        let name = called(&call.func).unwrap_or_default();
        if FENCES.contains(&name.as_str()) {
            self.remove_fence(&name, range(call), range(&call.args));
        }
        let outer = std::mem::replace(&mut self.call, name);
        visit::visit_expr_call(self, call);
        self.call = outer;
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        let names: Vec<String> = path.path.segments.iter().map(|s| s.ident.to_string()).collect();
        if let [.., owner, ordering] = names.as_slice()
            && owner == "Ordering"
        {
            let call = self.call.clone();
            self.weaken(&call, ordering, range(path));
        }
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        self.scan(&mac.tokens, "");
    }
}
