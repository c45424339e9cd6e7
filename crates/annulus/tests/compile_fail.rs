//! What must not be a payload does not compile, and its error says what to do; nor does what the handles exclude.
//!
//! `TRYBUILD=overwrite cargo test -p annulus --test compile_fail` writes the expected errors anew, for another
//! compiler in `rust-toolchain.toml` or another wording; read the difference before it goes in.

/// Case 26: types that cannot be shared (references, padding, bool, enum, and more) do not compile.
#[test]
fn only_plain_bytes_are_payloads() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile_fail/pass/*.rs");
    cases.compile_fail("tests/compile_fail/*.rs");
    if cfg!(feature = "zerocopy-08") {
        cases.compile_fail("tests/compile_fail/zerocopy_08/*.rs");
    }
}

/// Promise: two producers of one handle, a record kept longer than its subscriber, a handle used by two threads and the
/// like do not compile. What each handle may do instead stands in `pass/handles.rs`.
#[test]
fn misused_handles() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/handles/*.rs");
}
