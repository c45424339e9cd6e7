//! Who a ring is: written once by its creator, checked by everyone who attaches.

use core::array::from_fn;

use super::ctl::{CLAIM_WORDS_MAX, GROUPS_MAX, SLOTS_MAX, ctl_bytes};
use super::data::RECORDS_OFFSET_MIN;
use super::{FenceMode, LAYOUT_VERSION, WakeBackend};
use crate::shape::{Align, Shape};
use crate::words::{Magic, Plain32, Plain64};

/// First word of `data`.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"annulusD");
/// Longest type name, in bytes.
pub const TYPE_NAME_MAX: usize = 512;
/// Longest schema, in bytes.
pub const SCHEMA_MAX: usize = 4096;
/// Largest place of the first record: one huge page of 1 GiB.
const RECORDS_OFFSET_MAX: u64 = 1 << 30;
/// Shortest and longest liveness interval, in milliseconds.
const LIVENESS_MS: core::ops::RangeInclusive<u32> = 1..=3_600_000;

/// 16 random bytes that tell two rings of one name apart.
pub type Uuid = [u64; 2];

/// A set of options, as stored. Later layouts may add bits; a reader refuses bits it does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options(u32);

impl Options {
    /// The ring stays when its producer ends cleanly.
    pub const PERSISTENT: Options = Options(1);
    /// Subscribers copy; none may borrow records in place.
    pub const NO_IN_PLACE: Options = Options(1 << 1);
    /// Claims hand out the bytes themselves.
    pub const IN_PLACE_CLAIMS: Options = Options(1 << 2);
    /// Payloads begin with their time of publication.
    pub const STAMPED: Options = Options(1 << 3);
    /// What this build honours: a ring with any other option would be misread.
    const KNOWN: u32 = Options::PERSISTENT.0 | Options::NO_IN_PLACE.0 | Options::STAMPED.0;

    /// Whether all of `other` are set.
    pub const fn has(self, other: Options) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets.
    pub const fn with(self, other: Options) -> Options {
        Options(self.0 | other.0)
    }
}

/// The words of the identity: two pages of `data`.
#[derive(Debug)]
#[repr(C)]
pub struct IdentityPage {
    magic: Magic,
    version: Plain32,
    align: Plain32,
    capacity: Plain64,
    records_offset: Plain64,
    options: Plain32,
    fence_mode: Plain32,
    slots: Plain32,
    groups: Plain32,
    claim_words: Plain32,
    liveness_ms: Plain32,
    wake_backend: Plain32,
    clock: Plain32,
    /// Factor, shift, base of ticks, base of nanoseconds: for stamped rings.
    calibration: [Plain64; 4],
    retain: Plain64,
    evict_after_ns: Plain64,
    uuid: [Plain64; 2],
    created_unix_ns: Plain64,
    type_size: Plain64,
    type_align: Plain64,
    type_fingerprint: Plain64,
    type_name_len: Plain32,
    schema_len: Plain32,
    _reserved0: [Plain64; 43],
    type_name: [Plain64; TYPE_NAME_MAX / 8],
    _reserved1: [Plain64; 384],
    schema: [Plain64; SCHEMA_MAX / 8],
}

impl Default for IdentityPage {
    fn default() -> Self {
        IdentityPage {
            magic: Magic::default(),
            version: Plain32::default(),
            align: Plain32::default(),
            capacity: Plain64::default(),
            records_offset: Plain64::default(),
            options: Plain32::default(),
            fence_mode: Plain32::default(),
            slots: Plain32::default(),
            groups: Plain32::default(),
            claim_words: Plain32::default(),
            liveness_ms: Plain32::default(),
            wake_backend: Plain32::default(),
            clock: Plain32::default(),
            calibration: from_fn(|_| Plain64::default()),
            retain: Plain64::default(),
            evict_after_ns: Plain64::default(),
            uuid: from_fn(|_| Plain64::default()),
            created_unix_ns: Plain64::default(),
            type_size: Plain64::default(),
            type_align: Plain64::default(),
            type_fingerprint: Plain64::default(),
            type_name_len: Plain32::default(),
            schema_len: Plain32::default(),
            _reserved0: from_fn(|_| Plain64::default()),
            type_name: from_fn(|_| Plain64::default()),
            _reserved1: from_fn(|_| Plain64::default()),
            schema: from_fn(|_| Plain64::default()),
        }
    }
}

