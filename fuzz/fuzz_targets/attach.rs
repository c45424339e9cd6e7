//! See `annulus_fuzz::attach`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: annulus_fuzz::seeds::write_if_asked(), |bytes: &[u8]| {
    annulus_fuzz::attach::run(bytes);
});
