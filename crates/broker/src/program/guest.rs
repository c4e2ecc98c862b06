//! A filter program as WebAssembly: what it must export, how a message is shown to it, what it may cost.
//!
//! The interface, version 1. A program imports nothing and exports
//!
//! | export | |
//! |---|---|
//! | `memory` | its memory |
//! | `alloc(len: i32) -> i32` | the address of `len` bytes for an input, 0 if there are none |
//! | `filter(input: i32, len: i32) -> i32` | 1: keep the message, 0: drop it |
//!
//! The name `filter` is the version: should there be another interface, its function has another name, and both go on
//! working. An input lies like this, numbers little-endian; what is at `properties at` and `body at` may move behind more
//! fields, so a program goes by these two:
//!
//! | properties at: 4 | bytes: 4 | body at: 4 | bytes: 4 | born timestamp: 8 | store timestamp: 8 | properties | body |
//!
//! Properties are as in a record: name, 0x01, value, 0x02. The body is as its producer had it, unpacked.

use protocol::body::unpack_into;
use protocol::message::SysFlag;
use protocol::record::Record;
use wasmi::{
    CompilationMode, Config, EnforcedLimits, Engine, ExternType, Linker, Memory, Module, Store, StoreLimits,
    StoreLimitsBuilder, TrapCode, TypedFunc,
};

/// The largest module that is taken, in bytes.
pub const MODULE_MAX: usize = 1 << 20;

/// What one message may cost, in wasmi's fuel: an instruction costs a few. Less than a millisecond.
pub const FUEL: u64 = 1_000_000;

/// The largest input: properties and unpacked body together, in bytes.
pub const INPUT_MAX: usize = 1 << 20;

/// So much memory a program may grow to, in bytes.
pub const MEMORY_MAX: usize = 16 << 20;

/// So much memory a program may begin with, in bytes: it is made anew after each failure.
pub const MEMORY_BEGIN_MAX: usize = 4 << 20;

/// Bytes in front of the properties.
const HEAD_LEN: usize = 32;

/// Room is asked for in such steps, at least.
const ROOM_MIN: usize = 4096;

const PAGE: u64 = 64 << 10;

/// Why a module is no filter program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadModule {
    /// Too large.
    #[error("the module has {0} bytes; {MODULE_MAX} is the most that a filter program may have")]
    TooLarge(usize),
    /// No WebAssembly, or with parts that are not known here.
    #[error("this is no WebAssembly module that can be run here: {0}")]
    Invalid(String),
    /// It wants something of its host.
    #[error(
        "the module imports `{0}`, and a filter program is given nothing to import: build it for \
         wasm32-unknown-unknown, without WASI and without JavaScript glue"
    )]
    Import(String),
    /// An export is missing, or is something else.
    #[error("the module does not export {0}; docs/filter-programs.md lists what a filter program exports")]
    Export(&'static str),
    /// Its memory is too large from the start.
    #[error(
        "the module begins with {0} bytes of memory; {MEMORY_BEGIN_MAX} is the most (fewer static data, a smaller stack)"
    )]
    Memory(u64),
    /// It does not come up.
    #[error("the module cannot be started: {0}")]
    Start(String),
}

/// Why a program did not judge a message. The message is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It took too long.
    #[error("it used up its fuel of {FUEL} units, less than a millisecond's work")]
    Fuel,
    /// It went down.
    #[error("it trapped: {0}")]
    Trap(String),
    /// Neither keep nor drop.
    #[error("it answered {0}; 1 keeps the message, 0 drops it")]
    Answer(i32),
    /// `alloc` gave no room.
    #[error("its alloc({0}) gave no room in its memory (it may grow to {MEMORY_MAX} bytes)")]
    NoRoom(usize),
    /// Too large to be shown.
    #[error("the message has {0} bytes; {INPUT_MAX} is the most that is shown to a filter program")]
    TooLarge(usize),
    /// The body is packed, and does not unpack.
    #[error("the message's body cannot be unpacked to at most {INPUT_MAX} bytes: {0}")]
    Packed(String),
    /// It does not come up any more.
    #[error("it cannot be started: {0}")]
    Start(String),
}

impl From<wasmi::Error> for Failure {
    fn from(error: wasmi::Error) -> Failure {
        match error.as_trap_code() {
            Some(TrapCode::OutOfFuel) => Failure::Fuel,
            _ => Failure::Trap(error.to_string()),
        }
    }
}

