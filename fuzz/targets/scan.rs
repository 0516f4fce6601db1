//! libFuzzer's way into `ferrule_fuzz::scan`, where the invariants are.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ferrule_fuzz::scan(data));
