//! Turns of a worker's loop.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Has this worker do something once it has polled every request that is ready now, and before it waits for more: what the store gathers
/// look-ups by. Anywhere but in a runtime of one thread, such as actix's workers are, it is dropped undone.
pub fn soon(job: Box<dyn FnOnce() + Send>) {
    let Ok(runtime) = Handle::try_current() else { return };
    if runtime.runtime_flavor() == RuntimeFlavor::CurrentThread {
        runtime.spawn(async move { job() });
    }
}
