//! The password hashing pool: threads that hash passwords and sign credentials.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_channel::oneshot;

use crate::password::Scratch;
use crate::ports::Clock;
use crate::{Failure, Timestamp};

/// Queue capacity: how many jobs of each kind may wait.
const QUEUE_CAPACITY: usize = 64;
/// How long a job may wait. By then its client has given up, or soon will.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(3);

/// Permits left to clients that hold none: a quarter of the permits, since each such client takes one away.
const PERMITS_FOR_NEW_CLIENTS: usize = 16;

/// A job for a hashing thread.
type Work = Box<dyn FnOnce(&mut WorkerState) + Send>;

/// The state of a hashing thread, lent to each job.
#[derive(Default)]
pub(crate) struct WorkerState {
    pub(crate) scratch: Scratch,
}

/// The password hashing pool: a fixed number of threads behind short queues. Load shedding: work beyond the queues is
/// refused at once, so a flood of logins costs neither memory nor the latency of a check. Renewals that are signed have
/// a queue and a thread of their own, and no login before them.
pub struct HashQueue {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    missing_threads: usize,
    clock: Arc<dyn Clock>,
    login_permits: Arc<PermitPool>,
    renewal_permits: Arc<PermitPool>,
}

/// The permit of a client to have a password verified, or a credential signed. The permit is free again once its last
/// copy is dropped. The job holds a copy, so an abandoned job keeps its permit for as long as the job stands in the
/// queue.
#[derive(Clone)]
pub(crate) struct HashPermit(Arc<HeldPermit>);

struct HeldPermit {
    pool: Arc<PermitPool>,
    client: Option<IpAddr>,
}

/// The permits of one queue: as many as jobs can run or wait.
struct PermitPool {
    capacity: usize,
    in_use: Mutex<PermitsInUse>,
}

#[derive(Default)]
struct PermitsInUse {
    total: usize,
    by_client: HashMap<IpAddr, usize>,
}

impl PermitPool {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity, in_use: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, PermitsInUse> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acquires a permit. A client holds no more permits than the client leaves free: half of the permits while no
    /// other client wants one. The last [`PERMITS_FOR_NEW_CLIENTS`] permits go one to a client, so that a few greedy
    /// clients cannot fill the queue: at least as many clients as those permits are needed. `None` stands for many
    /// clients, and may take every permit.
    fn acquire(self: &Arc<Self>, client: Option<IpAddr>) -> Result<HashPermit, Failure> {
        let mut taken = self.lock();
        let free = self.capacity.saturating_sub(taken.total);
        let own = client.and_then(|client| taken.by_client.get(&client)).copied().unwrap_or(0);
        if own >= free || (own > 0 && free <= PERMITS_FOR_NEW_CLIENTS) {
            return Err(Failure::Busy);
        }
        taken.total += 1;
        if let Some(client) = client {
            taken.by_client.insert(client, own + 1);
        }
        Ok(HashPermit(Arc::new(HeldPermit { pool: Arc::clone(self), client })))
    }
}

impl Drop for HeldPermit {
    fn drop(&mut self) {
        let mut taken = self.pool.lock();
        taken.total = taken.total.saturating_sub(1);
        let Some(client) = self.client else { return };
        match taken.by_client.get_mut(&client) {
            Some(own) if *own > 1 => *own -= 1,
            Some(_) | None => drop(taken.by_client.remove(&client)),
        }
    }
}

struct Shared {
    queues: Mutex<Queues>,
    /// A job waits for a hashing thread.
    job_ready: Condvar,
    /// A credential waits to be signed.
    signing_job_ready: Condvar,
}

struct Queues {
    logins: VecDeque<QueuedWork>,
    renewals: VecDeque<QueuedWork>,
    open: bool,
}

/// A job that waits.
struct QueuedWork {
    queued_at: Timestamp,
    client: Option<IpAddr>,
    /// How many jobs of the same client waited already. Clients are served by turns: the first job of each, then the
    /// second of each.
    round: usize,
    work: Work,
}

/// The queues that a thread serves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WorkerRole {
    /// Logins, and renewals while no login waits.
    All,
    /// Renewals alone.
    Renewals,
}

impl Queues {
    fn next(&mut self, role: WorkerRole) -> Option<QueuedWork> {
        let login = if role == WorkerRole::All { self.logins.pop_front() } else { None };
        login.or_else(|| self.renewals.pop_front())
    }
}

/// Queues a job before those of clients that have more jobs waiting. Each job of an address that stands for many
/// clients counts as the first of its client.
fn enqueue(
    queue: &mut VecDeque<QueuedWork>,
    queued_at: Timestamp,
    client: Option<IpAddr>,
    work: Work,
) -> bool {
    if queue.len() >= QUEUE_CAPACITY {
        return false;
    }
    let own = |other: &&QueuedWork| client.is_some() && other.client == client;
    let round = queue.iter().filter(own).count();
    let at = queue.iter().rposition(|other| other.round <= round).map_or(0, |last| last + 1);
    queue.insert(at, QueuedWork { queued_at, client, round, work });
    true
}