/// The type of a ring's records, as stored beside its name. All zero: bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypeIdentity {
    /// Bytes of a value.
    pub size: u64,
    /// Its alignment: 1, 2, 4 or 8; 0 on rings of bytes.
    pub align: u64,
    /// A hash of its fields.
    pub fingerprint: u64,
    /// Bytes of its name; 0 on rings of bytes.
    pub name_len: u32,
}

impl TypeIdentity {
    /// Whether the ring's records are of a type.
    pub const fn is_typed(&self) -> bool {
        self.name_len > 0
    }
}

/// The identity as this process has read and checked it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Capacity and alignment.
    pub shape: Shape,
    /// Byte of `data` where the records begin.
    pub records_offset: u64,
    /// Options.
    pub options: Options,
    /// What a sleeper must do.
    pub fence_mode: FenceMode,
    /// Slots for subscribers.
    pub slots: u32,
    /// Group tables.
    pub groups: u32,
    /// Claim words of each group; a power of two.
    pub claim_words: u32,
    /// Liveness interval in milliseconds.
    pub liveness_ms: u32,
    /// How sleepers are woken.
    pub wake: WakeBackend,
    /// The clock of stamps: 0 on rings without, else a number that the crate above gives a meaning.
    pub clock: u32,
    /// Factor, shift, base of ticks, base of nanoseconds: turns stamps into time.
    pub calibration: [u64; 4],
    /// Newest records that the producer keeps for late joiners where it can.
    pub retain: u64,
    /// Nanoseconds after which the producer gives up the readers it waits for; 0: never.
    pub evict_after_ns: u64,
    /// The type of the records.
    pub payload: TypeIdentity,
    /// Bytes of the schema.
    pub schema_len: u32,
    /// Tells two rings of one name apart.
    pub uuid: Uuid,
    /// Nanoseconds since 1970 by the creator's clock, for people.
    pub created_unix_ns: u64,
}

/// Why bytes are not a ring of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityError {
    /// The first word is another: not a ring, or one whose creator has not finished.
    Foreign,
    /// Another layout version, in this word.
    Version(u32),
    /// A field is out of its range.
    Field(&'static str),
}

impl IdentityPage {
    /// Writes an identity, the name of the records' type and the schema; the magic last. Once, by the creator. The
    /// two are as long as the identity says, at most [`TYPE_NAME_MAX`] and [`SCHEMA_MAX`] bytes.
    ///
    /// # Panics
    ///
    /// If they are not.
    pub fn write(&self, identity: &Identity, type_name: &[u8], schema: &[u8]) {
        assert!(type_name.len() == identity.payload.name_len as usize && type_name.len() <= TYPE_NAME_MAX);
        assert!(schema.len() == identity.schema_len as usize && schema.len() <= SCHEMA_MAX);
        self.version.preset(LAYOUT_VERSION);
        self.align.preset(identity.shape.align().bytes() as u32);
        self.capacity.preset(identity.shape.capacity());
        self.records_offset.preset(identity.records_offset);
        self.options.preset(identity.options.0);
        self.fence_mode.preset(identity.fence_mode.to_word());
        self.slots.preset(identity.slots);
        self.groups.preset(identity.groups);
        self.claim_words.preset(identity.claim_words);
        self.liveness_ms.preset(identity.liveness_ms);
        self.wake_backend.preset(identity.wake.to_word());
        self.clock.preset(identity.clock);
        for (word, value) in self.calibration.iter().zip(identity.calibration) {
            word.preset(value);
        }
        self.retain.preset(identity.retain);
        self.evict_after_ns.preset(identity.evict_after_ns);
        self.type_size.preset(identity.payload.size);
        self.type_align.preset(identity.payload.align);
        self.type_fingerprint.preset(identity.payload.fingerprint);
        self.type_name_len.preset(identity.payload.name_len);
        self.schema_len.preset(identity.schema_len);
        write_bytes(&self.type_name, type_name);
        write_bytes(&self.schema, schema);
        self.uuid[0].preset(identity.uuid[0]);
        self.uuid[1].preset(identity.uuid[1]);
        self.created_unix_ns.preset(identity.created_unix_ns);
        self.magic.complete(MAGIC);
    }

