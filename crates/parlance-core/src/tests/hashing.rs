//! The password hashing pool: a short queue that sheds load, and threads that survive a panic of their work.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use super::harness::{
    AuthorityHarness, MINUTE, PLAIN_POLICY, TestClock, TestTokenIssuer, block_on, poll_once,
    wait_until,
};
use crate::{Command, Context, Failure, HashQueue, Outcome};

/// Keeps the one hashing thread of a world busy until dropped.
pub(super) struct BlockedHashThread(
    #[expect(dead_code, reason = "dropping it opens the gate")] Sender<()>,
);

impl BlockedHashThread {
    pub(super) fn block(threads: &HashQueue) -> Self {
        let (open, opened): (Sender<()>, Receiver<()>) = channel();
        let (enter, entered) = channel();
        // The future is kept until the thread runs the work: abandoned work is not begun.
        let work = threads.run(move |_| {
            enter.send(()).unwrap();
            let _opened = opened.recv();
        });
        entered.recv().unwrap();
        drop(work);
        Self(open)
    }
}

#[test]
fn the_65th_queued_login_is_refused_at_once_and_the_others_complete() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let gate = BlockedHashThread::block(&world.authority.hash_queue);
    let waiting: Vec<_> =
        (0..64).map(|number| world.authority.hash_queue.run(move |_| number)).collect();
    world.store.calls();
    let open = Command::Login(world.login_request("csmith", "XXX"));
    let refused = poll_once(pin!(world.authority.execute(open, world.cx())));
    assert!(matches!(refused, Poll::Ready(Err(Failure::Busy))), "{refused:?}");
    // The reservation of the refused login is released.
    assert_eq!(world.store.calls(), ["user", "apply", "apply"]);
    drop(gate);
    for (number, waiting) in waiting.into_iter().enumerate() {
        assert_eq!(block_on(waiting), Ok(number));
    }
    assert!(world.login("csmith", "XXX").is_ok());
}

/// A login in progress.
type PendingLogin<'w> = Pin<Box<dyn Future<Output = Result<Outcome, Failure>> + 'w>>;

/// Starts `logins` at once from one address while the hashing thread is blocked. Returns those that are queued.
fn queued_logins(world: &AuthorityHarness, peer: [u8; 4], logins: usize) -> Vec<PendingLogin<'_>> {
    let cx = Context { peer: Some(peer.into()), ..world.cx() };
    let begun = (0..logins).map(|number| {
        let open = Command::Login(world.login_request(&format!("nobody{number}"), "no"));
        let mut login: PendingLogin<'_> = Box::pin(world.authority.execute(open, cx));
        poll_once(login.as_mut()).is_pending().then_some(login)
    });
    begun.flatten().collect()
}

#[test]
fn an_address_queues_no_more_logins_than_permits_it_leaves_free() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let gate = BlockedHashThread::block(&world.authority.hash_queue);
    // 65 permits. The last one is free, but the queue holds 64.
    let mut held = Vec::new();
    let mut counts = Vec::new();
    for last in 1..=18 {
        let own = queued_logins(&world, [192, 0, 2, last], 200);
        counts.push(own.len());
        held.push(own);
    }
    assert_eq!(counts, [33, 16, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
    // An abandoned login frees its permit for others, but only once its turn in the queue has come.
    let first = held.remove(0);
    drop(first);
    assert!(queued_logins(&world, [192, 0, 2, 19], 9).is_empty());
    drop(gate);
    wait_until(|| !queued_logins(&world, [192, 0, 2, 19], 9).is_empty());
}

#[test]
fn the_last_permits_go_one_to_each_address_and_all_to_shared_addresses() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let threads = &world.authority.hash_queue;
    for (addresses, left) in [(0, 65), (1, 32), (2, 16), (3, 15), (10, 8), (18, 0), (19, 0)] {
        for renewals in [false, true] {
            let take = |client| {
                if renewals { threads.renewal_permit(client) } else { threads.login_permit(client) }
                    .ok()
            };
            let all = |client| std::iter::from_fn(|| take(client)).collect::<Vec<_>>();
            let held: Vec<_> =
                (0..addresses).map(|last| all(Some([192, 0, 2, last].into()))).collect();
            // Each address has taken all the permits that it can get, and gets no more while the others hold theirs.
            for last in 0..addresses {
                assert!(take(Some([192, 0, 2, last].into())).is_none(), "{last} of {addresses}");
            }
            assert_eq!(all(None).len(), left, "{addresses}");
            drop(held);
        }
    }
}