impl HashQueue {
    /// Starts `threads` hashing threads, at least one, and one thread that signs. As many hashing threads as cores
    /// serve best. If the system starts no hashing thread, all work is refused.
    #[must_use]
    pub fn start(threads: usize, clock: Arc<dyn Clock>) -> Self {
        let queues = Queues {
            logins: VecDeque::with_capacity(QUEUE_CAPACITY),
            renewals: VecDeque::with_capacity(QUEUE_CAPACITY),
            open: true,
        };
        let shared = Arc::new(Shared {
            queues: Mutex::new(queues),
            job_ready: Condvar::new(),
            signing_job_ready: Condvar::new(),
        });
        let spawn = |name: String, role| {
            let (shared, clock) = (Arc::clone(&shared), Arc::clone(&clock));
            std::thread::Builder::new()
                .name(name)
                .spawn(move || shared.run_worker(role, &*clock))
                .ok()
        };
        let wanted = threads.max(1);
        let mut threads: Vec<_> = (0..wanted)
            .filter_map(|number| spawn(format!("hash-{number}"), WorkerRole::All))
            .collect();
        let capacity = QUEUE_CAPACITY + threads.len();
        shared.lock().open = !threads.is_empty();
        threads.extend(spawn("sign".to_owned(), WorkerRole::Renewals));
        let missing_threads = wanted + 1 - threads.len();
        let (login_permits, renewal_permits) =
            (PermitPool::new(capacity), PermitPool::new(capacity));
        Self { shared, threads, missing_threads, clock, login_permits, renewal_permits }
    }

    /// How many threads the system failed to start.
    #[must_use]
    pub fn missing_threads(&self) -> usize {
        self.missing_threads
    }

    /// Queue depths: jobs that wait for hashing, and for signing.
    pub(crate) fn queue_depths(&self) -> (usize, usize) {
        let queues = self.shared.lock();
        (queues.logins.len(), queues.renewals.len())
    }

    /// A permit for a login from this client; `None` stands for many clients. A login acquires the permit before the
    /// login reserves an attempt of its account. Thus right logins that come all at once do not use up the account's
    /// attempts of the day, and one client does not fill the queue.
    ///
    /// # Errors
    /// [`Failure::Busy`]: no permit is free.
    pub(crate) fn login_permit(&self, client: Option<IpAddr>) -> Result<HashPermit, Failure> {
        self.login_permits.acquire(client)
    }

    /// A permit for a renewal, likewise.
    ///
    /// # Errors
    /// [`Failure::Busy`]: no permit is free.
    pub(crate) fn renewal_permit(&self, client: Option<IpAddr>) -> Result<HashPermit, Failure> {
        self.renewal_permits.acquire(client)
    }

    /// Queues a job of no particular client. [`Failure::Busy`] if 64 jobs wait already, or if the job has waited for
    /// three seconds. An abandoned job is not begun.
    pub(crate) fn run<T: Send + 'static, W: FnOnce(&mut WorkerState) -> T + Send + 'static>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, Failure>> + use<T, W> {
        self.queue(WorkerRole::All, None, work)
    }

    /// Queues the verification of a login that holds a permit, with the same bounds.
    pub(crate) fn verify<T: Send + 'static, W: FnOnce(&mut WorkerState) -> T + Send + 'static>(
        &self,
        permit: HashPermit,
        work: W,
    ) -> impl Future<Output = Result<T, Failure>> + use<T, W> {
        self.queue(WorkerRole::All, Some(permit), work)
    }

    /// Queues the signing of a renewal that holds a permit, with the same bounds. No login stands before a renewal.
    pub(crate) fn sign<T: Send + 'static, W: FnOnce(&mut WorkerState) -> T + Send + 'static>(
        &self,
        permit: HashPermit,
        work: W,
    ) -> impl Future<Output = Result<T, Failure>> + use<T, W> {
        self.queue(WorkerRole::Renewals, Some(permit), work)
    }

    fn queue<T: Send + 'static, W: FnOnce(&mut WorkerState) -> T + Send + 'static>(
        &self,
        role: WorkerRole,
        permit: Option<HashPermit>,
        work: W,
    ) -> impl Future<Output = Result<T, Failure>> + use<T, W> {
        let (answer, answered) = oneshot::channel();
        let client = permit.as_ref().and_then(|permit| permit.0.client);
        let work: Work = Box::new(move |worker| {
            if !answer.is_canceled() {
                let done = work(worker);
                drop(permit);
                let _gone = answer.send(done);
            }
        });
        let queued = self.shared.push(role, self.clock.now(), client, work);
        async move {
            if !queued {
                return Err(Failure::Busy);
            }
            answered.await.map_err(|_| Failure::Busy)
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, role: WorkerRole, now: Timestamp, client: Option<IpAddr>, work: Work) -> bool {
        let mut queues = self.lock();
        if !queues.open {
            return false;
        }
        let queue = match role {
            WorkerRole::All => &mut queues.logins,
            WorkerRole::Renewals => &mut queues.renewals,
        };
        let queued = enqueue(queue, now, client, work);
        if queued {
            self.job_ready.notify_one();
            if role == WorkerRole::Renewals {
                self.signing_job_ready.notify_one();
            }
        }
        queued
    }

    fn run_worker(&self, role: WorkerRole, clock: &dyn Clock) {
        let job_ready = match role {
            WorkerRole::All => &self.job_ready,
            WorkerRole::Renewals => &self.signing_job_ready,
        };
        let mut worker = WorkerState::default();
        loop {
            let mut queues = self.lock();
            let QueuedWork { queued_at, work, .. } = loop {
                match queues.next(role) {
                    Some(next) => break next,
                    None if !queues.open => return,
                    None => queues = job_ready.wait(queues).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(queues);
            // Dropping the job drops its answer's sender, which the waiting side reads as a refusal.
            if clock.now().since(queued_at) <= QUEUE_TIMEOUT {
                // A dialect's code runs here. A panic refuses that one job, and the thread lives.
                let _panicked = catch_unwind(AssertUnwindSafe(|| work(&mut worker)));
            }
        }
    }
}

impl Drop for HashQueue {
    fn drop(&mut self) {
        self.shared.lock().open = false;
        self.shared.job_ready.notify_all();
        self.shared.signing_job_ready.notify_all();
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

impl fmt::Debug for HashQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashQueue").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkerState")
    }
}