    /// Reads and checks the identity. Each word is read once.
    ///
    /// # Errors
    ///
    /// Says which field is wrong; nothing of such a ring may be used.
    pub fn read(&self) -> Result<Identity, IdentityError> {
        use IdentityError::Field;
        if self.magic.look() != MAGIC {
            return Err(IdentityError::Foreign);
        }
        let version = self.version.glance();
        if version != LAYOUT_VERSION {
            return Err(IdentityError::Version(version));
        }
        let align = Align::from_bytes(u64::from(self.align.glance())).ok_or(Field("alignment"))?;
        let shape = Shape::new(self.capacity.glance(), align).ok_or(Field("capacity"))?;
        let records_offset = self.records_offset.glance();
        if !(RECORDS_OFFSET_MIN..=RECORDS_OFFSET_MAX).contains(&records_offset)
            || !records_offset.is_power_of_two()
        {
            return Err(Field("records_offset"));
        }
        let options = Options(self.options.glance());
        if options.0 & !Options::KNOWN != 0 {
            return Err(Field("options"));
        }
        let fence_mode = FenceMode::from_word(self.fence_mode.glance()).ok_or(Field("fence_mode"))?;
        let shape =
            if options.has(Options::STAMPED) { shape.stamped().ok_or(Field("capacity"))? } else { shape };
        let wake = WakeBackend::from_word(self.wake_backend.glance()).ok_or(Field("wake backend"))?;
        let clock = self.clock.glance();
        if options.has(Options::STAMPED) != (clock != 0) {
            return Err(Field("clock"));
        }
        let evict_after_ns = self.evict_after_ns.glance();
        if evict_after_ns != 0 && !options.has(Options::NO_IN_PLACE) {
            return Err(Field("deadline of slow readers"));
        }
        let payload = self.read_type()?;
        let schema_len = self.schema_len.glance();
        if schema_len as usize > SCHEMA_MAX {
            return Err(Field("schema"));
        }
        let slots = self.slots.glance();
        if slots > SLOTS_MAX {
            return Err(Field("slots"));
        }
        let groups = self.groups.glance();
        if groups > GROUPS_MAX {
            return Err(Field("groups"));
        }
        let claim_words = self.claim_words.glance();
        if !claim_words.is_power_of_two() || claim_words > CLAIM_WORDS_MAX {
            return Err(Field("claim_words"));
        }
        let liveness_ms = self.liveness_ms.glance();
        if !LIVENESS_MS.contains(&liveness_ms) {
            return Err(Field("liveness"));
        }
        Ok(Identity {
            shape,
            records_offset,
            options,
            fence_mode,
            slots,
            groups,
            claim_words,
            liveness_ms,
            wake,
            clock,
            calibration: from_fn(|i| self.calibration[i].glance()),
            retain: self.retain.glance(),
            evict_after_ns,
            payload,
            schema_len,
            uuid: [self.uuid[0].glance(), self.uuid[1].glance()],
            created_unix_ns: self.created_unix_ns.glance(),
        })
    }

    fn read_type(&self) -> Result<TypeIdentity, IdentityError> {
        let payload = TypeIdentity {
            size: self.type_size.glance(),
            align: self.type_align.glance(),
            fingerprint: self.type_fingerprint.glance(),
            name_len: self.type_name_len.glance(),
        };
        let whole = payload.name_len as usize <= TYPE_NAME_MAX
            && matches!(payload.align, 1 | 2 | 4 | 8)
            && payload.size.is_multiple_of(payload.align);
        if whole || payload == TypeIdentity::default() {
            Ok(payload)
        } else {
            Err(IdentityError::Field("type"))
        }
    }

