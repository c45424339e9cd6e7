//! What the compiler finds out about a type: a hash of its fields, a name, and whether there is padding.
//!
//! All of it runs at compile time, so a panic here is an error of the compiler's.

use super::Payload;

/// A type's name has at most so many bytes: there is no more room for it in a ring's identity.
pub(crate) const NAME_MAX: usize = 512;

/// Records begin at multiples of so many bytes, and so does what they hold.
pub(crate) const ALIGN_MAX: usize = 8;

pub(crate) const NAME_FAULT: &str = "a payload's name has at most 512 bytes; shorten it";
pub(crate) const ALIGN_FAULT: &str = "a payload is aligned to at most 8 bytes, as records are; take the larger \
                                      `repr(align(..))` away, or the field that has it";
const ORDER_FAULT: &str =
    "a payload's fields lie in the order in which they are written; take away what changes that";

/// A hash of 64 bits (FNV-1a), the same in every build: fingerprints are compared between programs.
#[derive(Clone, Copy)]
pub(crate) struct Hash(u64);

impl Hash {
    /// Begins one for types of a `kind`: no two kinds begin alike.
    pub(crate) const fn new(kind: &str) -> Hash {
        Hash(0xcbf2_9ce4_8422_2325).text(kind)
    }

    /// Adds a number.
    pub(crate) const fn number(self, number: u64) -> Hash {
        self.bytes(&number.to_le_bytes())
    }

    /// Adds a text, and its length, so that no two lists of texts are the same bytes.
    pub(crate) const fn text(self, text: &str) -> Hash {
        self.number(text.len() as u64).bytes(text.as_bytes())
    }

    const fn bytes(self, mut bytes: &[u8]) -> Hash {
        let mut hash = self.0;
        while let [first, rest @ ..] = bytes {
            hash = (hash ^ *first as u64).wrapping_mul(0x0000_0100_0000_01b3);
            bytes = rest;
        }
        Hash(hash)
    }

    /// The hash; 0 is left to rings without a type.
    pub(crate) const fn end(self) -> u64 {
        if self.0 == 0 { 1 } else { self.0 }
    }
}

/// A short text that is put together at compile time.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    bytes: [u8; NAME_MAX],
    len: usize,
}

impl Text {
    pub(crate) const fn new() -> Text {
        Text { bytes: [0; NAME_MAX], len: 0 }
    }

    pub(crate) const fn text(mut self, text: &str) -> Text {
        let mut rest = text.as_bytes();
        while let [first, tail @ ..] = rest {
            assert!(self.len < NAME_MAX, "{}", NAME_FAULT);
            self.bytes[self.len] = *first;
            self.len += 1;
            rest = tail;
        }
        self
    }

    pub(crate) const fn number(self, number: u64) -> Text {
        let shorter = if number < 10 { self } else { self.number(number / 10) };
        let digit = [b'0' + (number % 10) as u8];
        match std::str::from_utf8(&digit) {
            Ok(digit) => shorter.text(digit),
            Err(_) => panic!("a digit is text"),
        }
    }

    pub(crate) const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => panic!("whole texts are text"),
        }
    }
}

/// The fields of a struct as `payload!` lists them, and what is wrong with them. For that macro only; no part
/// of the API.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Fields {
    hash: Hash,
    end: usize,
    /// The first fault; empty if there is none. Not a panic, which would show this file instead of the struct.
    fault: Text,
}

impl Fields {
    /// A struct's or a field's name as people read it.
    pub const fn name(source: &str) -> &str {
        match source.as_bytes() {
            // A keyword with `r#` before it; two bytes of ASCII, so what follows is text again.
            [b'r', b'#', ..] => source.split_at(2).1,
            _ => source,
        }
    }

    /// Begins a struct of a name.
    pub const fn of(name: &str) -> Fields {
        let name = Fields::name(name);
        let fields = Fields { hash: Hash::new("struct").text(name), end: 0, fault: Text::new() };
        if name.len() > NAME_MAX { fields.fail(Text::new().text(NAME_FAULT)) } else { fields }
    }

    /// Adds the next field: it must begin where the one before it ends.
    pub const fn field<T: Payload>(self, name: &str, offset: usize) -> Fields {
        let name = Fields::name(name);
        let mut fields = self.reach(offset, name);
        fields.hash = fields.hash.text(name).number(T::FINGERPRINT);
        fields.hash = fields.hash.number(offset as u64).number(size_of::<T>() as u64);
        fields.end = offset + size_of::<T>();
        fields
    }

    /// Ends it: the struct is `T`, and must end where the last field does.
    pub const fn end<T>(self) -> Fields {
        let mut fields = self.reach(size_of::<T>(), "");
        fields.hash = fields.hash.number(size_of::<T>() as u64).number(align_of::<T>() as u64);
        if align_of::<T>() > ALIGN_MAX {
            return fields.fail(Text::new().text(ALIGN_FAULT));
        }
        fields
    }

    /// What is wrong with the struct; empty if nothing is.
    pub const fn fault(&self) -> &str {
        self.fault.as_str()
    }

    /// The struct's fingerprint, once it is ended.
    pub const fn fingerprint(self) -> u64 {
        self.hash.end()
    }

    /// Takes a value of type `T` and no other.
    pub fn is_of<T>(_: T) {}

    /// What comes next, a field or the end of the struct, must begin at `offset`.
    const fn reach(self, offset: usize, field: &str) -> Fields {
        if offset < self.end {
            return self.fail(Text::new().text(ORDER_FAULT));
        }
        if offset > self.end {
            let gap = (offset - self.end) as u64;
            let fault =
                Text::new().text("this payload has padding, which would be sent uninitialised: put a field ");
            let fault = fault.text("`_pad: [u8; ").number(gap).text("]` ");
            let fault = match field.len() {
                0 => fault.text("at its end"),
                1..=200 => fault.text("before `").text(field).text("`"),
                _ => fault.text("into the gap"), // there is no room for a longer name
            };
            return self.fail(fault.text(", or sort the fields by size, the largest first"));
        }
        self
    }

    const fn fail(mut self, fault: Text) -> Fields {
        if self.fault.len == 0 {
            self.fault = fault;
        }
        self
    }
}
