//! Pages that are locked, bound to a node, and huge of the kernel's own accord.
#![allow(unsafe_code)]

use std::fs;
use std::io::{self, ErrorKind};

use annulus_os::place::anonymous;
use annulus_os::sys::{page_size, transparent_huge_page_size};
use annulus_os::{Access, Mapping, Part, Place};

use crate::support::{Child, End, again_as_root, alone, read, with_mount, write};

fn mirror(name: &str, pages: usize) -> Mapping {
    let page = page_size();
    let file = anonymous(name, ((1 + pages) * page) as u64).unwrap();
    Mapping::mirrored(&file, page, pages * page, Access::ReadWrite).unwrap()
}

/// Kilobytes of this process that are locked. See proc_pid_status(5).
fn locked() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap()
}

/// For a child: gives up what lets root lock anything, and allows `limit` bytes.
fn limit_locks(limit: usize) {
    let limit = libc::rlimit { rlim_cur: limit as u64, rlim_max: limit as u64 };
    // SAFETY: reads one `rlimit`. The bare system call changes this thread alone, and a child has one; that of
    // the C library would look for the others. Without the right to change, there is nothing to give up.
    unsafe {
        libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit);
        libc::syscall(libc::SYS_setresuid, 65_534, 65_534, 65_534);
    }
}

#[test]
fn a_locked_mapping_is_counted_until_it_is_dropped_and_limits_hold() {
    let alone = alone();
    let map = mirror("locked", 7);
    let page = page_size();
    for (limit, kind) in [(0, ErrorKind::PermissionDenied), (8 * page, ErrorKind::OutOfMemory)] {
        let child = Child::run(&alone, || {
            limit_locks(limit);
            match map.lock() {
                Err(error) if error.kind() == kind => 0,
                Err(_) => 1,
                Ok(()) => 2,
            }
        });
        assert_eq!(child.wait(), End::Exit(0), "limit {limit}");
    }
    let child = Child::run(&alone, || {
        limit_locks(15 * page);
        i32::from(map.lock().is_err())
    });
    assert_eq!(child.wait(), End::Exit(0), "the body counts twice, and no guard counts");

    // Both of this process's own accord. Nobody else here locks anything.
    let before = locked();
    if let Err(error) = map.lock() {
        eprintln!("NOT TESTED: pages::a_locked_mapping..: this user may not lock 15 pages: {error}");
        return;
    }
    assert_eq!(locked() - before, map.len() / 1024);
    write(&map, page, 3);
    assert_eq!(read(&map, 8 * page), 3);
    drop(map);
    assert_eq!(locked(), before);
}

/// The policy of the page at `offset`: its mode, and the first 64 nodes. See get_mempolicy(2).
fn policy_at(map: &Mapping, offset: usize) -> (libc::c_int, u64) {
    const MPOL_F_ADDR: libc::c_int = 1 << 1;
    let (mut mode, mut nodes): (libc::c_int, [u64; 16]) = (-1, [0; 16]);
    assert!(offset < map.len());
    // SAFETY: writes one int, and 1,024 bits, which are all of `nodes`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            &raw mut mode,
            nodes.as_mut_ptr(),
            1024 + 1,
            map.base().as_ptr().add(offset),
            MPOL_F_ADDR,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    (mode, nodes[0])
}

#[test]
fn a_mapping_is_bound_to_a_node_and_only_to_one_there_is() {
    let map = mirror("bound", 3);
    match map.bind_to_node(0) {
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
            eprintln!("NOT TESTED: pages::a_mapping_is_bound..: {error}");
            return;
        }
        result => result.unwrap(),
    }
    for page in 0..7 {
        assert_eq!(policy_at(&map, page * page_size()), (libc::MPOL_BIND, 1), "page {page}");
    }
    map.prefault().unwrap();
    // The policy is the file's, so it is not what this mapping alone has; another file has none.
    assert_eq!(policy_at(&mirror("unbound", 3), 0).1, 0);

    for node in [63, 64, 1000, 1023, 1024, 1 << 16, u32::MAX] {
        if fs::exists(format!("/sys/devices/system/node/node{node}")).unwrap() {
            continue;
        }
        assert_eq!(map.bind_to_node(node).unwrap_err().kind(), ErrorKind::InvalidInput, "{node}");
    }
    assert_eq!(policy_at(&map, 0), (libc::MPOL_BIND, 1), "a refused node changes nothing");
}

