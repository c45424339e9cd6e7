//! Files that say what they should not: every word is input. An error or a working ring, never a panic, a
//! crash or a hang.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::process::Command;
use std::time::{Duration, Instant};

use annulus::{ErrorKind, RecvError, RecvTimeoutError, TryRecvError, Waiting};

use crate::support::{Dir, INTERVALS, LONG, Random, helpful, in_time, no_forks, thread_id, until_asleep};

/// Bytes of `data` before the producer's page.
const PRODUCER_PAGE: u64 = 8192;
/// Bytes of `data` before the records.
const RECORDS: u64 = 16384;
/// Bytes of `ctl` before the slots.
const SLOTS: u64 = 4096;

fn edit(dir: &Dir, file: &str) -> File {
    OpenOptions::new().read(true).write(true).open(dir.file("r", file)).unwrap()
}

/// A ring that has ended and stays, with some records in it.
fn leftover(dir: &Dir) {
    let mut tx = dir.create("r").capacity(4096).persistent(true).producer().unwrap();
    for n in 0..100 {
        tx.send(&[n; 40]).unwrap();
    }
}

fn get(file: &File, at: u64) -> u64 {
    let mut word = [0; 8];
    file.read_exact_at(&mut word, at).unwrap();
    u64::from_le_bytes(word)
}

fn put(file: &File, at: u64, word: u64) {
    file.write_all_at(&word.to_le_bytes(), at).unwrap();
}

/// Everything that can be done with a ring whose words may be anything; only that it ends counts.
fn use_it(dir: &Dir) {
    let _ = dir.open("r").info().map(|info| format!("{info:?}"));
    let rx = dir.open("r").subscribe();
    let tx = dir.open("r").producer();
    if let Ok(mut tx) = tx {
        for n in 0..200 {
            let _ = tx.try_send(&[n; 50]);
            if let Ok(rx) = &rx {
                let _ = rx.try_recv().map(|record| record.len());
            }
        }
        let _ = tx.send_timeout(b"x", Duration::from_millis(2));
        let _ = tx.try_send_batch([b"a", b"b"]);
        if let Ok(claim) = tx.try_claim(100) {
            claim.commit();
        }
    }
    if let Ok(rx) = &rx {
        let _ = rx.recv_timeout(Duration::from_millis(2)).map(|record| record.len());
    }
}

/// Case 23: every word of the identity, one at a time.
#[test]
fn every_word_of_the_identity() {
    let _alone = no_forks();
    in_time(|| {
        for at in (0..192).step_by(4) {
            let dir = Dir::new();
            leftover(&dir);
            let mut old = [0; 4];
            edit(&dir, "data").read_exact_at(&mut old, at).unwrap();
            let word = u32::from_le_bytes(old);
            for new in [0, !0, word.wrapping_add(1), word.wrapping_sub(1), word << 1, 1 << 31] {
                // One whose options say that it is not persistent goes with its next producer.
                if dir.entries().is_empty() {
                    leftover(&dir);
                }
                let file = edit(&dir, "data");
                file.read_exact_at(&mut old, at).unwrap();
                file.write_all_at(&new.to_le_bytes(), at).unwrap();
                use_it(&dir);
                file.write_all_at(&old, at).unwrap();
            }
            // And whole again, it works.
            if !dir.entries().is_empty() {
                assert!(dir.open("r").producer().unwrap().sequence() >= 100);
            }
        }
    });
}

/// Every word of the producer's page that is used, one at a time and some at once: takeover checks them.
#[test]
fn every_word_of_the_producer() {
    let _alone = no_forks();
    in_time(|| {
        let mut random = Random::new(7);
        for at in (0..288).step_by(8).chain((0..288).step_by(8)) {
            let dir = Dir::new();
            leftover(&dir);
            let file = edit(&dir, "data");
            let at = PRODUCER_PAGE + at;
            let word = get(&file, at);
            let near = 1 << random.below(64);
            for new in
                [0, !0, word.wrapping_add(1), word.wrapping_sub(64), 1 << 63, word ^ near, !0 - 4096 * 4]
            {
                put(&file, at, new);
                if random.below(3) == 0 {
                    put(&file, PRODUCER_PAGE + 8 * random.below(36), random.next());
                }
                use_it(&dir);
            }
        }
    });
}

