//! The hashing threads: a short queue that refuses, and threads that outlive what runs on them.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use super::world::{MINUTE, PLAIN, TestClock, TestMint, World, begin, run, until};
use crate::{Command, Context, Failure, HashThreads, Outcome};

/// Keeps a world's one hashing thread busy until it is dropped.
pub(super) struct Gate(#[expect(dead_code, reason = "dropping it opens the gate")] Sender<()>);

impl Gate {
    pub(super) fn shut(threads: &HashThreads) -> Self {
        let (open, opened): (Sender<()>, Receiver<()>) = channel();
        let (enter, entered) = channel();
        // Begun even though nobody waits for its answer: the future is kept until the thread is in it.
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
fn the_sixty_fifth_that_waits_is_refused_at_once_and_the_others_are_not() {
    let world = World::new(PLAIN);
    let gate = Gate::shut(&world.authority.threads);
    let waiting: Vec<_> =
        (0..64).map(|number| world.authority.threads.run(move |_| number)).collect();
    world.store.calls();
    let open = Command::Open(world.open("csmith", "XXX"));
    let refused = begin(pin!(world.authority.execute(open, world.cx())));
    assert!(matches!(refused, Poll::Ready(Err(Failure::Busy))), "{refused:?}");
    // The place it took is given back.
    assert_eq!(world.store.calls(), ["user", "apply", "apply"]);
    drop(gate);
    for (number, waiting) in waiting.into_iter().enumerate() {
        assert_eq!(run(waiting), Ok(number));
    }
    assert!(world.login("csmith", "XXX").is_ok());
}

/// A login under way.
type Begun<'w> = Pin<Box<dyn Future<Output = Result<Outcome, Failure>> + 'w>>;

/// `logins` at once from one address while no hash ends: those that wait for one.
fn waiting(world: &World, peer: [u8; 4], logins: usize) -> Vec<Begun<'_>> {
    let cx = Context { peer: Some(peer.into()), ..world.cx() };
    let begun = (0..logins).map(|number| {
        let open = Command::Open(world.open(&format!("nobody{number}"), "no"));
        let mut login: Begun<'_> = Box::pin(world.authority.execute(open, cx));
        begin(login.as_mut()).is_pending().then_some(login)
    });
    begun.flatten().collect()
}

#[test]
fn an_address_waits_with_no_more_logins_than_it_leaves_places_free() {
    let world = World::new(PLAIN);
    let gate = Gate::shut(&world.authority.threads);
    // 65 places. The last is free, but the queue holds 64.
    let mut held = Vec::new();
    let mut counts = Vec::new();
    for last in 1..=18 {
        let own = waiting(&world, [192, 0, 2, last], 200);
        counts.push(own.len());
        held.push(own);
    }
    assert_eq!(counts, [33, 16, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
    // What one gives up is there for others: also what nobody waits for any more, once its turn has come.
    let first = held.remove(0);
    drop(first);
    assert!(waiting(&world, [192, 0, 2, 19], 9).is_empty());
    drop(gate);
    until(|| !waiting(&world, [192, 0, 2, 19], 9).is_empty());
}

#[test]
fn the_last_seats_go_one_to_an_address_and_all_to_those_that_stand_for_many() {
    let world = World::new(PLAIN);
    let threads = &world.authority.threads;
    for (addresses, left) in [(0, 65), (1, 32), (2, 16), (3, 15), (10, 8), (18, 0), (19, 0)] {
        for renewals in [false, true] {
            let take = |client| {
                if renewals { threads.renewal_seat(client) } else { threads.seat(client) }.ok()
            };
            let all = |client| std::iter::from_fn(|| take(client)).collect::<Vec<_>>();
            let held: Vec<_> =
                (0..addresses).map(|last| all(Some([192, 0, 2, last].into()))).collect();
            // Each has taken what it can, and gets no more while the others hold theirs.
            for last in 0..addresses {
                assert!(take(Some([192, 0, 2, last].into())).is_none(), "{last} of {addresses}");
            }
            assert_eq!(all(None).len(), left, "{addresses}");
            drop(held);
        }
    }
}

#[test]
fn addresses_are_served_by_turns() {
    let world = World::new(PLAIN);
    let gate = Gate::shut(&world.authority.threads);
    let served = Arc::new(Mutex::new(Vec::new()));
    let queue = |client: Option<u8>| {
        let served = Arc::clone(&served);
        let seat = world.authority.threads.seat(client.map(|last| [192, 0, 2, last].into()));
        world.authority.threads.verify(seat.unwrap(), move |_| served.lock().unwrap().push(client))
    };
    let order = [Some(1), Some(1), Some(1), Some(1), None, Some(2), Some(3), None, Some(2)];
    let waiting: Vec<_> = order.into_iter().map(queue).collect();
    drop(gate);
    waiting.into_iter().for_each(|waiting| run(waiting).unwrap());
    let expected = [Some(1), None, Some(2), Some(3), None, Some(1), Some(2), Some(1), Some(1)];
    assert_eq!(*served.lock().unwrap(), expected);
}

#[test]
fn addresses_that_stand_for_many_share_no_bound() {
    let world = World::new(PLAIN);
    let _gate = Gate::shut(&world.authority.threads);
    assert_eq!(waiting(&world, [127, 0, 0, 1], 200).len(), 64);
}

#[test]
fn renewals_do_not_queue_behind_logins() {
    let mint = TestMint { signs: true, ..TestMint::new(PLAIN) };
    let world = World::with(mint);
    let token = world.token();
    let _gate = Gate::shut(&world.authority.threads);
    let _waiting: Vec<_> = (0..64).map(|_| world.authority.threads.run(|_| ())).collect();
    // Every hashing thread is at work and the queue is full.
    assert!(world.login("csmith", "XXX").is_err());
    for _ in 0..100 {
        assert!(world.renew(&token, world.mint.terms().lifetime).is_ok());
    }
}

#[test]
fn a_flood_of_logins_leaves_a_check_alone() {
    let world = World::new(PLAIN);
    let token = world.token();
    let _gate = Gate::shut(&world.authority.threads);
    let _waiting: Vec<_> = (0..64).map(|_| world.authority.threads.run(|_| ())).collect();
    assert_eq!((world.check(&token), world.close(&token)), (Ok(()), Ok(())));
}

#[test]
fn who_has_waited_more_than_three_seconds_is_refused_unhashed() {
    for (millis, refused) in [(2999, false), (3000, false), (3001, true)] {
        let world = World::new(PLAIN);
        let gate = Gate::shut(&world.authority.threads);
        let mut login =
            pin!(world.authority.execute(Command::Open(world.open("csmith", "XXX")), world.cx()));
        assert!(begin(login.as_mut()).is_pending());
        world.clock.advance(Duration::from_millis(millis));
        drop(gate);
        let outcome = run(login).map(drop);
        assert_eq!(outcome, if refused { Err(Failure::Busy) } else { Ok(()) }, "{millis}");
        assert_eq!(world.hashes().len(), usize::from(!refused));
    }
}

#[test]
fn a_clock_that_is_set_back_refuses_nobody() {
    let world = World::new(PLAIN);
    let gate = Gate::shut(&world.authority.threads);
    let waiting = world.authority.threads.run(|_| ());
    world.clock.set(world.now().minus(MINUTE));
    drop(gate);
    assert_eq!(run(waiting), Ok(()));
}

#[test]
fn what_nobody_waits_for_is_not_begun() {
    let world = World::new(PLAIN);
    let gate = Gate::shut(&world.authority.threads);
    {
        let mut login =
            pin!(world.authority.execute(Command::Open(world.open("csmith", "no")), world.cx()));
        assert!(begin(login.as_mut()).is_pending());
    }
    drop(gate);
    assert_eq!(world.hashes(), [[0; 3]; 0]);
}

#[test]
fn a_mint_that_panics_costs_one_login_and_no_thread() {
    let mint = Arc::new(TestMint::new(PLAIN));
    let mut world = World::new(PLAIN);
    world.mint = Arc::<TestMint>::clone(&mint);
    mint.panics.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(world.login("csmith", "XXX").map(drop), Err(Failure::Busy));
    }
    mint.panics.store(false, Ordering::SeqCst);
    assert!(world.login("csmith", "XXX").is_ok());
    assert_eq!(world.living(), 1);
}

#[test]
fn all_that_was_queued_is_done_before_the_threads_end() {
    let world = World::new(PLAIN);
    let clock: Arc<TestClock> = Arc::clone(&world.clock);
    for threads in [0, 1, 3] {
        let (pool, done) = (
            HashThreads::start(threads, Arc::<TestClock>::clone(&clock)),
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
        assert!(answers.into_iter().all(|answer| run(answer).is_ok()));
    }
}
