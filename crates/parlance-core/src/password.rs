//! Password hashing with argon2id: hash, verify, and the bounds of a stored hash.

use std::fmt;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use subtle::ConstantTimeEq as _;

use crate::HashingError;
use crate::ports::Entropy;

/// The longest password, in bytes (OWASP ASVS 6.2.9 asks for 64 at least). A longer one is an ordinary failed login.
pub(crate) const MAX_PASSWORD_BYTES: usize = 4096;
/// The most that a stored hash may ask for: write access to the hashes buys no more work than this.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
const MAX_ITERATIONS: u32 = 10;
const MAX_LANES: u32 = 16;
/// The shortest salt that argon2 takes, in bytes.
const MIN_SALT_BYTES: usize = argon2::MIN_SALT_LEN;
const SALT_BYTES: usize = 16;
const TAG_BYTES: usize = 32;
/// The work of the first pass over a KiB, in tenths of such a pass.
const FIRST_PASS_TENTHS: u64 = 10;
/// The work of a later pass over a KiB, in tenths of a first pass: argon2 of version 1.3 reads the block before the pass
/// overwrites the block. Measured at 19 MiB: 7.5 ms and 8.3 ms. With all passes counted alike, a hash of half the
/// iterations is refused 5 % sooner than an unknown name (timing attack).
const LATER_PASS_TENTHS: u64 = 11;

/// The parameters of new password hashes.
#[derive(Debug, Clone)]
pub struct PasswordPolicy {
    params: Params,
}

/// The parameter that argon2id, or this program, does not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// `memory_kib`.
    #[error("between 8 x parallelism and {MAX_MEMORY_KIB}")]
    Memory,
    /// `iterations`.
    #[error("between 1 and {MAX_ITERATIONS}")]
    Iterations,
    /// `parallelism`.
    #[error("between 1 and {MAX_LANES}")]
    Parallelism,
}

/// Why a hash of another system cannot be imported. No text holds the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The scheme is not supported.
    #[error(
        "hashes of this form are not supported; argon2id, argon2i and argon2d in PHC form ($argon2id$v=19$m=...) are"
    )]
    Scheme,
    /// An argon2 hash that cannot be read.
    #[error(
        "the argon2 hash cannot be read: it is $argon2id$v=19$m=...,t=...,p=...$SALT$HASH, with a salt of {MIN_SALT_BYTES} bytes or more"
    )]
    Unreadable,
    /// The hash asks for more work than a stored hash may.
    #[error(
        "the argon2 hash asks for too much: at most m={MAX_MEMORY_KIB}, t={MAX_ITERATIONS}, p={MAX_LANES} are computed"
    )]
    Costly,
}