/// Records of a ring that is taken over, scribbled over.
#[test]
fn records_of_a_leftover() {
    let _alone = no_forks();
    in_time(|| {
        let mut random = Random::new(8);
        for _ in 0..200 {
            let dir = Dir::new();
            leftover(&dir);
            let file = edit(&dir, "data");
            for _ in 0..1 + random.below(64) {
                let header = random.next() << 32 | 1 << 31 | random.below(1 << 13);
                let word = [0, !0, header, random.next()][random.below(4) as usize];
                put(&file, RECORDS + 64 * random.below(64), word);
            }
            use_it(&dir);
        }
    });
}

/// Case 24: the words that subscribers write: any of them, while a producer and a reader run. The producer goes on.
#[test]
fn every_word_of_ctl_while_it_runs() {
    in_time(|| {
        let mut random = Random::new(9);
        let dir = Dir::new();
        let liveness = Duration::from_millis(1);
        let mut tx = dir.create("r").capacity(4096).liveness(liveness).max_subscribers(4).producer().unwrap();
        let file = edit(&dir, "ctl");
        let words = (0..66).map(|i| 8 * i).chain((0..128).map(|i| SLOTS + 8 * i));
        for at in words {
            let word = get(&file, at);
            for new in [0, 1, !0, word.wrapping_add(1), word.wrapping_add(1 << 40), 1 << 63, random.next()] {
                let rx = dir.open("r").subscribe();
                put(&file, at, new);
                for n in 0..80 {
                    let _ = tx.try_send(&[n; 30]);
                }
                if let Ok(rx) = rx {
                    while let Ok(record) = rx.try_recv() {
                        assert_eq!(record.len(), 30);
                    }
                    let _ = rx.recv_timeout(Duration::ZERO);
                }
                let _ = dir.open("r").info().map(|info| format!("{info:?}"));
                put(&file, at, word);
                // Nobody is there who counts, so nothing may stop the producer for good.
                tx.send(b"on").unwrap();
            }
        }
    });
}

/// Case 24: a cursor from the future, or from the past, never blocks the producer for ever.
#[test]
fn cursors_from_nowhere() {
    in_time(|| {
        let dir = Dir::new();
        let mut tx = dir.create("r").capacity(4096).producer().unwrap();
        for _ in 0..1000 {
            tx.send(&[1; 100]).unwrap();
        }
        let ctl = edit(&dir, "ctl");
        for cursor in [0, 8, 4096, tx.sequence() * 128 + 4096, 1 << 40, 1 << 63, u64::MAX - 8, u64::MAX - 1] {
            let rx = dir.open("r").subscribe().unwrap();
            put(&ctl, SLOTS, cursor);
            for _ in 0..200 {
                tx.send(&[2; 100]).unwrap();
            }
            // The reader is told that it lost, if it did; no record is torn or longer than the ring.
            loop {
                match rx.try_recv() {
                    Ok(record) => assert_eq!(&*record, [2; 100]),
                    Err(
                        TryRecvError::Empty | TryRecvError::Ended(RecvError::Evicted | RecvError::Corrupt),
                    ) => break,
                    Err(other) => panic!("{other}"),
                }
            }
        }
    });
}

/// Case 24, and a length used before it is checked: a header that no producer writes is `Corrupt`, again and again, never a slice longer than the ring.
#[test]
fn headers_that_no_producer_writes() {
    let dir = Dir::new();
    let _tx = dir.create("r").capacity(4096).producer().unwrap();
    let data = edit(&dir, "data");
    for header in [1, 1 << 31 | 4096, 1 << 31 | 1 << 30, 1 << 32 | 1 << 31, !0, 1 << 31 | ((1 << 30) - 1)] {
        put(&data, RECORDS, 0);
        let rx = dir.open("r").subscribe().unwrap();
        put(&data, RECORDS, header);
        for _ in 0..3 {
            assert_eq!(rx.recv().unwrap_err(), RecvError::Corrupt, "{header:#x}");
            assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Ended(RecvError::Corrupt));
        }
    }
}

