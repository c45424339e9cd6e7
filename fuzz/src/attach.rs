//! Attaching, by every way there is, to files with anything in them: a whole ring of which some words are something
//! else, files of another length, bytes from anywhere; and words that change between two loads of one attach. Whatever
//! it is, it works or ends in an error that says what is wrong.

use std::cell::RefCell;
use std::os::unix::fs::FileExt;

use annulus::{Open, Resume, Ring, Start};
use annulus_core::header::encode;
use annulus_core::layout::{PRODUCER_PAGE_OFFSET, RECORDS_OFFSET_MIN};

use crate::files::{Files, NAME, rewrite};
use crate::input::Input;
use crate::meddler::{self, Change, Place};

thread_local! {
    static FILES: RefCell<Option<Files>> = const { RefCell::new(None) };
}

/// The capacity of the rings, before they are damaged.
const CAPACITY: usize = 4096;
/// More than any that is made of them.
const LARGEST: usize = 1 << 20;
/// Records that are read at most.
const RECORDS: usize = 80;

/// Plays one input.
pub fn run(bytes: &[u8]) {
    let input = &mut Input(bytes);
    let open = FILES.with_borrow_mut(|files| {
        let files = files.get_or_insert_with(Files::new);
        files.mend();
        damage(files, input);
        Ring::open(NAME).dir(&files.dir)
    });
    attach(open, input);
    meddler::forget();
}

/// Lays the files out as the input says, and plans what changes later.
fn damage(files: &Files, input: &mut Input<'_>) {
    let (kind, options) = (input.byte(), input.byte());
    let whole = &files.wholes[usize::from(kind) % files.wholes.len()];
    let mut bytes = [whole.data.clone(), whole.ctl.clone()];
    if options & 3 == 3 {
        // Nothing that a ring ever was.
        for file in &mut bytes {
            let from = input.below(file.len());
            file[from..].fill(input.byte());
        }
    }
    for _ in 0..input.byte() % 8 {
        let (place, value) = change(input);
        let (file, nth) = match place {
            Place::Ctl(nth) => (1, nth),
            Place::Data(nth) => (0, nth),
            Place::Loaded => continue,
        };
        if let Some(word) = bytes[file].get_mut(8 * nth..8 * nth + 8) {
            word.copy_from_slice(&value.to_le_bytes());
        }
    }
    let mut lens = bytes.each_ref().map(|file| file.len() as u64);
    match options >> 4 {
        1 => lens[0] = input.word() % (3 * lens[0]),
        2 => lens[1] = input.word() % (3 * lens[1]),
        3 => lens = [4096 * u64::from(input.byte() % 40), 4096 * u64::from(input.byte() % 40)],
        4 => lens[0] += 1,
        5 => lens[0] -= 1,
        6 => lens[1] -= 1,
        // A capacity that no ring has, and a file that is as long as it says.
        7 => {
            let capacity = u64::from(input.short()) << (input.byte() % 13);
            if capacity < LARGEST as u64 {
                bytes[0][16..24].copy_from_slice(&capacity.to_le_bytes());
                lens[0] = RECORDS_OFFSET_MIN + capacity;
            }
        }
        _ => {}
    }
    rewrite(&files.data, &bytes[0], lens[0]);
    rewrite(&files.ctl, &bytes[1], lens[1]);
    if options & 4 != 0 {
        let changes = (0..1 + input.byte() % 3).map(|_| {
            let after = u32::from(input.byte());
            let (place, value) = change(input);
            Change { after, place, value }
        });
        meddler::plan(changes.collect(), make);
    }
}

