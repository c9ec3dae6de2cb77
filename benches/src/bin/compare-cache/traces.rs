//! Recorded workloads: which keys were asked for, one after the other.
//!
//! `NAME.u64.zst`: zstd over little-endian 64-bit keys. `NAME.kv64.zst`: pairs of key and size, of
//! which the key is read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A trace and the capacities at which it is replayed: 0.1 to 40 % of its keys.
pub(crate) const TRACES: [(&str, [usize; 3]); 13] = [
    ("arc-oltp.u64", [1000, 5000, 20_000]),
    ("arc-p3.u64", [762, 7625, 76_254]),
    ("corda-vault.u64", [90, 904, 9046]),
    ("cloudphysics-w106.u64", [275, 2751, 27_517]),
    ("cache2k-orm-busy.u64", [763, 3817, 15_269]),
    ("cache2k-web07.u64", [204, 1024, 4096]),
    ("lirs-loop.u64", [250, 500, 750]),
    ("lirs-2pools.u64", [100, 500, 2000]),
    ("lirs-sprite.u64", [100, 500, 1000]),
    ("lirs-multi3.u64", [372, 1490, 3727]),
    ("lirs-zigzag.u64", [200, 500, 1000]),
    ("mooncake-conversation.u64", [1827, 18_279, 73_116]),
    ("adaptsize-cdn-sized.kv64", [402, 2012, 8048]),
];

/// The keys of a trace.
///
/// # Errors
///
/// If the file is missing or is not what its name says.
pub(crate) fn read(folder: &Path, name: &str) -> io::Result<Vec<u64>> {
    let file = File::open(folder.join(format!("{name}.zst")))?;
    let mut bytes = Vec::new();
    zstd::Decoder::new(file)?.read_to_end(&mut bytes)?;
    let words = if name.ends_with(".kv64") { 2 } else { 1 };
    let (records, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() || records.len() % words != 0 {
        let message = format!("{name}: ends within a record");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let keys = records.iter().step_by(words);
    Ok(keys.map(|key| u64::from_le_bytes(*key)).collect())
}