/// For a child: from now on the system call `number` does nothing and fails with `errno`. See seccomp(2).
fn forbid(number: libc::c_long, errno: libc::c_int) -> bool {
    let step =
        |code: u32, jump_false: u8, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: jump_false, k };
    let mut steps = [
        // The number is the first word of what the filter sees.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, number as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: steps.as_mut_ptr() };
    // SAFETY: the kernel copies the four steps of the program, which live until it returns.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    }
}

#[test]
fn a_kernel_without_nodes_and_a_sandbox_are_told_apart() {
    let alone = alone();
    let map = mirror("refused", 1);
    for (errno, kind) in [(libc::ENOSYS, ErrorKind::Unsupported), (libc::EPERM, ErrorKind::PermissionDenied)]
    {
        let child = Child::run(&alone, || {
            if !forbid(libc::SYS_mbind, errno) {
                return 77;
            }
            i32::from(!map.bind_to_node(0).is_err_and(|error| error.kind() == kind))
        });
        match child.wait() {
            End::Exit(77) => eprintln!("NOT TESTED: pages::a_kernel_without_nodes..: no seccomp here"),
            end => assert_eq!(end, End::Exit(0), "{kind}"),
        }
    }
}

/// Bytes of the mapping that huge pages stand behind, in both copies. See proc_pid_smaps(5).
fn in_huge_pages(map: &Mapping) -> usize {
    let range = map.base().as_ptr().addr()..map.base().as_ptr().addr() + map.len();
    let (mut inside, mut sum) = (false, 0);
    for line in fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        if let Some((start, _)) = first.split_once('-') {
            inside = range.contains(&usize::from_str_radix(start, 16).unwrap());
        } else if inside && first == "ShmemPmdMapped:" {
            sum += rest.trim().strip_suffix(" kB").unwrap().trim().parse::<usize>().unwrap() * 1024;
        }
    }
    sum
}

/// How often the kernel wanted a huge page for a file and had none.
fn fallbacks() -> Option<u64> {
    let counters = fs::read_to_string("/proc/vmstat").unwrap();
    counters.lines().find_map(|line| line.strip_prefix("thp_file_fallback "))?.parse().ok()
}

#[test]
fn advice_brings_huge_pages_where_the_address_agrees() {
    const NAME: &str = "pages::advice_brings_huge_pages_where_the_address_agrees";
    let Some(huge) = transparent_huge_page_size().filter(|size| *size <= 4 << 20) else {
        eprintln!("NOT TESTED: {NAME}: no huge pages, or larger ones than a test should take");
        return;
    };
    let tested = with_mount("tmpfs", &format!("size={},huge=advise", 16 * huge), |path| {
        let place = Place::open(path).unwrap();
        let before = fallbacks();
        // The body is not at the start of the file, nor is the whole at the start of a huge page.
        let (offset, head, body) = (page_size() as u64, 2 * huge - page_size(), 2 * huge);
        let part = Part::mirrored(head, body).at(offset).aligned(huge);
        let mapped = |name: &str, part, advise: bool| {
            let file = place.create_file(name, 0o600).unwrap();
            file.set_len(4 * huge as u64).unwrap();
            let map = Mapping::new(&file, part, Access::ReadWrite).unwrap();
            if advise {
                map.advise_huge().unwrap();
            }
            map.prefault().unwrap();
            write(&map, head + body - 1, 9);
            assert_eq!(read(&map, head + 2 * body - 1), 9);
            in_huge_pages(&map)
        };
        assert_eq!(mapped("small", part, false), 0);
        let found = mapped("huge", part, true);
        if fallbacks() == before {
            // Both copies of the body and the second half of the head: all that is a whole huge page.
            assert_eq!(found, 5 * huge);
        } else {
            eprintln!("NOT TESTED: {NAME}: the kernel has no huge page left");
        }
    });
    if !tested {
        assert_ne!(again_as_root(NAME), Some(false));
    }
}
