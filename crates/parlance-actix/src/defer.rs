//! Turns of a worker's executor.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Defers a job until this worker has polled every request that is ready now, before the worker waits for more. The
/// store gathers look-ups into batches this way (coalescing). Outside of a single-threaded runtime, such as that of an
/// actix worker, the job is dropped undone.
pub fn defer(job: Box<dyn FnOnce() + Send>) {
    let Ok(runtime) = Handle::try_current() else { return };
    if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
        runtime.spawn(async move { job() });
    }
}