/// A module that is a filter program, translated.
///
/// It has an engine of its own, for an engine gives room for code back only as a whole.
#[derive(Debug)]
pub struct Guest {
    module: Module,
}

impl Guest {
    /// Translates `module`, and sees that it comes up.
    pub fn read(module: &[u8]) -> Result<Guest, BadModule> {
        if module.len() > MODULE_MAX {
            return Err(BadModule::TooLarge(module.len()));
        }
        let mut config = Config::default();
        config
            .consume_fuel(true)
            .compilation_mode(CompilationMode::Eager)
            .enforced_limits(EnforcedLimits::strict())
            .set_max_cached_stacks(1);
        let invalid = |error: wasmi::Error| BadModule::Invalid(error.to_string());
        let engine = Engine::new(&config);
        // Before it is translated: the translator has assertions about what is behind a function's end.
        Module::validate(&engine, module).map_err(invalid)?;
        let module = Module::new(&engine, module).map_err(invalid)?;
        if let Some(import) = module.imports().next() {
            let name = format!("{}.{}", import.module(), import.name());
            return Err(BadModule::Import(name.chars().take(128).collect()));
        }
        match module.get_export("memory") {
            Some(ExternType::Memory(memory)) if memory.minimum().saturating_mul(PAGE) > MEMORY_BEGIN_MAX as u64 => {
                return Err(BadModule::Memory(memory.minimum().saturating_mul(PAGE)));
            }
            Some(ExternType::Memory(_)) => {}
            _ => return Err(BadModule::Export("a memory as `memory`")),
        }
        let guest = Guest { module };
        guest.start()?;
        Ok(guest)
    }

    /// An instance of it.
    pub fn start(&self) -> Result<Instance, BadModule> {
        let failed = |error: wasmi::Error| BadModule::Start(Failure::from(error).to_string());
        let engine = self.module.engine();
        let limits = StoreLimitsBuilder::new()
            .memory_size(MEMORY_MAX)
            .table_elements(10_000)
            .instances(1)
            .memories(1)
            .tables(100)
            .build();
        let mut store = Store::new(engine, limits);
        store.limiter(|limits| limits);
        store.set_fuel(FUEL).map_err(failed)?;
        let instance = Linker::new(engine).instantiate_and_start(&mut store, &self.module).map_err(failed)?;
        let Some(memory) = instance.get_memory(&store, "memory") else {
            return Err(BadModule::Export("a memory as `memory`"));
        };
        let alloc = instance
            .get_typed_func(&store, "alloc")
            .map_err(|_| BadModule::Export("a function `alloc`, from i32 to i32"))?;
        let filter = instance
            .get_typed_func(&store, "filter")
            .map_err(|_| BadModule::Export("a function `filter`, from two i32 to i32"))?;
        Ok(Instance { store, memory, alloc, filter, at: 0, room: 0, input: Vec::new() })
    }
}

/// A filter program that runs.
pub struct Instance {
    store: Store<StoreLimits>,
    memory: Memory,
    alloc: TypedFunc<i32, i32>,
    filter: TypedFunc<(i32, i32), i32>,
    /// Where inputs go in its memory, and how many bytes there are.
    at: usize,
    room: usize,
    /// An unpacked body.
    input: Vec<u8>,
}