/// A password hash in PHC form. Its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// The working memory of one thread, kept from hash to hash.
#[derive(Default)]
pub(crate) struct Scratch {
    blocks: Vec<Block>,
    /// The parameters of every hash that was computed here: memory in KiB, iterations, lanes.
    #[cfg(test)]
    pub(crate) computed: Vec<[u32; 3]>,
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
        if !(1..=MAX_LANES).contains(&parallelism) {
            return Err(PolicyError::Parallelism);
        }
        if !(1..=MAX_ITERATIONS).contains(&iterations) {
            return Err(PolicyError::Iterations);
        }
        let params = Params::new(memory_kib, iterations, parallelism, Some(TAG_BYTES));
        let params = params.ok().filter(is_within_limits).ok_or(PolicyError::Memory)?;
        Ok(Self { params })
    }

    pub(crate) fn hash(
        &self,
        password: &str,
        entropy: &dyn Entropy,
        scratch: &mut Scratch,
    ) -> Result<PasswordHash, HashingError> {
        let mut salt = [0; SALT_BYTES];
        entropy.fill(&mut salt)?;
        let mut tag = [0; TAG_BYTES];
        let done = scratch.compute(&argon2id(&self.params), password.as_bytes(), &salt, &mut tag);
        done.ok_or(HashingError::Memory)?;
        let hash = phc::PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: phc::ParamsString::try_from(&self.params).map_err(phc_error)?,
            salt: Some(phc::Salt::new(&salt).map_err(phc_error)?),
            hash: Some(phc::Output::new(&tag).map_err(phc_error)?),
        };
        Ok(PasswordHash(hash.to_string()))
    }

    /// A dummy verification: the work of one verification under this policy, which no password passes. Reads at most as
    /// much of the password as a password may have.
    ///
    /// # Errors
    /// [`HashingError::Memory`].
    pub(crate) fn verify_dummy(
        &self,
        password: &str,
        scratch: &mut Scratch,
    ) -> Result<(), HashingError> {
        hash_and_discard(&self.params, password, scratch)
    }

    /// Equalises work, against timing attacks: does the work by which a verification of this hash, made under other
    /// parameters, was cheaper than one under this policy. A refusal then costs as much as an unknown name. A dearer
    /// hash stays dearer.
    ///
    /// # Errors
    /// [`HashingError::Memory`].
    pub(crate) fn equalise_work(
        &self,
        hash: &PasswordHash,
        password: &str,
        scratch: &mut Scratch,
    ) -> Result<(), HashingError> {
        // An unreadable hash has cost this policy's work.
        let Some(ParsedHash { params, .. }) = hash.parse() else { return Ok(()) };
        let memory = u64::from(self.params.m_cost());
        let short = work(&self.params).saturating_sub(work(&params));
        // As many passes over the policy's memory as fit, and one pass over less memory for the rest.
        let passes = match short.checked_sub(memory * FIRST_PASS_TENTHS) {
            Some(short) => 1 + short / (memory * LATER_PASS_TENTHS),
            None => 0,
        };
        let rest = short - work_of(memory, passes);
        for (memory, passes) in [(memory, passes), (rest / FIRST_PASS_TENTHS, 1)] {
            let (Ok(memory), Ok(passes)) = (u32::try_from(memory), u32::try_from(passes)) else {
                continue;
            };
            // Less work than the minimum of argon2 is negligible.
            let params = Params::new(memory, passes, self.params.p_cost(), Some(TAG_BYTES));
            if let Ok(params) = params {
                hash_and_discard(&params, password, scratch)?;
            }
        }
        Ok(())
    }

    /// Whether a hash was made under this policy.
    pub(crate) fn matches(&self, hash: &PasswordHash) -> bool {
        hash.parse().is_some_and(|ParsedHash { algorithm, version, params, .. }| {
            algorithm == Algorithm::Argon2id
                && version == Version::V0x13
                && (params.m_cost(), params.t_cost(), params.p_cost())
                    == (self.params.m_cost(), self.params.t_cost(), self.params.p_cost())
        })
    }
}

