//! Waiting for futures and for other threads, without a runtime.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as Task, Poll, Wake, Waker};
use std::thread::Thread;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread.
pub(in crate::tests) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Task::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Polls a future once, so that the work of the future is queued.
pub(in crate::tests) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Task::from_waker(Waker::noop()))
}

/// Waits until another thread has made `holds` true.
#[track_caller]
pub(in crate::tests) fn wait_until(mut holds: impl FnMut() -> bool) {
    let turns = (0..10_000_000).find(|_| {
        std::thread::yield_now();
        holds()
    });
    assert!(turns.is_some(), "it did not become true");
}