    /// Copies the name of the records' type out: as many bytes as the identity says. They may be any.
    pub fn read_type_name(&self, name: &mut [u8]) {
        read_bytes(&self.type_name, name);
    }

    /// Copies the schema out: as many bytes as the identity says.
    pub fn read_schema(&self, schema: &mut [u8]) {
        read_bytes(&self.schema, schema);
    }
}

fn write_bytes(words: &[Plain64], bytes: &[u8]) {
    for (word, chunk) in words.iter().zip(bytes.chunks(8)) {
        let mut padded = [0; 8];
        padded[..chunk.len()].copy_from_slice(chunk);
        word.preset(u64::from_le_bytes(padded));
    }
}

fn read_bytes(words: &[Plain64], bytes: &mut [u8]) {
    for (word, chunk) in words.iter().zip(bytes.chunks_mut(8)) {
        chunk.copy_from_slice(&word.glance().to_le_bytes()[..chunk.len()]);
    }
}

impl Identity {
    /// Bytes of `data`.
    pub fn data_bytes(&self) -> u64 {
        self.records_offset + self.shape.capacity()
    }

    /// Bytes of `ctl`, before rounding up to pages.
    pub fn ctl_bytes(&self) -> usize {
        ctl_bytes(self.slots, self.groups, self.claim_words)
    }
}

#[cfg(not(loom))]
const _: () = {
    use core::mem::offset_of;
    assert!(offset_of!(IdentityPage, magic) == 0);
    assert!(offset_of!(IdentityPage, version) == 8);
    assert!(offset_of!(IdentityPage, align) == 12);
    assert!(offset_of!(IdentityPage, capacity) == 16);
    assert!(offset_of!(IdentityPage, records_offset) == 24);
    assert!(offset_of!(IdentityPage, options) == 32);
    assert!(offset_of!(IdentityPage, fence_mode) == 36);
    assert!(offset_of!(IdentityPage, slots) == 40);
    assert!(offset_of!(IdentityPage, groups) == 44);
    assert!(offset_of!(IdentityPage, claim_words) == 48);
    assert!(offset_of!(IdentityPage, liveness_ms) == 52);
    assert!(offset_of!(IdentityPage, wake_backend) == 56);
    assert!(offset_of!(IdentityPage, clock) == 60);
    assert!(offset_of!(IdentityPage, calibration) == 64);
    assert!(offset_of!(IdentityPage, retain) == 96);
    assert!(offset_of!(IdentityPage, evict_after_ns) == 104);
    assert!(offset_of!(IdentityPage, uuid) == 112);
    assert!(offset_of!(IdentityPage, created_unix_ns) == 128);
    assert!(offset_of!(IdentityPage, type_size) == 136);
    assert!(offset_of!(IdentityPage, type_align) == 144);
    assert!(offset_of!(IdentityPage, type_fingerprint) == 152);
    assert!(offset_of!(IdentityPage, type_name_len) == 160);
    assert!(offset_of!(IdentityPage, schema_len) == 164);
    assert!(offset_of!(IdentityPage, type_name) == 512);
    assert!(offset_of!(IdentityPage, schema) == 4096);
};

#[cfg(test)]
mod tests {
    extern crate std;

    use std::boxed::Box;

    use super::*;

    const NAME: &[u8] = b"a::Name";

