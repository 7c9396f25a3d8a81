#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cairn_fuzz_entries::origin(bytes));
