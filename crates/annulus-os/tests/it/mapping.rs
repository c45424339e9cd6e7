//! The mirror, its guards, and what is refused.

use std::io::ErrorKind;

use annulus_os::place::{anonymous, page_size_of, reserve};
use annulus_os::sys::page_size;
use annulus_os::{Access, Mapping, Part};

use crate::support::{End, Folder, alone, read, touch, write};

#[test]
fn the_body_is_there_twice_and_the_head_once() {
    let page = page_size();
    for (head, body) in [(page, 4 * page), (0, page), (3 * page, 16 * page)] {
        let file = anonymous("mirror", (head + body) as u64).unwrap();
        let map = Mapping::mirrored(&file, head, body, Access::ReadWrite).unwrap();
        assert_eq!(map.len(), head + 2 * body);
        assert!(map.base().as_ptr().addr().is_multiple_of(page));

        // A run of bytes over the end of the body shows at its start, and the other way round.
        for step in 0..100 {
            write(&map, head + body - 50 + step, step as u8 + 1);
        }
        for step in 50..100 {
            assert_eq!(read(&map, head + step - 50), step as u8 + 1);
        }
        write(&map, head, 200);
        assert_eq!(read(&map, head + body), 200);
        write(&map, head + 2 * body - 1, 201);
        assert_eq!(read(&map, head + body - 1), 201);

        // The head is no part of the mirror, and it is the start of the file.
        if head > 0 {
            write(&map, head - 1, 77);
            assert_ne!(read(&map, head + body - 1), 77);
            write(&map, 0, 78);
            let reader = Mapping::plain(&file, head + body, Access::Read).unwrap();
            assert_eq!((read(&reader, 0), read(&reader, head), read(&reader, head - 1)), (78, 200, 77));
            assert_eq!(reader.len(), head + body);
        }
    }
}

#[test]
fn a_mapping_may_begin_anywhere_in_its_file() {
    let page = page_size();
    let file = anonymous("parts", 6 * page as u64).unwrap();
    assert_eq!(page_size_of(&file).unwrap(), page);
    let all = Mapping::plain(&file, 6 * page, Access::ReadWrite).unwrap();
    for number in 0..6 {
        write(&all, number * page, number as u8);
    }
    let part = Mapping::plain_at(&file, 2 * page as u64, 3 * page, Access::ReadWrite).unwrap();
    assert_eq!(part.len(), 3 * page);
    assert_eq!([0, 1, 2].map(|number| read(&part, number * page)), [2, 3, 4]);
    let twice = Mapping::mirrored_at(&file, page as u64, 2 * page, 3 * page, Access::ReadWrite).unwrap();
    assert_eq!(twice.len(), 8 * page);
    let seen = [0, 1, 2, 3, 4, 5, 6, 7].map(|number| read(&twice, number * page));
    assert_eq!(seen, [1, 2, 3, 4, 5, 3, 4, 5]);
    write(&twice, 5 * page + 7, 77);
    assert_eq!((read(&all, 3 * page + 7), read(&part, page + 7)), (77, 77));

    let kind = |offset, len| Mapping::plain_at(&file, offset, len, Access::Read).unwrap_err().kind();
    let mirror = |offset, len| Mapping::mirrored_at(&file, offset, 0, len, Access::Read).unwrap_err().kind();
    for offset in [1, 8, page as u64 / 2, page as u64 + 1, u64::MAX] {
        assert_eq!(kind(offset, page), ErrorKind::InvalidInput, "{offset}");
        assert_eq!(mirror(offset, page), ErrorKind::InvalidInput, "{offset}");
    }
    let top = u64::MAX - page as u64 + 1;
    for offset in [6 * page as u64, 5 * page as u64, 1 << 62, 1 << 63, top] {
        assert_eq!(kind(offset, 2 * page), ErrorKind::UnexpectedEof, "{offset}");
        assert_eq!(mirror(offset, 2 * page), ErrorKind::UnexpectedEof, "{offset}");
    }
}

#[test]
fn an_alignment_counts_from_the_start_of_the_file() {
    let page = page_size();
    let file = anonymous("aligned", 8 * page as u64).unwrap();
    for align in [1, page, 2 * page, 2 << 20, 1 << 30] {
        for first in [0, 1, 3] {
            let offset = first * page as u64;
            for part in [Part::plain(2 * page), Part::mirrored(page, 3 * page)] {
                let map = Mapping::new(&file, part.at(offset).aligned(align), Access::ReadWrite).unwrap();
                let start = (map.base().as_ptr().addr() as u64).wrapping_sub(offset);
                assert!(start.is_multiple_of(align as u64), "{part:?} at {offset}, {align}");
                write(&map, map.len() - 1, 5);
                map.prefault().unwrap();
            }
        }
    }
    let kind =
        |align| Mapping::new(&file, Part::plain(page).aligned(align), Access::Read).unwrap_err().kind();
    for align in [0, 3, page + 1, 1 << 63, usize::MAX] {
        assert_eq!(kind(align), ErrorKind::InvalidInput, "{align}");
    }
    assert_eq!(kind(1 << 62), ErrorKind::OutOfMemory);
}

#[test]
fn two_mappings_share_their_bytes() {
    let page = page_size();
    let file = anonymous("share", 2 * page as u64).unwrap();
    let writer = Mapping::mirrored(&file, page, page, Access::ReadWrite).unwrap();
    let reader = Mapping::mirrored(&file, page, page, Access::Read).unwrap();
    drop(file);
    write(&writer, 2 * page + 5, 9);
    assert_eq!(read(&reader, page + 5), 9);
    assert_eq!(read(&reader, 2 * page + 5), 9);
    writer.prefault().unwrap();
    reader.prefault().unwrap();
    assert_eq!(read(&reader, page + 5), 9);
}