/// A word, and what it shall be: mostly one that is read, and a value that is nearly right.
fn change(input: &mut Input<'_>) -> (Place, u64) {
    let page = PRODUCER_PAGE_OFFSET / 8;
    let place = match input.byte() % 8 {
        // The identity: its words, its type's name.
        0 | 1 => Place::Data(input.below(22)),
        2 => Place::Data(page + [0, 1, 16, 17, 18, 32, 33][input.below(7)]),
        3 => Place::Data(page + 128 + input.below(64)),
        4 => Place::Data(RECORDS_OFFSET_MIN as usize / 8 + input.below(CAPACITY / 8)),
        5 => Place::Data(input.below((RECORDS_OFFSET_MIN as usize + CAPACITY) / 8)),
        6 => Place::Ctl(512 + 16 * input.below(6)),
        _ => Place::Ctl(input.below(704)),
    };
    let value = match input.byte() % 10 {
        0 => input.word(),
        1 => 1 << (input.byte() % 64),
        2 => u64::from(input.byte()),
        3 => 8 * u64::from(input.short()),
        4 => u64::MAX - 8 * u64::from(input.byte()),
        5 => encode(u64::from(input.byte()) % 16, u64::from(input.short())),
        6 => u64::from(input.byte()) << 32 | u64::from(input.byte()),
        7 => (1 << 32) - 4096 + 8 * u64::from(input.byte()),
        8 => encode((1 << 32) - 3 + u64::from(input.byte()) % 16, u64::from(input.byte())),
        _ => 0,
    };
    (place, value)
}

/// Changes a word of the files, if they are so long.
fn make(change: &Change, _: usize) {
    FILES.with_borrow(|files| {
        let Some(files) = files else { return };
        let (file, nth) = match change.place {
            Place::Data(nth) => (&files.data, nth),
            Place::Ctl(nth) => (&files.ctl, nth),
            Place::Loaded => return,
        };
        let at = 8 * nth as u64;
        if file.metadata().is_ok_and(|facts| at + 8 <= facts.len()) {
            file.write_all_at(&change.value.to_le_bytes(), at).expect("written");
        }
    });
}

/// Where to begin.
fn start(input: &mut Input<'_>) -> Start {
    match input.byte() % 5 {
        0 => Start::Newest,
        1 | 2 => Start::Oldest,
        3 => Start::Last(u64::from(input.byte())),
        _ => Start::Sequence(if input.byte() & 1 == 0 { u64::from(input.byte()) } else { input.word() }),
    }
}

fn attach(open: Open, input: &mut Input<'_>) {
    let (way, start) = (input.byte(), start(input));
    let open = open.start(start).resume(if way & 128 == 0 { Resume::Oldest } else { Resume::Newest });
    match way % 6 {
        0 => {
            if let Ok(info) = open.info() {
                assert!(info.subscribers.len() <= info.max_subscribers as usize);
                assert!(info.capacity.is_power_of_two() && info.max_len < info.capacity);
            }
        }
        1 => {
            let Ok(mut observer) = open.observe() else { return };
            let longest = observer.max_len();
            let mut bytes = Vec::new();
            for i in 0..RECORDS {
                let got = if i % 8 == 7 {
                    observer.latest_into(&mut bytes)
                } else {
                    observer.try_recv_into(&mut bytes)
                };
                if got.is_ok() {
                    assert!(bytes.len() <= longest);
                }
            }
            let _ = (observer.sequence(), observer.now(), observer.lost(), observer.is_linked());
        }
        2 => {
            let Ok(mut copying) = open.subscribe_copying() else { return };
            let mut bytes = [0; 100];
            for _ in 0..RECORDS {
                if let Ok(received) = copying.try_recv(&mut bytes[..]) {
                    let _ = received.time();
                }
            }
            let _ = (copying.latest(&mut bytes[..]), copying.now());
        }
        3 => {
            let Ok(subscriber) = open.subscribe() else { return };
            let mut held = Vec::new();
            for i in 0..RECORDS {
                let Ok(record) = subscriber.try_recv() else { continue };
                assert!(record.len() < LARGEST);
                // Every byte of it is there.
                std::hint::black_box((
                    record.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)),
                    record.time(),
                ));
                held.push(record);
                if i % 3 == 2 {
                    held.swap_remove(i % held.len());
                }
            }
            drop(held);
            let _ = (subscriber.held_bytes(), subscriber.sequence(), subscriber.now());
        }
        way => {
            let Ok(mut producer) = open.producer() else { return };
            assert!(producer.max_len() < producer.capacity());
            for i in 0..10 {
                let len = usize::from(input.byte()) * [1, 16][i % 2];
                let _ = producer.try_send(&vec![7; len]);
            }
            let _ = producer.try_send_batch([[1; 8]; 30]);
            if way == 5 {
                let _ = producer.try_claim(100).map(|mut claim| claim.write_at(3, b"abc"));
            }
        }
    }
}
