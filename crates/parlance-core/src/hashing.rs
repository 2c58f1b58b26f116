//! The threads on which passwords are hashed and credentials signed.

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

/// How many pieces of work of each kind may wait.
const WAITING: usize = 64;
/// How long one may wait; its client has given up by then, or soon will.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many seats are left to clients that hold none: a quarter of them, since each such client takes one away.
const SEATS_FOR_NEWCOMERS: usize = 16;

/// A piece of work for a hashing thread.
type Work = Box<dyn FnOnce(&mut Bench) + Send>;

/// What a piece of work finds on its thread.
#[derive(Default)]
pub(crate) struct Bench {
    pub(crate) scratch: Scratch,
}

/// A fixed number of threads behind short queues. Work beyond them is refused at once, so a flood of logins costs neither memory nor
/// the latency of a check. Renewals that are signed have a queue and a thread of their own, and no login before them.
pub struct HashThreads {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    missing: usize,
    clock: Arc<dyn Clock>,
    logins: Arc<Seats>,
    renewals: Arc<Seats>,
}

/// A seat of somebody who is about to have a password verified, or a credential signed. It is free again once the last copy is dropped: the
/// piece of work holds one, so what nobody waits for any more keeps its seat for as long as it stands in the queue.
#[derive(Clone)]
pub(crate) struct Seat(Arc<Seated>);

struct Seated {
    seats: Arc<Seats>,
    client: Option<IpAddr>,
}

/// As many seats as pieces of work can be under way or wait.
struct Seats {
    all: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    total: usize,
    by_client: HashMap<IpAddr, usize>,
}