#[test]
fn bytes_outside_the_mapping_and_writes_to_a_read_only_one_are_faults() {
    let alone = alone();
    let page = page_size();
    let file = anonymous("guards", 3 * page as u64).unwrap();
    for access in [Access::Read, Access::ReadWrite] {
        for map in [
            Mapping::mirrored(&file, page, 2 * page, access).unwrap(),
            Mapping::mirrored(&file, 0, page, access).unwrap(),
            Mapping::plain(&file, 3 * page, access).unwrap(),
            Mapping::plain_at(&file, page as u64, page, access).unwrap(),
            Mapping::new(&file, Part::mirrored(page, 2 * page).aligned(16 * page), access).unwrap(),
        ] {
            let touch = |offset, store| touch(&alone, &map, offset, store);
            let (len, page) = (map.len() as isize, page as isize);
            let fault = End::Signal(libc::SIGSEGV);
            for inside in [0, len / 2, len - 1] {
                assert_eq!(touch(inside, false), End::Exit(0));
                let store = touch(inside, true);
                assert_eq!(
                    store,
                    if access == Access::Read { End::Signal(libc::SIGSEGV) } else { End::Exit(0) }
                );
            }
            for outside in [-1, -page, len, len + page - 1] {
                assert_eq!(touch(outside, false), fault, "read at {outside} of {len}");
                assert_eq!(touch(outside, true), fault, "write at {outside} of {len}");
            }
        }
    }
}

/// Lines of /proc/self/maps that are about the memfd `name`.
fn lines_about(name: &str) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains(&format!("memfd:{name}"))).count()
}

#[test]
fn dropping_unmaps_everything_and_failing_leaves_nothing() {
    let page = page_size();
    let file = anonymous("unmapped", 2 * page as u64).unwrap();
    let map = Mapping::mirrored(&file, page, page, Access::ReadWrite).unwrap();
    assert!(lines_about("unmapped") >= 4);
    drop(map);
    assert_eq!(lines_about("unmapped"), 0);
    Mapping::mirrored(&file, page, 2 * page, Access::ReadWrite).unwrap_err();
    assert_eq!(lines_about("unmapped"), 0);
}

#[test]
fn impossible_lengths_are_errors() {
    let page = page_size();
    let file = anonymous("lengths", 4 * page as u64).unwrap();
    let kind = |head, body| Mapping::mirrored(&file, head, body, Access::Read).unwrap_err().kind();
    assert_eq!(kind(page, 0), ErrorKind::InvalidInput);
    assert_eq!(kind(page, page - 8), ErrorKind::InvalidInput);
    assert_eq!(kind(page / 2, page), ErrorKind::InvalidInput);
    assert_eq!(kind(page, 4 * page), ErrorKind::UnexpectedEof);
    assert_eq!(kind(2 * page, 4 * page), ErrorKind::UnexpectedEof);
    // What a hostile header may ask for.
    for power in [40, 46, 47, 55, 60] {
        assert_eq!(kind(page, 1 << power), ErrorKind::UnexpectedEof, "2^{power}");
    }
    for power in [62, 63] {
        assert_eq!(kind(page, 1 << power), ErrorKind::InvalidInput, "2^{power}");
    }
    assert_eq!(kind(usize::MAX - page + 1, page), ErrorKind::InvalidInput);
    assert_eq!(kind(page, usize::MAX - page + 1), ErrorKind::InvalidInput);

    let plain = |len| Mapping::plain(&file, len, Access::Read).unwrap_err().kind();
    assert_eq!(plain(0), ErrorKind::InvalidInput);
    assert_eq!(plain(5 * page), ErrorKind::UnexpectedEof);
    assert_eq!(plain(1 << 63), ErrorKind::InvalidInput);
}

#[test]
fn a_file_with_the_length_but_more_than_the_address_space_is_an_error() {
    let folder = Folder::new();
    let file = folder.place().create_file("huge", 0o600).unwrap();
    // A hole: costs nothing.
    file.set_len(1 << 60).unwrap();
    let kind = |body| Mapping::mirrored(&file, page_size(), body, Access::ReadWrite).unwrap_err().kind();
    assert_eq!(kind(1 << 59), ErrorKind::OutOfMemory);
    assert_eq!(kind(1 << 50), ErrorKind::OutOfMemory);
}

#[test]
fn a_descriptor_for_reading_is_not_mapped_for_writing() {
    let folder = Folder::new();
    let place = folder.place();
    reserve(&place.create_file("data", 0o600).unwrap(), page_size() as u64).unwrap();
    let file = place.open_file("data", Access::Read).unwrap();
    let error = Mapping::plain(&file, page_size(), Access::ReadWrite).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    Mapping::plain(&file, page_size(), Access::Read).unwrap().prefault().unwrap();
}

#[test]
fn prefaulting_a_file_that_became_shorter_is_an_error_and_no_signal() {
    let page = page_size();
    let file = anonymous("shorter", 4 * page as u64).unwrap();
    for access in [Access::Read, Access::ReadWrite] {
        let map = Mapping::plain(&file, 4 * page, access).unwrap();
        file.set_len(page as u64).unwrap();
        assert_eq!(map.prefault().unwrap_err().raw_os_error(), Some(libc::EFAULT));
        file.set_len(4 * page as u64).unwrap();
    }
}
