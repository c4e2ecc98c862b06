//! Bodies as producers pack them: zlib, LZ4 frames, Zstandard. Unpacked with a bound, for a small body can announce
//! anything.

use crate::message::{Compression, SysFlag};
use bytes::Bytes;
use std::io::{self, Read};

/// No body unpacks to more. Brokers take 4 MiB packed unless told otherwise.
const UNPACKED_MAX: usize = 64 * 1024 * 1024;

/// The body as its producer had it, by the message's system flag. An error if it cannot be unpacked, or has more than
/// 64 MiB then.
pub fn unpack(body: Bytes, sys_flag: i32) -> io::Result<Bytes> {
    let Some(compression) = SysFlag(sys_flag).compression() else { return Ok(body) };
    let mut unpacked = Vec::new();
    unpack_into(&mut unpacked, &body, compression, UNPACKED_MAX)?;
    Ok(unpacked.into())
}

/// Appends what `packed` holds to `unpacked`. An error if it cannot be unpacked, or has more than `max` bytes then.
pub fn unpack_into(unpacked: &mut Vec<u8>, packed: &[u8], compression: Compression, max: usize) -> io::Result<()> {
    let mut append = |reader: &mut dyn Read| reader.take(max as u64 + 1).read_to_end(unpacked);
    let count = match compression {
        Compression::Zlib => append(&mut flate2::read::ZlibDecoder::new(packed))?,
        Compression::Lz4 => append(&mut lz4_flex::frame::FrameDecoder::new(packed))?,
        Compression::Zstd => append(&mut zstd::stream::read::Decoder::new(packed)?)?,
    };
    if count > max {
        let reason = format!("the body unpacks to more than {max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::new(5));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn lz4(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn each_way_of_packing_is_undone() {
        let plain = b"0123456789".repeat(1000);
        let packed = [
            (0, plain.clone()),
            (SysFlag::COMPRESSED, zlib(&plain)),
            (SysFlag::COMPRESSED | SysFlag::COMPRESSION_ZLIB, zlib(&plain)),
            (SysFlag::COMPRESSED | SysFlag::COMPRESSION_LZ4, lz4(&plain)),
            (SysFlag::COMPRESSED | SysFlag::COMPRESSION_ZSTD, zstd::encode_all(&plain[..], 3).unwrap()),
        ];
        for (sys_flag, packed) in packed {
            assert_eq!(unpack(packed.into(), sys_flag).unwrap(), plain, "{sys_flag:#x}");
        }
    }

    #[test]
    fn what_unpacks_to_too_much_or_to_nothing_is_refused() {
        let bomb = zstd::encode_all(io::repeat(0).take(UNPACKED_MAX as u64 + 1), 1).unwrap();
        assert!(bomb.len() < 100_000);
        assert!(unpack(bomb.into(), SysFlag::COMPRESSED | SysFlag::COMPRESSION_ZSTD).is_err());
        for flag in [SysFlag::COMPRESSION_ZLIB, SysFlag::COMPRESSION_LZ4, SysFlag::COMPRESSION_ZSTD] {
            assert!(unpack(Bytes::from_static(b"not packed"), SysFlag::COMPRESSED | flag).is_err(), "{flag:#x}");
        }
    }
}