    /// The field that is blamed, and what is done to the page.
    type Damage = (&'static str, fn(&IdentityPage));

    fn identity() -> Identity {
        Identity {
            shape: Shape::new(4096, Align::Packed).unwrap().stamped().unwrap(),
            records_offset: RECORDS_OFFSET_MIN,
            options: Options::STAMPED.with(Options::NO_IN_PLACE),
            fence_mode: FenceMode::Symmetric,
            slots: SLOTS_MAX,
            groups: GROUPS_MAX,
            claim_words: 1 << 20,
            liveness_ms: *LIVENESS_MS.end(),
            wake: WakeBackend::Semaphore,
            clock: 1,
            calibration: [1, 2, 3, 4],
            retain: 5,
            evict_after_ns: 6,
            payload: TypeIdentity { size: 24, align: 8, fingerprint: 7, name_len: NAME.len() as u32 },
            schema_len: 3,
            uuid: [8, 9],
            created_unix_ns: 10,
        }
    }

    fn page() -> Box<IdentityPage> {
        let page: Box<IdentityPage> = Box::default();
        page.write(&identity(), NAME, b"abc");
        page
    }

    #[test]
    fn what_was_written_is_read() {
        let page = page();
        assert_eq!(page.read(), Ok(identity()));
        let (mut name, mut schema) = ([0; NAME.len()], [0; 3]);
        page.read_type_name(&mut name);
        page.read_schema(&mut schema);
        assert_eq!((&name[..], &schema), (NAME, b"abc"));
        // The other ends of what is allowed.
        let least = Identity {
            shape: Shape::new(4096, Align::Line).unwrap(),
            records_offset: RECORDS_OFFSET_MAX,
            options: Options::default(),
            slots: 0,
            groups: 0,
            claim_words: 1,
            liveness_ms: *LIVENESS_MS.start(),
            clock: 0,
            evict_after_ns: 0,
            payload: TypeIdentity::default(),
            schema_len: 0,
            ..identity()
        };
        page.write(&least, b"", b"");
        assert_eq!(page.read(), Ok(least));
    }

    #[test]
    fn nothing_is_read_before_the_magic() {
        assert_eq!(IdentityPage::default().read(), Err(IdentityError::Foreign));
        let page = page();
        page.magic.preset(MAGIC + 1);
        assert_eq!(page.read(), Err(IdentityError::Foreign));
        page.magic.preset(MAGIC);
        page.version.preset(LAYOUT_VERSION + 1);
        assert_eq!(page.read(), Err(IdentityError::Version(LAYOUT_VERSION + 1)));
    }

    #[test]
    fn every_field_that_cannot_be_is_refused() {
        let bad: [Damage; 22] = [
            ("alignment", |page| page.align.preset(16)),
            ("capacity", |page| page.capacity.preset(4097)),
            ("capacity", |page| page.capacity.preset(16)),
            ("records_offset", |page| page.records_offset.preset(RECORDS_OFFSET_MIN / 2)),
            ("records_offset", |page| page.records_offset.preset(RECORDS_OFFSET_MAX * 2)),
            ("records_offset", |page| page.records_offset.preset(RECORDS_OFFSET_MIN + 8)),
            ("options", |page| page.options.preset(page.options.glance() | 1 << 31)),
            ("fence_mode", |page| page.fence_mode.preset(0)),
            ("wake backend", |page| page.wake_backend.preset(9)),
            ("clock", |page| page.clock.preset(0)),
            ("clock", |page| page.options.preset(Options::NO_IN_PLACE.0)),
            ("deadline of slow readers", |page| page.options.preset(Options::STAMPED.0)),
            ("schema", |page| page.schema_len.preset(SCHEMA_MAX as u32 + 1)),
            ("slots", |page| page.slots.preset(SLOTS_MAX + 1)),
            ("groups", |page| page.groups.preset(GROUPS_MAX + 1)),
            ("claim_words", |page| page.claim_words.preset(3)),
            ("claim_words", |page| page.claim_words.preset(1 << 21)),
            ("liveness", |page| page.liveness_ms.preset(0)),
            ("liveness", |page| page.liveness_ms.preset(*LIVENESS_MS.end() + 1)),
            ("type", |page| page.type_name_len.preset(TYPE_NAME_MAX as u32 + 1)),
            ("type", |page| page.type_align.preset(16)),
            ("type", |page| page.type_size.preset(23)),
        ];
        for (i, (field, damage)) in bad.into_iter().enumerate() {
            let page = page();
            damage(&page);
            assert_eq!(page.read(), Err(IdentityError::Field(field)), "{i}");
        }
    }
}