/// Case 22: wrong version: a ring of another layout says both versions.
#[test]
fn another_layout_version() {
    let dir = Dir::new();
    let _tx = dir.create("r").capacity(4096).producer().unwrap();
    let data = edit(&dir, "data");
    let ours = get(&data, 8) as u32;
    for theirs in [0, ours + 1, u32::MAX] {
        data.write_all_at(&theirs.to_le_bytes(), 8).unwrap();
        for error in [dir.open("r").subscribe().unwrap_err(), dir.open("r").info().unwrap_err()] {
            assert_eq!(error.kind(), &ErrorKind::LayoutVersion { theirs, ours });
            helpful(&error);
        }
    }
}

/// Case 22: truncated: files that are too short, too long or not there; each restored, it is a ring again.
#[test]
fn files_of_another_length() {
    let _alone = no_forks();
    let dir = Dir::new();
    leftover(&dir);
    for file in ["data", "ctl"] {
        let path = dir.file("r", file);
        let whole = fs::read(&path).unwrap();
        let len = whole.len() as u64;
        for wrong in
            [0, 1, 8, 191, 4095, 4096, 8192, RECORDS - 1, RECORDS, len - 4096, len - 1, len + 1, len * 2]
        {
            edit(&dir, file).set_len(wrong).unwrap();
            for error in [
                dir.open("r").subscribe().unwrap_err(),
                dir.open("r").info().unwrap_err(),
                dir.open("r").producer().unwrap_err(),
                dir.open_or_create("r").producer().unwrap_err(),
            ] {
                assert!(matches!(error.kind(), ErrorKind::NotARing(_)), "{file} of {wrong}: {error}");
                helpful(&error);
            }
            fs::write(&path, &whole).unwrap();
        }
        fs::remove_file(&path).unwrap();
        let error = dir.open("r").subscribe().unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::NotARing("one of its files is missing"));
        fs::write(&path, &whole).unwrap();
    }
    assert_eq!(crate::support::entries(&dir.path().join("r")), ["ctl", "data", "life.1", "owner"]);
    let tx = dir.open("r").producer().unwrap();
    assert_eq!(tx.sequence(), 100);
}

/// Case 22: foreign: random bytes in the place of a ring's files.
#[test]
fn foreign_bytes() {
    let _alone = no_forks();
    let dir = Dir::new();
    leftover(&dir);
    let mut random = Random::new(10);
    for file in ["ctl", "data"] {
        let len = fs::metadata(dir.file("r", file)).unwrap().len();
        let bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        fs::write(dir.file("r", file), bytes).unwrap();
        for error in [dir.open("r").subscribe().unwrap_err(), dir.open("r").producer().unwrap_err()] {
            assert!(matches!(error.kind(), ErrorKind::NotARing(_)), "{error}");
            helpful(&error);
        }
    }
}

/// The ctl file of another ring of the same shape.
#[test]
fn the_ctl_of_another_ring() {
    let dir = Dir::new();
    let _tx = dir.create("r").capacity(4096).producer().unwrap();
    let _other = dir.create("s").capacity(4096).producer().unwrap();
    fs::copy(dir.file("s", "ctl"), dir.file("r", "ctl")).unwrap();
    let error = dir.open("r").subscribe().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotARing("its ctl file belongs to another ring"));
    helpful(&error);
}

