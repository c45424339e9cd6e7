//! See `annulus_fuzz::oracle`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: annulus_fuzz::seeds::write_if_asked(), |bytes: &[u8]| {
    annulus_fuzz::oracle::run(bytes);
});
