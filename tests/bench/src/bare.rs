//! What a login cannot be cheaper than: argon2id in a loop on every core, as OWASP's first choice asks for it and the server runs it.

use anyhow::{Context as _, Result, anyhow};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use parlance::system::Stopwatch;

/// What the process is called by that hashes until it is killed.
pub(crate) const HASHING: &str = "hash-for-ever";

/// Hashes on every core until it is killed.
pub(crate) fn hash_for_ever() -> Result<()> {
    run(crate::machine::cores(), u32::MAX).map(drop)
}

/// Hashes a second, of all threads.
pub(crate) fn run(threads: usize, seconds: u32) -> Result<f64> {
    let threads: Vec<_> = (0..threads).map(|_| std::thread::spawn(move || one(seconds))).collect();
    threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?).sum()
}

fn one(seconds: u32) -> Result<f64> {
    let params = Params::new(19456, 2, 1, Some(32)).map_err(|error| anyhow!("{error}"))?;
    // Kept from hash to hash, as the server does.
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