impl PasswordHash {
    /// Takes a PHC string that a store has kept. An unreadable one verifies nothing.
    #[must_use]
    pub fn from_stored(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string, for the store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes a hash that another system has kept, in PHC form: argon2id, argon2i or argon2d. The first login replaces
    /// that hash by one of this program's own. Nothing is computed here.
    ///
    /// # Errors
    /// The hash is of another scheme, cannot be read, or would cost more than any stored hash may.
    pub fn imported(phc: &str) -> Result<Self, HashError> {
        if !phc.starts_with("$argon2") {
            return Err(HashError::Scheme);
        }
        match parse_phc(phc) {
            Some(parsed) if is_within_limits(&parsed.params) => Ok(Self(phc.to_owned())),
            Some(_) => Err(HashError::Costly),
            None => Err(HashError::Unreadable),
        }
    }

    fn parse(&self) -> Option<ParsedHash> {
        parse_phc(&self.0).filter(|parsed| is_within_limits(&parsed.params))
    }

    /// Whether the hash is of the one kind that is verified here, and asks for no more work than allowed.
    pub(crate) fn is_readable(&self) -> bool {
        self.parse().is_some()
    }

    /// Whether this is the password's hash, in a constant-time comparison. An unreadable hash costs the policy's work
    /// and refuses.
    ///
    /// # Errors
    /// [`HashingError::Memory`], which says nothing about the password.
    pub(crate) fn verify(
        &self,
        password: &str,
        policy: &PasswordPolicy,
        scratch: &mut Scratch,
    ) -> Result<bool, HashingError> {
        let Some(ParsedHash { algorithm, version, params, salt, hash: expected }) = self.parse()
        else {
            policy.verify_dummy(password, scratch)?;
            return Ok(false);
        };
        let mut tag = vec![0; expected.len()];
        let argon2 = Argon2::new(algorithm, version, params);
        let done = scratch.compute(&argon2, password.as_bytes(), &salt, &mut tag);
        scratch.shrink_to(policy.params.block_count());
        done.ok_or(HashingError::Memory)?;
        Ok(bool::from(tag.as_slice().ct_eq(expected.as_bytes())))
    }
}

/// A parsed hash in PHC form.
struct ParsedHash {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: phc::Salt,
    hash: phc::Output,
}

fn parse_phc(phc: &str) -> Option<ParsedHash> {
    let read = phc::PasswordHash::new(phc).ok()?;
    let algorithm = Algorithm::try_from(read.algorithm.as_str()).ok()?;
    // A hash without a version is of the first version, as in the reference implementation.
    let version = read.version.map_or(Ok(Version::V0x10), Version::try_from).ok()?;
    let params = Params::try_from(&read).ok()?;
    let (salt, hash) = (read.salt?, read.hash?);
    (salt.len() >= MIN_SALT_BYTES).then_some(ParsedHash { algorithm, version, params, salt, hash })
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

impl Scratch {
    fn compute(
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
        self.computed.push([params.m_cost(), params.t_cost(), params.p_cost()]);
        let blocks = self.blocks.get_mut(..blocks)?;
        argon2.hash_password_into_with_memory(password, salt, tag, blocks).ok()
    }

    /// Frees the memory that a stored hash needed beyond the policy.
    fn shrink_to(&mut self, blocks: usize) {
        if self.blocks.len() > blocks {
            self.blocks.truncate(blocks);
            self.blocks.shrink_to_fit();
        }
    }
}

/// Hashes a password for the work alone, and at most as much of the password as one may have.
fn hash_and_discard(
    params: &Params,
    password: &str,
    scratch: &mut Scratch,
) -> Result<(), HashingError> {
    let mut tag = [0; TAG_BYTES];
    let password = password.as_bytes();
    let password = password.get(..MAX_PASSWORD_BYTES).unwrap_or(password);
    let done = scratch.compute(&argon2id(params), password, &[0; SALT_BYTES], &mut tag);
    std::hint::black_box(tag);
    done.ok_or(HashingError::Memory)
}

/// The algorithm and the version of this program's own hashes.
fn argon2id(params: &Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
}

#[expect(clippy::needless_pass_by_value, reason = "the form of `map_err`")]
fn phc_error(error: impl ToString) -> HashingError {
    HashingError::Phc(error.to_string())
}

/// The work of one hash, in tenths of a first pass over a KiB.
fn work(params: &Params) -> u64 {
    work_of(u64::from(params.m_cost()), u64::from(params.t_cost()))
}

/// The work of so many passes over so many KiB, in tenths of a first pass over a KiB.
pub(crate) fn work_of(memory_kib: u64, passes: u64) -> u64 {
    match passes.checked_sub(1) {
        Some(later) => memory_kib * (FIRST_PASS_TENTHS + later * LATER_PASS_TENTHS),
        None => 0,
    }
}

fn is_within_limits(params: &Params) -> bool {
    params.m_cost() <= MAX_MEMORY_KIB
        && params.t_cost() <= MAX_ITERATIONS
        && params.p_cost() <= MAX_LANES
}
