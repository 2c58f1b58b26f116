//! A TCP proxy for fault injection: its connections can be made slow, stalled or cut.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::sleep;

/// A running proxy. On drop, cuts every connection and stops listening.
pub(crate) struct FaultProxy {
    pub(crate) address: SocketAddr,
    link: Arc<Link>,
}

struct Link {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    target: SocketAddr,
    /// How long each piece from the client is held back.
    delay: Duration,
    /// Nothing passes, and no connection is closed.
    is_stalled: bool,
    /// The number of next answers to cut in the middle.
    cuts: usize,
    is_closed: bool,
    open: Vec<TcpStream>,
}

impl FaultProxy {
    /// Starts a proxy in front of this server.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            target,
            delay: Duration::ZERO,
            is_stalled: false,
            cuts: 0,
            is_closed: false,
            open: Vec::new(),
        };
        let link = Arc::new(Link { state: Mutex::new(state), changed: Condvar::new() });
        let shared = Arc::clone(&link);
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let mut state = shared.state.lock().unwrap();
                if state.is_closed {
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
        Self { address, link }
    }

    /// Delays every later piece from the client by this much.
    pub(crate) fn delay(&self, delay: Duration) {
        self.link.change(|state| state.delay = delay);
    }

    /// Lets nothing pass any more, on old or new connections, without closing them.
    pub(crate) fn stall(&self) {
        self.link.change(|state| state.is_stalled = true);
    }

    /// Lets everything pass again, with the held pieces and without delay.
    pub(crate) fn resume(&self) {
        self.link.change(|state| {
            state.is_stalled = false;
            state.delay = Duration::ZERO;
        });
    }

    /// Cuts this number of next answers in the middle.
    pub(crate) fn cut_answers(&self, count: usize) {
        self.link.change(|state| state.cuts = count);
    }

    /// The number of cuts still to come.
    pub(crate) fn cuts_left(&self) -> usize {
        self.link.state.lock().unwrap().cuts
    }

    pub(crate) fn cut(&self) {
        self.link.change(|state| {
            for stream in state.open.drain(..) {
                let _gone = stream.shutdown(Shutdown::Both);
            }
        });
    }
}

impl Link {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    /// Copies one direction until either end closes.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream, is_asking: bool) {
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            let mut state = self.state.lock().unwrap();
            if is_asking && state.delay > Duration::ZERO {
                let delay = state.delay;
                drop(state);
                sleep(delay);
                state = self.state.lock().unwrap();
            }
            let holds = |state: &mut State| state.is_stalled && !state.is_closed;
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

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.link.change(|state| state.is_closed = true);
        self.cut();
        let _wakes = TcpStream::connect(self.address);
    }
}
