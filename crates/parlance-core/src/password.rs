//! argon2id: hashing, verifying, and what a stored hash may ask for.

use std::fmt;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq as _;

use crate::Failure;
use crate::ports::{Entropy, EntropyError};

/// The longest password, in bytes, that is taken for one (OWASP ASVS 6.2.9 asks for 64 at least). A longer one is an ordinary failed
/// login.
pub(crate) const LONGEST: usize = 4096;
/// What a stored hash may ask for at most: nobody who can write a hash may buy more work than this with it.
const MOST_MEMORY_KIB: u32 = 256 * 1024;
const MOST_ITERATIONS: u32 = 10;
const MOST_LANES: u32 = 16;
/// The shortest salt that argon2 takes, in bytes.
const SHORTEST_SALT: usize = argon2::MIN_SALT_LEN;
const SALT: usize = 16;
const TAG: usize = 32;
/// The work of the first pass over a KiB, in tenths.
const FIRST_PASS: u64 = 10;
/// The work of a later pass over a KiB, in tenths of a first one's: argon2 of version 1.3 reads the block that it overwrites. Measured at 19 MiB:
/// 7.5 ms and 8.3 ms. Two first passes in place of a first and a second one told a hash of half the iterations from others by 5 % of the time.
const LATER_PASS: u64 = 11;

/// How new passwords are hashed.
#[derive(Debug, Clone)]
pub struct PasswordPolicy {
    params: Params,
}

/// The parameter that argon2id, or this program, does not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// `memory_kib`.
    #[error("between 8 x parallelism and {MOST_MEMORY_KIB}")]
    Memory,
    /// `iterations`.
    #[error("between 1 and {MOST_ITERATIONS}")]
    Iterations,
    /// `parallelism`.
    #[error("between 1 and {MOST_LANES}")]
    Parallelism,
}

/// Why a hash of another system cannot be imported. No text holds the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// It is of no scheme that is supported.
    #[error(
        "hashes of this form are not supported; argon2id, argon2i and argon2d in PHC form ($argon2id$v=19$m=...) are"
    )]
    Scheme,
    /// It is argon2's, and cannot be read.
    #[error(
        "the argon2 hash cannot be read: it is $argon2id$v=19$m=...,t=...,p=...$SALT$HASH, with a salt of {SHORTEST_SALT} bytes or more"
    )]
    Unreadable,
    /// It asks for more work than a stored hash may.
    #[error(
        "the argon2 hash asks for too much: at most m={MOST_MEMORY_KIB}, t={MOST_ITERATIONS}, p={MOST_LANES} are computed"
    )]
    Costly,
}

/// A password hash in PHC form. Its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// Memory that one thread hashes in, kept from hash to hash.
#[derive(Default)]
pub(crate) struct Scratch {
    blocks: Vec<Block>,
    /// The parameters of every hash that was computed here: memory in KiB, iterations, lanes.
    #[cfg(test)]
    pub(crate) ran: Vec<[u32; 3]>,
}

impl Default for PasswordPolicy {
    /// 19456 KiB, 2 iterations, 1 lane: OWASP's first choice.
    fn default() -> Self {
        Self { params: Params::DEFAULT }
    }
}

impl PasswordPolicy {
    /// `memory_kib` in KiB, at most 256 MiB; `iterations` 1 to 10; `parallelism` 1 to 16.
    ///
    /// # Errors
    /// The first parameter that is out of its range.
    pub fn new(memory_kib: u32, iterations: u32, parallelism: u32) -> Result<Self, PolicyError> {
        if !(1..=MOST_LANES).contains(&parallelism) {
            return Err(PolicyError::Parallelism);
        }
        if !(1..=MOST_ITERATIONS).contains(&iterations) {
            return Err(PolicyError::Iterations);
        }
        let params = Params::new(memory_kib, iterations, parallelism, Some(TAG));
        let params = params.ok().filter(bounded).ok_or(PolicyError::Memory)?;
        Ok(Self { params })
    }