#[test]
fn addresses_are_served_round_robin() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let gate = BlockedHashThread::block(&world.authority.hash_queue);
    let served = Arc::new(Mutex::new(Vec::new()));
    let queue = |client: Option<u8>| {
        let served = Arc::clone(&served);
        let seat =
            world.authority.hash_queue.login_permit(client.map(|last| [192, 0, 2, last].into()));
        world
            .authority
            .hash_queue
            .verify(seat.unwrap(), move |_| served.lock().unwrap().push(client))
    };
    let order = [Some(1), Some(1), Some(1), Some(1), None, Some(2), Some(3), None, Some(2)];
    let waiting: Vec<_> = order.into_iter().map(queue).collect();
    drop(gate);
    waiting.into_iter().for_each(|waiting| block_on(waiting).unwrap());
    let expected = [Some(1), None, Some(2), Some(3), None, Some(1), Some(2), Some(1), Some(1)];
    assert_eq!(*served.lock().unwrap(), expected);
}

#[test]
fn shared_addresses_have_no_queue_limit_per_address() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let _gate = BlockedHashThread::block(&world.authority.hash_queue);
    assert_eq!(queued_logins(&world, [127, 0, 0, 1], 200).len(), 64);
}

#[test]
fn renewals_do_not_queue_behind_logins() {
    let mint = TestTokenIssuer { signs: true, ..TestTokenIssuer::new(PLAIN_POLICY) };
    let world = AuthorityHarness::with_issuer(mint);
    let token = world.token();
    let _gate = BlockedHashThread::block(&world.authority.hash_queue);
    let _waiting: Vec<_> = (0..64).map(|_| world.authority.hash_queue.run(|_| ())).collect();
    // Every hashing thread is busy and the queue is full.
    assert!(world.login("csmith", "XXX").is_err());
    for _ in 0..100 {
        assert!(world.renew(&token, world.token_issuer.session_policy().lifetime).is_ok());
    }
}

#[test]
fn a_login_flood_does_not_delay_a_check() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let token = world.token();
    let _gate = BlockedHashThread::block(&world.authority.hash_queue);
    let _waiting: Vec<_> = (0..64).map(|_| world.authority.hash_queue.run(|_| ())).collect();
    assert_eq!((world.check(&token), world.log_out(&token)), (Ok(()), Ok(())));
}

#[test]
fn a_login_queued_for_more_than_three_seconds_is_refused_unhashed() {
    for (millis, refused) in [(2999, false), (3000, false), (3001, true)] {
        let world = AuthorityHarness::new(PLAIN_POLICY);
        let gate = BlockedHashThread::block(&world.authority.hash_queue);
        let mut login = pin!(
            world
                .authority
                .execute(Command::Login(world.login_request("csmith", "XXX")), world.cx())
        );
        assert!(poll_once(login.as_mut()).is_pending());
        world.clock.advance(Duration::from_millis(millis));
        drop(gate);
        let outcome = block_on(login).map(drop);
        assert_eq!(outcome, if refused { Err(Failure::Busy) } else { Ok(()) }, "{millis}");
        assert_eq!(world.computed_hashes().len(), usize::from(!refused));
    }
}

#[test]
fn a_clock_set_back_refuses_no_login() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let gate = BlockedHashThread::block(&world.authority.hash_queue);
    let waiting = world.authority.hash_queue.run(|_| ());
    world.clock.set(world.now().minus(MINUTE));
    drop(gate);
    assert_eq!(block_on(waiting), Ok(()));
}

#[test]
fn work_without_a_waiting_caller_is_not_started() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let gate = BlockedHashThread::block(&world.authority.hash_queue);
    {
        let mut login = pin!(
            world
                .authority
                .execute(Command::Login(world.login_request("csmith", "no")), world.cx())
        );
        assert!(poll_once(login.as_mut()).is_pending());
    }
    drop(gate);
    assert_eq!(world.computed_hashes(), [[0; 3]; 0]);
}

#[test]
fn a_panicking_token_issuer_fails_one_login_and_no_thread() {
    let mint = Arc::new(TestTokenIssuer::new(PLAIN_POLICY));
    let mut world = AuthorityHarness::new(PLAIN_POLICY);
    world.token_issuer = Arc::<TestTokenIssuer>::clone(&mint);
    mint.panics.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::Busy));
    }
    mint.panics.store(false, Ordering::SeqCst);
    assert!(world.login("csmith", "XXX").is_ok());
    assert_eq!(world.live_sessions(), 1);
}

#[test]
fn queued_work_is_done_before_the_threads_end() {
    let world = AuthorityHarness::new(PLAIN_POLICY);
    let clock: Arc<TestClock> = Arc::clone(&world.clock);
    for threads in [0, 1, 3] {
        let (pool, done) = (
            HashQueue::start(threads, Arc::<TestClock>::clone(&clock)),
            Arc::new(AtomicUsize::new(0)),
        );
        let answers: Vec<_> = (0..50)
            .map(|_| {
                let done = Arc::clone(&done);
                pool.run(move |_| done.fetch_add(1, Ordering::SeqCst))
            })
            .collect();
        drop(pool);
        assert_eq!(done.load(Ordering::SeqCst), 50);
        assert!(answers.into_iter().all(|answer| block_on(answer).is_ok()));
    }
}
