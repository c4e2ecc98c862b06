#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::plain_acl(data));