/// A FIFO, a symbolic link or a directory in the place of a file: an error at once, no waiting on it.
#[test]
fn other_things_in_the_place_of_files() {
    in_time(|| {
        let dir = Dir::new();
        let _tx = dir.create("r").capacity(4096).producer().unwrap();
        for file in ["data", "ctl"] {
            let path = dir.file("r", file);
            let aside = dir.path().join("aside");
            fs::rename(&path, &aside).unwrap();
            let refused = |what: &str| {
                for error in [dir.open("r").subscribe().unwrap_err(), dir.open("r").info().unwrap_err()] {
                    assert!(matches!(error.kind(), ErrorKind::NotARing(_)), "{what} as {file}: {error}");
                    helpful(&error);
                }
            };
            {
                let _alone = no_forks();
                assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
            }
            refused("a FIFO");
            fs::remove_file(&path).unwrap();
            symlink(&aside, &path).unwrap();
            refused("a link");
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
            refused("a directory");
            fs::remove_dir(&path).unwrap();
            fs::rename(&aside, &path).unwrap();
            dir.open("r").subscribe().unwrap();
        }
    });
}

/// A cursor in a slot that says it is free still counts, so it is reaped as well: the producer was blocked for ever
/// by a reader that nobody could find.
#[test]
fn a_cursor_in_a_free_slot() {
    let liveness = Duration::from_millis(50);
    for waiting in [Waiting::spin(), Waiting::yielding(), Waiting::park_after(0)] {
        in_time(move || {
            let dir = Dir::new();
            let ring = dir.create("r").capacity(4096).liveness(liveness).waiting(waiting);
            let mut tx = ring.producer().unwrap();
            let rx = dir.open("r").subscribe().unwrap();
            while tx.try_send(&[1; 100]).is_ok() {}
            put(&edit(&dir, "ctl"), SLOTS + 256 * 5, 0);
            while rx.try_recv().is_ok() {}
            // Nothing but the scribble is in the way now.
            tx.send_timeout(&[2; 100], liveness * INTERVALS).unwrap();
            assert_eq!(&*rx.recv().unwrap(), [2; 100]);
            assert_eq!(dir.open("r").info().unwrap().reaped, 1);
        });
    }
}

/// A state word that no producer writes is `Corrupt`, after the records before it: it was taken for an open ring,
/// and its readers waited for ever.
#[test]
fn a_state_that_no_producer_writes() {
    const STATE: u64 = PRODUCER_PAGE + 264;
    for waiting in [Waiting::spin(), Waiting::yielding(), Waiting::park_after(0)] {
        in_time(move || {
            let dir = Dir::new();
            let mut tx = dir.create("r").capacity(4096).producer().unwrap();
            let rx = dir.open("r").waiting(waiting).subscribe().unwrap();
            tx.send(b"before").unwrap();
            edit(&dir, "data").write_all_at(&9_u32.to_le_bytes(), STATE).unwrap();
            assert_eq!(&*rx.recv().unwrap(), b"before");
            let end = rx.recv_timeout(LONG).unwrap_err();
            assert_eq!(end, RecvTimeoutError::Ended(RecvError::Corrupt));
            assert_eq!(rx.recv().unwrap_err(), RecvError::Corrupt);
            assert_eq!(rx.try_recv().unwrap_err(), TryRecvError::Ended(RecvError::Corrupt));
        });
    }
    // And one that is asleep already.
    in_time(|| {
        let dir = Dir::new();
        let liveness = Duration::from_millis(50);
        let _tx = dir.create("r").capacity(4096).liveness(liveness).producer().unwrap();
        let rx = dir.open("r").waiting(Waiting::park_after(0)).subscribe().unwrap();
        let (say, tid) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            say.send(thread_id()).unwrap();
            rx.recv().map(drop).unwrap_err()
        });
        until_asleep(tid.recv().unwrap());
        let begin = Instant::now();
        edit(&dir, "data").write_all_at(&9_u32.to_le_bytes(), STATE).unwrap();
        assert_eq!(reader.join().unwrap(), RecvError::Corrupt);
        assert!(begin.elapsed() < liveness * INTERVALS, "{:?}", begin.elapsed());
    });
}
