//! Somebody who changes words while others read: at the n-th load from now, between any two of one look.

use std::cell::RefCell;

use annulus_core::meddle::meddle;

/// One change to come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    /// Loads before it.
    pub(crate) after: u32,
    /// What to change: up to whoever makes the change.
    pub(crate) place: Place,
    pub(crate) value: u64,
}

/// A word that is to be changed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// The one that is being loaded.
    Loaded,
    /// One of `data`.
    Data(usize),
    /// One of `ctl`.
    Ctl(usize),
}

/// Makes a change; told the address of the word that is being loaded.
pub(crate) type Make = fn(&Change, usize);

thread_local! {
    static PLAN: RefCell<(Vec<Change>, u32, Option<Make>)> = const { RefCell::new((Vec::new(), 0, None)) };
}

/// Makes the changes from now on, each in its turn; replaces what was planned before.
pub(crate) fn plan(changes: Vec<Change>, make: Make) {
    meddle((!changes.is_empty()).then_some(on_load));
    PLAN.set((changes, 0, Some(make)));
}

/// Whether something is still to come.
pub(crate) fn is_planned() -> bool {
    PLAN.with_borrow(|plan| !plan.0.is_empty())
}

/// Nothing is to come any more.
pub(crate) fn forget() {
    plan(Vec::new(), |_, _| {});
}

fn on_load(address: usize) {
    PLAN.with_borrow_mut(|(changes, loads, make)| {
        changes.retain(|change| {
            if change.after == *loads
                && let Some(make) = make
            {
                make(change, address);
            }
            change.after > *loads
        });
        *loads += 1;
    });
}