    pub(crate) fn hash(
        &self,
        password: &str,
        entropy: &dyn Entropy,
        scratch: &mut Scratch,
    ) -> Result<PasswordHash, EntropyError> {
        let mut salt = [0; SALT];
        entropy.fill(&mut salt)?;
        let mut tag = [0; TAG];
        let done = scratch.run(&argon2id(&self.params), password.as_bytes(), &salt, &mut tag);
        done.ok_or(EntropyError)?;
        let hash = phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: phc::ParamsString::try_from(&self.params).map_err(|_| EntropyError)?,
            salt: Some(phc::Salt::new(&salt).map_err(|_| EntropyError)?),
            hash: Some(phc::Output::new(&tag).map_err(|_| EntropyError)?),
        };
        Ok(PasswordHash(hash.to_string()))
    }

    /// The work of one verification under this policy, which nothing passes. Of the password it takes as much as a password may have.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] if there is no memory to work in.
    pub(crate) fn verify_nothing(
        &self,
        password: &str,
        scratch: &mut Scratch,
    ) -> Result<(), Failure> {
        run_for_nothing(&self.params, password, scratch)
    }

    /// Does the work by which a verification of this hash, which was made under other parameters, was cheaper than one under this policy. A
    /// refusal then costs what a name costs that nobody has. A dearer one stays dearer.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] if there is no memory to work in.
    pub(crate) fn make_up(
        &self,
        hash: &PasswordHash,
        password: &str,
        scratch: &mut Scratch,
    ) -> Result<(), Failure> {
        // One that cannot be read has cost this policy's work.
        let Some(Parsed { params, .. }) = hash.parse() else { return Ok(()) };
        let memory = u64::from(self.params.m_cost());
        let short = work(&self.params).saturating_sub(work(&params));
        // As many passes over the policy's memory as fit, and the rest as one pass over less.
        let passes = match short.checked_sub(memory * FIRST_PASS) {
            Some(short) => 1 + short / (memory * LATER_PASS),
            None => 0,
        };
        let rest = short - work_of(memory, passes);
        for (memory, passes) in [(memory, passes), (rest / FIRST_PASS, 1)] {
            let (Ok(memory), Ok(passes)) = (u32::try_from(memory), u32::try_from(passes)) else {
                continue;
            };
            // What is less than the least that argon2 takes is nothing to speak of.
            let params = Params::new(memory, passes, self.params.p_cost(), Some(TAG));
            if let Ok(params) = params {
                run_for_nothing(&params, password, scratch)?;
            }
        }
        Ok(())
    }

    /// Whether a hash was made under this policy.
    pub(crate) fn made(&self, hash: &PasswordHash) -> bool {
        hash.parse().is_some_and(|Parsed { algorithm, version, params, .. }| {
            algorithm == Algorithm::Argon2id
                && version == Version::V0x13
                && (params.m_cost(), params.t_cost(), params.p_cost())
                    == (self.params.m_cost(), self.params.t_cost(), self.params.p_cost())
        })
    }
}

