//! A TCP proxy of the tests' own, whose line can be made slow, dead or cut.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::pace;

/// One at work. Dropped, it cuts what goes over it and listens no more.
pub(crate) struct Tap {
    pub(crate) address: SocketAddr,
    line: Arc<Line>,
}

struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    target: SocketAddr,
    /// How long what is asked is held back.
    delay: Duration,
    /// Nothing passes, and nobody is told.
    is_stalled: bool,
    /// How many answers are still to be cut in their middle.
    cuts: usize,
    is_over: bool,
    open: Vec<TcpStream>,
}

impl Tap {
    /// Before this server.
    pub(crate) fn before(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            target,
            delay: Duration::ZERO,
            is_stalled: false,
            cuts: 0,
            is_over: false,
            open: Vec::new(),
        };
        let line = Arc::new(Line { state: Mutex::new(state), changed: Condvar::new() });
        let shared = Arc::clone(&line);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let mut state = shared.state.lock().unwrap();
                if state.is_over {
                    return;
                }
                let Ok(server) = TcpStream::connect(state.target) else { continue };
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                    state.open.push(stream.try_clone().unwrap());
                }
                let (there, back) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (one, other) = (Arc::clone(&shared), Arc::clone(&shared));
                thread::spawn(move || one.pump(there, server, true));
                thread::spawn(move || other.pump(back, client, false));
            }
        });
        Self { address, line }
    }

    /// From now on every piece of what is asked waits so long.
    pub(crate) fn delay(&self, delay: Duration) {
        self.line.change(|state| state.delay = delay);
    }

    /// Lets nothing pass any more, on old connections or new ones, without a word.
    pub(crate) fn stall(&self) {
        self.line.change(|state| state.is_stalled = true);
    }

    /// Lets everything pass again, also what was held.
    pub(crate) fn flow(&self) {
        self.line.change(|state| {
            state.is_stalled = false;
            state.delay = Duration::ZERO;
        });
    }

    /// Cuts so many of the next answers in their middle.
    pub(crate) fn cut_answers(&self, count: usize) {
        self.line.change(|state| state.cuts = count);
    }

    /// How many of them are still to come.
    pub(crate) fn cuts_left(&self) -> usize {
        self.line.state.lock().unwrap().cuts
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.line.change(|state| {
            for stream in state.open.drain(..) {
                let _gone = stream.shutdown(Shutdown::Both);
            }
        });
    }
}

impl Line {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    /// Carries one direction until either end is gone.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream, is_asking: bool) {
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            let mut state = self.state.lock().unwrap();
            if is_asking && state.delay > Duration::ZERO {
                let delay = state.delay;
                drop(state);
                pace(delay);
                state = self.state.lock().unwrap();
            }
            let holds = |state: &mut State| state.is_stalled && !state.is_over;
            state = self.changed.wait_while(state, holds).unwrap();
            let is_cut = !is_asking && read > 1 && state.cuts > 0;
            state.cuts -= usize::from(is_cut);
            drop(state);
            let passes = if is_cut { read / 2 } else { read };
            if to.write_all(&bytes[..passes]).is_err() || is_cut {
                break;
            }
        }
        for stream in [from, to] {
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.line.change(|state| state.is_over = true);
        self.cut();
        let _wakes = TcpStream::connect(self.address);
    }
}
