//! The lower bound of a login's cost: argon2id in a loop on every core, with the first choice of OWASP as parameters,
//! as in the server.

use anyhow::{Context as _, Result, anyhow};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use parlance::system::Stopwatch;

/// The argument that starts the process that hashes until killed.
pub(crate) const HASH_ARGUMENT: &str = "hash-for-ever";

/// Hashes on every core until killed.
pub(crate) fn hash_until_killed() -> Result<()> {
    hashes_per_second(crate::machine::cores(), u32::MAX).map(drop)
}

/// Hashes a second, the sum over all threads.
pub(crate) fn hashes_per_second(threads: usize, seconds: u32) -> Result<f64> {
    let threads: Vec<_> =
        (0..threads).map(|_| std::thread::spawn(move || hash_on_one_core(seconds))).collect();
    threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?).sum()
}

fn hash_on_one_core(seconds: u32) -> Result<f64> {
    let params = Params::new(19456, 2, 1, Some(32)).map_err(|error| anyhow!("{error}"))?;
    // Allocated once and reused for each hash, as in the server.
    let mut blocks = vec![Block::default(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let watch = Stopwatch::start();
    let mut hashes = 0.0;
    while watch.elapsed().as_secs_f64() < f64::from(seconds) {
        let mut tag = [0; 32];
        argon2
            .hash_password_into_with_memory(
                b"correct horse battery",
                &[7; 16],
                &mut tag,
                &mut blocks,
            )
            .map_err(|error| anyhow!("{error}"))
            .context("argon2id failed")?;
        std::hint::black_box(tag);
        hashes += 1.0;
    }
    Ok(hashes / watch.elapsed().as_secs_f64())
}