impl PasswordHash {
    /// Takes a PHC string that a store has kept. One that cannot be read verifies nothing.
    #[must_use]
    pub fn stored(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string, for the store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes the hash that another system has kept, in PHC form: argon2id, argon2i or argon2d. It is replaced by one of this program's own at the
    /// first login. Nothing is computed here.
    ///
    /// # Errors
    /// It is of another scheme, cannot be read, or would cost more than any stored hash may.
    pub fn imported(phc: &str) -> Result<Self, HashError> {
        if !phc.starts_with("$argon2") {
            return Err(HashError::Scheme);
        }
        match read(phc) {
            Some(parsed) if bounded(&parsed.params) => Ok(Self(phc.to_owned())),
            Some(_) => Err(HashError::Costly),
            None => Err(HashError::Unreadable),
        }
    }

    fn parse(&self) -> Option<Parsed> {
        read(&self.0).filter(|parsed| bounded(&parsed.params))
    }

    /// Whether it is of the one kind that is verified here, and asks for no more work than it may.
    pub(crate) fn is_readable(&self) -> bool {
        self.parse().is_some()
    }

    /// Whether this is the password's hash. A hash that cannot be read costs the policy's work and refuses.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] if there is no memory to work in, which says nothing about the password.
    pub(crate) fn verify(
        &self,
        password: &str,
        policy: &PasswordPolicy,
        scratch: &mut Scratch,
    ) -> Result<bool, Failure> {
        let Some(Parsed { algorithm, version, params, salt, hash: expected }) = self.parse() else {
            policy.verify_nothing(password, scratch)?;
            return Ok(false);
        };
        let mut tag = vec![0; expected.len()];
        let argon2 = Argon2::new(algorithm, version, params);
        let done = scratch.run(&argon2, password.as_bytes(), &salt, &mut tag);
        scratch.keep(policy.params.block_count());
        done.ok_or(Failure::Unavailable)?;
        Ok(bool::from(tag.as_slice().ct_eq(expected.as_bytes())))
    }
}

/// What a hash in PHC form says.
struct Parsed {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: phc::Salt,
    hash: phc::Output,
}

fn read(phc: &str) -> Option<Parsed> {
    let read = phc::PasswordHash::new(phc).ok()?;
    let algorithm = Algorithm::try_from(read.algorithm.as_str()).ok()?;
    // A hash without a version is of the first one, as the reference implementation reads it.
    let version = read.version.map_or(Ok(Version::V0x10), Version::try_from).ok()?;
    let params = Params::try_from(&read).ok()?;
    let (salt, hash) = (read.salt?, read.hash?);
    (salt.len() >= SHORTEST_SALT).then_some(Parsed { algorithm, version, params, salt, hash })
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

impl Scratch {
    fn run(
        &mut self,
        argon2: &Argon2<'_>,
        password: &[u8],
        salt: &[u8],
        tag: &mut [u8],
    ) -> Option<()> {
        let params = argon2.params();
        let blocks = params.block_count();
        if self.blocks.len() < blocks {
            self.blocks.try_reserve_exact(blocks - self.blocks.len()).ok()?;
            self.blocks.resize(blocks, Block::default());
        }
        #[cfg(test)]
        self.ran.push([params.m_cost(), params.t_cost(), params.p_cost()]);
        let blocks = self.blocks.get_mut(..blocks)?;
        argon2.hash_password_into_with_memory(password, salt, tag, blocks).ok()
    }

    /// Gives back what a stored hash needed beyond the policy.
    fn keep(&mut self, blocks: usize) {
        if self.blocks.len() > blocks {
            self.blocks.truncate(blocks);
            self.blocks.shrink_to_fit();
        }
    }
}

/// Hashes a password, as much of it as one may have, for the work alone.
fn run_for_nothing(params: &Params, password: &str, scratch: &mut Scratch) -> Result<(), Failure> {
    let mut tag = [0; TAG];
    let password = password.as_bytes();
    let password = password.get(..LONGEST).unwrap_or(password);
    let done = scratch.run(&argon2id(params), password, &[0; SALT], &mut tag);
    std::hint::black_box(tag);
    done.ok_or(Failure::Unavailable)
}

/// How this program itself hashes.
fn argon2id(params: &Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
}

/// The work of one hash, in units of which the first pass over a KiB takes [`FIRST_PASS`] and every later one [`LATER_PASS`].
fn work(params: &Params) -> u64 {
    work_of(u64::from(params.m_cost()), u64::from(params.t_cost()))
}

/// The work of so many passes over so many KiB.
pub(crate) fn work_of(memory: u64, passes: u64) -> u64 {
    match passes.checked_sub(1) {
        Some(later) => memory * (FIRST_PASS + later * LATER_PASS),
        None => 0,
    }
}

fn bounded(params: &Params) -> bool {
    params.m_cost() <= MOST_MEMORY_KIB
        && params.t_cost() <= MOST_ITERATIONS
        && params.p_cost() <= MOST_LANES
}