impl Instance {
    /// Does it want this message? After a failure, nobody knows in which state it is: drop it.
    pub fn judge(&mut self, record: &Record) -> Result<bool, Failure> {
        let body = match SysFlag(record.sys_flag).compression() {
            None => record.body,
            Some(compression) => {
                self.input.clear();
                unpack_into(&mut self.input, record.body, compression, INPUT_MAX)
                    .map_err(|error| Failure::Packed(error.to_string()))?;
                &self.input
            }
        };
        let len = HEAD_LEN + record.properties.len() + body.len();
        if len > INPUT_MAX {
            return Err(Failure::TooLarge(len));
        }
        if len > self.room {
            let room = len.next_power_of_two().max(ROOM_MIN);
            self.store.set_fuel(FUEL)?;
            self.at = self.alloc.call(&mut self.store, room as i32)? as u32 as usize;
            self.room = room;
            if self.at == 0 {
                return Err(Failure::NoRoom(room));
            }
        }
        let end = self.at.saturating_add(len);
        let Some(input) = self.memory.data_mut(&mut self.store).get_mut(self.at..end) else {
            return Err(Failure::NoRoom(self.room));
        };
        let (head, rest) = input.split_at_mut(HEAD_LEN);
        let (properties, rest) = rest.split_at_mut(record.properties.len());
        let numbers = [HEAD_LEN, properties.len(), HEAD_LEN + properties.len(), body.len()];
        for (field, number) in head.chunks_exact_mut(4).zip(numbers) {
            field.copy_from_slice(&(number as u32).to_le_bytes());
        }
        head[16..24].copy_from_slice(&record.born_timestamp.to_le_bytes());
        head[24..].copy_from_slice(&record.store_timestamp.to_le_bytes());
        properties.copy_from_slice(record.properties);
        rest.copy_from_slice(body);

        self.store.set_fuel(FUEL)?;
        match self.filter.call(&mut self.store, (self.at as i32, len as i32))? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Failure::Answer(other)),
        }
    }

    /// Bytes of memory that it holds.
    pub fn memory(&self) -> usize {
        self.memory.data_size(&self.store) + self.input.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::message::{CommitLogOffset, QueueOffset};
    use protocol::record::RecordFields;
    use std::time::Instant;

    /// The example, as `examples/filter` builds it.
    const EXAMPLE: &[u8] = include_bytes!("../../../../examples/filter/filter.wasm");

    /// A program that answers what `body` leaves, of `$at` and `$len`.
    fn program(body: &str) -> Vec<u8> {
        wat::parse_str(format!(
            r#"(module (memory (export "memory") 1)
                (func (export "alloc") (param i32) (result i32) (i32.const 1024))
                (func (export "filter") (param $at i32) (param $len i32) (result i32) {body}))"#
        ))
        .unwrap()
    }

    fn record(properties: &[u8], body: &[u8], sys_flag: i32) -> Vec<u8> {
        let host = "127.0.0.1:1".parse().unwrap();
        let fields = RecordFields {
            topic: "T",
            queue_id: 0,
            flag: 0,
            queue_offset: QueueOffset(0),
            commit_log_offset: CommitLogOffset(0),
            sys_flag,
            born_timestamp: 0x0102_0304_0506_0708,
            born_host: host,
            store_timestamp: 2,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            body_crc: 0,
            properties,
        };
        let mut bytes = Vec::new();
        fields.encode(&mut bytes);
        bytes
    }

    fn judge(module: &[u8], properties: &[u8], body: &[u8], sys_flag: i32) -> Result<bool, Failure> {
        let bytes = record(properties, body, sys_flag);
        Guest::read(module).unwrap().start().unwrap().judge(&Record::parse(&bytes).unwrap())
    }

    #[test]
    fn the_example_keeps_large_amounts_and_urgent_bodies() {
        for (properties, body, kept) in [
            (&b"amount\x01100\x02"[..], &b"x"[..], true),
            (b"other\x01100\x02amount\x0199\x02", b"x", false),
            (b"", b"this is urgent!", true),
            (b"", b"", false),
            (b"amount\x01many\x02", b"urgen", false),
        ] {
            assert_eq!(judge(EXAMPLE, properties, body, 0), Ok(kept), "{properties:?} {body:?}");
        }
    }

    #[test]
    fn a_body_is_shown_unpacked() {
        let packed = zlib(b"a long text, and urgent it is");
        assert_eq!(judge(EXAMPLE, b"", &packed, SysFlag::COMPRESSED), Ok(true));
        assert_eq!(judge(EXAMPLE, b"", &packed, 0), Ok(false), "the bytes themselves do not say so");
        let broken = judge(EXAMPLE, b"", b"not packed", SysFlag::COMPRESSED);
        assert!(matches!(broken, Err(Failure::Packed(_))), "{broken:?}");
        let bomb = judge(EXAMPLE, b"", &zlib(&vec![0; INPUT_MAX + 1]), SysFlag::COMPRESSED);
        assert!(matches!(bomb, Err(Failure::Packed(_))), "{bomb:?}");
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(5));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_input_lies_as_described() {
        let word = |at: usize| format!("(i32.load (i32.add (local.get $at) (i32.const {at})))");
        for (at, number) in [(0, 32), (4, 4), (8, 36), (12, 2), (16, 0x0506_0708), (20, 0x0102_0304), (24, 2), (28, 0)]
        {
            let same = program(&format!("(i32.eq {} (i32.const {number}))", word(at)));
            assert_eq!(judge(&same, b"a\x01b\x02", b"xy", 0), Ok(true), "{number} at {at}");
        }
        let last = program("(i32.load8_u (i32.sub (i32.add (local.get $at) (local.get $len)) (i32.const 1)))");
        assert_eq!(judge(&last, b"a\x01b\x02", b"x\x01", 0), Ok(true), "the body is last");
    }

    #[test]
    fn what_goes_wrong_is_a_failure_with_a_reason() {
        let began = Instant::now();
        assert_eq!(judge(&program("(loop $on (br $on)) (i32.const 0)"), b"", b"", 0), Err(Failure::Fuel));
        assert!(began.elapsed().as_secs() < 2, "{:?}", began.elapsed());
        for (body, wanted) in [
            ("unreachable", "it trapped: wasm `unreachable` instruction executed"),
            ("(i32.const 2)", "it answered 2"),
            ("(i32.const -1)", "it answered -1"),
            ("(i32.load (i32.const -8))", "out of bounds"),
            ("(i32.div_u (i32.const 1) (i32.const 0))", "divide by zero"),
            ("(call 1 (i32.const 0) (i32.const 0))", "stack"),
        ] {
            let text = judge(&program(body), b"", b"", 0).unwrap_err().to_string();
            assert!(text.contains(wanted), "{body}: {text}");
        }
        let fits = vec![0; 60_000];
        assert_eq!(judge(&program("(i32.const 1)"), b"", &fits, 0), Ok(true));
        assert_eq!(judge(&program("(i32.const 1)"), b"", &[0; 70_000], 0), Err(Failure::NoRoom(131_072)));
        assert!(matches!(judge(EXAMPLE, b"", &vec![0; INPUT_MAX], 0), Err(Failure::TooLarge(_))));
    }

    #[test]
    fn memory_has_a_bound() {
        // Grows by a page at a time until it is refused, and says how many pages there are then.
        let pages = MEMORY_MAX >> 16;
        let grows = program(&format!(
            "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
             (i32.eq (memory.size) (i32.const {pages}))"
        ));
        assert_eq!(judge(&grows, b"", b"", 0), Ok(true));
    }

    #[test]
    fn what_is_no_filter_program_is_refused_with_a_sentence() {
        let wat = |text: &str| wat::parse_str(text).unwrap();
        let alloc = r#"(func (export "alloc") (param i32) (result i32) (i32.const 8))"#;
        let filter = r#"(func (export "filter") (param i32 i32) (result i32) (i32.const 1))"#;
        let memory = r#"(memory (export "memory") 1)"#;
        for (module, wanted) in [
            (Vec::new(), "no WebAssembly module"),
            (b"MZ\x90\0 not this".to_vec(), "no WebAssembly module"),
            (vec![0; MODULE_MAX + 1], "is the most that a filter program may have"),
            (wat(&format!("(module {alloc}{filter})")), "a memory as `memory`"),
            (wat(&format!("(module {memory}{filter})")), "a function `alloc`"),
            (wat(&format!("(module {memory}{alloc})")), "a function `filter`"),
            (
                wat(&format!(r#"(module {memory}{alloc}(func (export "filter") (result i64) (i64.const 1)))"#)),
                "a function `filter`",
            ),
            (wat(r#"(module (import "wasi" "fd_write" (func)))"#), "imports `wasi.fd_write`"),
            (wat(&format!(r#"(module (memory (export "memory") 65){alloc}{filter})"#)), "4259840 bytes of memory"),
            (wat(&format!("(module {memory}{alloc}{filter}(func $go unreachable)(start $go))")), "cannot be started"),
            (
                wat(&format!("(module {memory}{alloc}{filter}(func $go (loop $on (br $on)))(start $go))")),
                "used up its fuel",
            ),
        ] {
            let text = Guest::read(&module).unwrap_err().to_string();
            assert!(text.contains(wanted), "{wanted} in {text}");
        }
    }

    #[test]
    fn what_is_behind_a_functions_end_is_refused() {
        let types_and_functions = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0";
        let ends_twice = b"\x0a\x07\x01\x05\0\x0b\x20\0\x0b";
        let module = [types_and_functions.as_slice(), ends_twice].concat();
        assert!(matches!(Guest::read(&module), Err(BadModule::Invalid(_))));
    }
}
