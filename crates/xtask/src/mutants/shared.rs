//! Which values of a function come from words that another process writes: a simple flow of names, within one function,
//! that calls too many shared rather than too few.

use super::syntax::bound;
use std::collections::HashSet;
use syn::visit::Visit;

/// Methods and functions that return what another process may have written, or what was found out from it.
const READS: [&str; 46] = [
    "after",
    "compare_exchange",
    "confirm",
    "counter",
    "counts",
    "decode",
    "declare",
    "ended",
    "fetch_add",
    "fetch_or",
    "find",
    "from_word",
    "glance",
    "go_on",
    "heavy",
    "is_active",
    "is_boundary",
    "is_evicted",
    "is_far",
    "is_free",
    "is_over",
    "is_ready",
    "join",
    "length_if",
    "limit",
    "load",
    "look",
    "look_around",
    "newest",
    "observe",
    "pass_over",
    "payload",
    "peek",
    "put_right",
    "read_type",
    "seen",
    "sequence_at",
    "state_end",
    "swap",
    "tail",
    "take",
    "take_again",
    "try_wait",
    "validate",
    "wake",
    "walk",
];

/// Fields that hold such values.
const FIELDS: [&str; 10] =
    ["damaged", "first", "floor", "given_up", "lapped", "last", "lowest", "owed", "position", "sequence"];

/// Parameters that do.
const PARAMETERS: [&str; 14] = [
    "after",
    "before",
    "boundary",
    "cursor",
    "first",
    "given_up",
    "header",
    "held",
    "licence",
    "position",
    "published",
    "seen",
    "spot",
    "word",
];

/// The names of one function that hold shared values.
#[derive(Debug, Default, Clone)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// Those of a function with these parameters and this body.
    pub(super) fn of(signature: &syn::Signature, block: &syn::Block) -> Names {
        let mut names = Names::default();
        for input in &signature.inputs {
            if let syn::FnArg::Typed(input) = input {
                let bound = bound(&input.pat).into_iter();
                names.0.extend(bound.filter(|name| PARAMETERS.contains(&name.as_str())));
            }
        }
        // Until nothing new is found: a loop may carry a value backwards.
        loop {
            let known = names.0.len();
            let mut flow = Flow { names: std::mem::take(&mut names) };
            flow.visit_block(block);
            names = flow.names;
            if names.0.len() == known {
                return names;
            }
        }
    }

    /// Whether the value of an expression depends on a shared one.
    pub(super) fn in_expr(&self, expr: &syn::Expr) -> bool {
        let mut search = Search { names: self, found: false };
        search.visit_expr(expr);
        search.found
    }
}

struct Search<'n> {
    names: &'n Names,
    found: bool,
}

impl<'ast> Visit<'ast> for Search<'_> {
    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.found |= READS.contains(&call.method.to_string().as_str());
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        if let Some(name) = path.path.get_ident() {
            self.found |= self.names.0.contains(&name.to_string());
        }
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(path) = &*call.func {
            let name = path.path.segments.last().map(|s| s.ident.to_string());
            self.found |= name.is_some_and(|name| READS.contains(&name.as_str()));
        }
        syn::visit::visit_expr_call(self, call);
    }

    fn visit_expr_field(&mut self, field: &'ast syn::ExprField) {
        if let syn::Member::Named(name) = &field.member {
            self.found |= FIELDS.contains(&name.to_string().as_str());
        }
        syn::visit::visit_expr_field(self, field);
    }
}

struct Flow {
    names: Names,
}

impl Flow {
    fn bind(&mut self, pat: &syn::Pat) {
        // A name in capitals is a constant.
        let variables = bound(pat).into_iter();
        self.names.0.extend(variables.filter(|name| !name.starts_with(|c: char| c.is_ascii_uppercase())));
    }

    fn assigned(&mut self, left: &syn::Expr, right: &syn::Expr) {
        let syn::Expr::Path(path) = left else { return };
        if let (Some(name), true) = (path.path.get_ident(), self.names.in_expr(right)) {
            self.names.0.insert(name.to_string());
        }
    }
}

impl<'ast> Visit<'ast> for Flow {
    fn visit_local(&mut self, local: &'ast syn::Local) {
        if local.init.as_ref().is_some_and(|init| self.names.in_expr(&init.expr)) {
            self.bind(&local.pat);
        }
        syn::visit::visit_local(self, local);
    }

    fn visit_expr_let(&mut self, expr: &'ast syn::ExprLet) {
        if self.names.in_expr(&expr.expr) {
            self.bind(&expr.pat);
        }
        syn::visit::visit_expr_let(self, expr);
    }

    fn visit_expr_match(&mut self, expr: &'ast syn::ExprMatch) {
        if self.names.in_expr(&expr.expr) {
            for arm in &expr.arms {
                self.bind(&arm.pat);
            }
        }
        syn::visit::visit_expr_match(self, expr);
    }

    fn visit_expr_for_loop(&mut self, expr: &'ast syn::ExprForLoop) {
        if self.names.in_expr(&expr.expr) {
            self.bind(&expr.pat);
        }
        syn::visit::visit_expr_for_loop(self, expr);
    }

    fn visit_expr_assign(&mut self, expr: &'ast syn::ExprAssign) {
        self.assigned(&expr.left, &expr.right);
        syn::visit::visit_expr_assign(self, expr);
    }

    fn visit_expr_binary(&mut self, expr: &'ast syn::ExprBinary) {
        use syn::BinOp::{AddAssign, BitAndAssign, BitOrAssign, SubAssign};
        if matches!(expr.op, AddAssign(_) | SubAssign(_) | BitOrAssign(_) | BitAndAssign(_)) {
            self.assigned(&expr.left, &expr.right);
        }
        syn::visit::visit_expr_binary(self, expr);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if self.names.in_expr(&call.receiver) {
            for arg in &call.args {
                if let syn::Expr::Closure(closure) = arg {
                    closure.inputs.iter().for_each(|input| self.bind(input));
                }
            }
        }
        syn::visit::visit_expr_method_call(self, call);
    }
}