impl Seats {
    fn new(all: usize) -> Arc<Self> {
        Arc::new(Self { all, taken: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client holds no more than it leaves free: half of the seats while nobody else wants one. The last [`SEATS_FOR_NEWCOMERS`] go one to a
    /// client, so that a few clients that take what they can fill no queue: it takes at least as many as those seats. `None` stands for many,
    /// and may take every seat.
    fn take(self: &Arc<Self>, client: Option<IpAddr>) -> Result<Seat, Failure> {
        let mut taken = self.lock();
        let free = self.all.saturating_sub(taken.total);
        let own = client.and_then(|client| taken.by_client.get(&client)).copied().unwrap_or(0);
        if own >= free || (own > 0 && free <= SEATS_FOR_NEWCOMERS) {
            return Err(Failure::Busy);
        }
        taken.total += 1;
        if let Some(client) = client {
            taken.by_client.insert(client, own + 1);
        }
        Ok(Seat(Arc::new(Seated { seats: Arc::clone(self), client })))
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
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
    /// There is something for a hashing thread.
    filled: Condvar,
    /// There is something to sign.
    to_sign: Condvar,
}

struct Queues {
    logins: VecDeque<Waiting>,
    renewals: VecDeque<Waiting>,
    open: bool,
}

/// A piece of work that waits.
struct Waiting {
    since: Timestamp,
    client: Option<IpAddr>,
    /// How many of the same client waited when it came. Clients are served by turns: the first of each, then the second of each.
    turn: usize,
    work: Work,
}

/// What a thread takes from the queues.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Duty {
    /// Logins, and renewals while no login waits.
    All,
    /// Renewals alone.
    Renewals,
}

impl Queues {
    fn next(&mut self, duty: Duty) -> Option<Waiting> {
        let login = if duty == Duty::All { self.logins.pop_front() } else { None };
        login.or_else(|| self.renewals.pop_front())
    }
}

/// Puts a piece of work before those of clients that have more of them waiting. An address that stands for many has none.
fn enqueue(
    queue: &mut VecDeque<Waiting>,
    since: Timestamp,
    client: Option<IpAddr>,
    work: Work,
) -> bool {
    if queue.len() >= WAITING {
        return false;
    }
    let own = |other: &&Waiting| client.is_some() && other.client == client;
    let turn = queue.iter().filter(own).count();
    let at = queue.iter().rposition(|other| other.turn <= turn).map_or(0, |last| last + 1);
    queue.insert(at, Waiting { since, client, turn, work });
    true
}

impl HashThreads {
    /// Starts `threads` threads, at least one: as many as there are cores serves best; and one that signs. Should the system start none of
    /// them, all work is refused.
    #[must_use]
    pub fn start(threads: usize, clock: Arc<dyn Clock>) -> Self {
        let queues = Queues {
            logins: VecDeque::with_capacity(WAITING),
            renewals: VecDeque::with_capacity(WAITING),
            open: true,
        };
        let shared = Arc::new(Shared {
            queues: Mutex::new(queues),
            filled: Condvar::new(),
            to_sign: Condvar::new(),
        });
        let spawn = |name: String, duty| {
            let (shared, clock) = (Arc::clone(&shared), Arc::clone(&clock));
            std::thread::Builder::new().name(name).spawn(move || shared.work(duty, &*clock)).ok()
        };
        let wanted = threads.max(1);
        let mut threads: Vec<_> =
            (0..wanted).filter_map(|number| spawn(format!("hash-{number}"), Duty::All)).collect();
        let all = WAITING + threads.len();
        shared.lock().open = !threads.is_empty();
        threads.extend(spawn("sign".to_owned(), Duty::Renewals));
        let missing = wanted + 1 - threads.len();
        let (logins, renewals) = (Seats::new(all), Seats::new(all));
        Self { shared, threads, missing, clock, logins, renewals }
    }

    /// How many threads the system did not give.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// How many pieces of work wait to be hashed, and to be signed.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let queues = self.shared.lock();
        (queues.logins.len(), queues.renewals.len())
    }

    /// A seat for a login from this client; `None` is one that stands for many. Taken before a login takes a place on the ladder of its
    /// account, it keeps right logins that come all at once from filling the day of that account, and one client from filling the queue.
    ///
    /// # Errors
    /// There is none: [`Failure::Busy`].
    pub(crate) fn seat(&self, client: Option<IpAddr>) -> Result<Seat, Failure> {
        self.logins.take(client)
    }

    /// A seat for a renewal, likewise.
    ///
    /// # Errors
    /// There is none: [`Failure::Busy`].
    pub(crate) fn renewal_seat(&self, client: Option<IpAddr>) -> Result<Seat, Failure> {
        self.renewals.take(client)
    }

    /// Queues a piece of work that is nobody's in particular. It is refused as [`Failure::Busy`] if 64 pieces wait already, or if it has
    /// waited for three seconds. It is not begun if nobody waits for its answer any more.
    pub(crate) fn run<T: Send + 'static, W: FnOnce(&mut Bench) -> T + Send + 'static>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<T, Failure>> + use<T, W> {
        self.queue(Duty::All, None, work)
    }

    /// Queues the verification of a login that has a seat, bounded in the same way.
    pub(crate) fn verify<T: Send + 'static, W: FnOnce(&mut Bench) -> T + Send + 'static>(
        &self,
        seat: Seat,
        work: W,
    ) -> impl Future<Output = Result<T, Failure>> + use<T, W> {
        self.queue(Duty::All, Some(seat), work)
    }

    /// Queues the signing of a renewal that has a seat, bounded in the same way: no login stands before it.
    pub(crate) fn sign<T: Send + 'static, W: FnOnce(&mut Bench) -> T + Send + 'static>(
        &self,
        seat: Seat,
        work: W,
    ) -> impl Future<Output = Result<T, Failure>> + use<T, W> {
        self.queue(Duty::Renewals, Some(seat), work)
    }

    fn queue<T: Send + 'static, W: FnOnce(&mut Bench) -> T + Send + 'static>(
        &self,
        duty: Duty,
        seat: Option<Seat>,
        work: W,
    ) -> impl Future<Output = Result<T, Failure>> + use<T, W> {
        let (answer, answered) = oneshot::channel();
        let client = seat.as_ref().and_then(|seat| seat.0.client);
        let work: Work = Box::new(move |bench| {
            if !answer.is_canceled() {
                let done = work(bench);
                drop(seat);
                let _gone = answer.send(done);
            }
        });
        let queued = self.shared.push(duty, self.clock.now(), client, work);
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

    fn push(&self, duty: Duty, now: Timestamp, client: Option<IpAddr>, work: Work) -> bool {
        let mut queues = self.lock();
        if !queues.open {
            return false;
        }
        let queue = match duty {
            Duty::All => &mut queues.logins,
            Duty::Renewals => &mut queues.renewals,
        };
        let queued = enqueue(queue, now, client, work);
        if queued {
            self.filled.notify_one();
            if duty == Duty::Renewals {
                self.to_sign.notify_one();
            }
        }
        queued
    }

    fn work(&self, duty: Duty, clock: &dyn Clock) {
        let filled = match duty {
            Duty::All => &self.filled,
            Duty::Renewals => &self.to_sign,
        };
        let mut bench = Bench::default();
        loop {
            let mut queues = self.lock();
            let Waiting { since, work, .. } = loop {
                match queues.next(duty) {
                    Some(next) => break next,
                    None if !queues.open => return,
                    None => queues = filled.wait(queues).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(queues);
            // Dropping the work drops its answer's sender, which the waiting side reads as a refusal.
            if clock.now().since(since) <= PATIENCE {
                // A dialect's code runs here. If it panics, that one login is refused, and the thread lives.
                let _panicked = catch_unwind(AssertUnwindSafe(|| work(&mut bench)));
            }
        }
    }
}

impl Drop for HashThreads {
    fn drop(&mut self) {
        self.shared.lock().open = false;
        self.shared.filled.notify_all();
        self.shared.to_sign.notify_all();
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

impl fmt::Debug for HashThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashThreads").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bench")
    }
}
