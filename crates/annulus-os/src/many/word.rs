//! A futex word that stays mapped while somebody waits at it.
#![allow(unsafe_code)]

use std::sync::Arc;

use annulus_core::sync::FutexWord;

use crate::Mapping;

/// A futex word in a mapping, which it keeps mapped.
#[derive(Clone, Debug)]
pub struct Word {
    mapping: Arc<Mapping>,
    /// In bytes from the base: a multiple of four, and the word lies within the mapping.
    offset: usize,
}

impl Word {
    /// The word that is at the address of `word`, if that is in `mapping`.
    #[must_use]
    pub fn within(mapping: &Arc<Mapping>, word: &FutexWord) -> Option<Word> {
        let offset = word.as_ptr().addr().checked_sub(mapping.base().addr().get())?;
        let fits = offset.checked_add(size_of::<FutexWord>())? <= mapping.len();
        // Four bytes at a page's start and a reference's address: both are multiples of four.
        fits.then(|| Word { mapping: Arc::clone(mapping), offset })
    }

    /// The word itself.
    #[must_use]
    pub fn get(&self) -> &FutexWord {
        // SAFETY: `within` has found the four bytes inside the mapping, which `self` keeps, at an address of a
        // `&FutexWord`, so aligned. Any four bytes are one, and whoever else has that mapping, or maps the same file,
        // accesses its words as atomics only (see `Mapping`).
        unsafe { self.mapping.base().add(self.offset).cast().as_ref() }
    }
}
