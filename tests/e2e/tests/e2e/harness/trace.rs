//! The system calls of the program, in order, read from the output of `strace`.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Server, clock};

/// One system call, with the lines of the trace where the call began and ended.
#[derive(Clone, Debug)]
pub(crate) struct SystemCall {
    pub(crate) name: String,
    /// The file or socket of the first argument.
    pub(crate) file: String,
    /// The bytes written or read.
    pub(crate) data: Vec<u8>,
    /// The last number among the arguments: the offset of a write, or the new length of a file.
    pub(crate) offset: u64,
    pub(crate) result: i64,
    pub(crate) began: usize,
    pub(crate) ended: usize,
}

impl SystemCall {
    /// Whether this call makes earlier writes to its file durable.
    pub(crate) fn is_sync(&self) -> bool {
        matches!(self.name.as_str(), "fsync" | "fdatasync") && self.result == 0
    }

    pub(crate) fn contains(&self, part: &[u8]) -> bool {
        self.data.windows(part.len()).any(|window| window == part)
    }
}

/// Starts a server and traces its system calls into a file. `strace` runs beside the server (`-D`), so that the server
/// is our own child.
pub(crate) fn start(command: &Command, file: &Path) -> Server {
    let calls = "trace=recvfrom,sendto,sendmsg,write,writev,pwrite64,pwritev,fdatasync,fsync,ftruncate,unlink";
    let file = file.to_str().unwrap();
    let wrapper = [
        "strace",
        "-D",
        "-f",
        "-y",
        "-xx",
        "-s",
        "65536",
        "-e",
        calls,
        "-e",
        "signal=none",
        "-o",
        file,
    ];
    Server::spawn(super::server::wrap_command(&wrapper, command)).0
}

/// All traced calls, in the order of their ends. The server must have ended by itself.
pub(crate) fn read(file: &Path) -> Vec<SystemCall> {
    let text = clock::wait_for("the end of the trace", || {
        let text = fs::read_to_string(file).unwrap();
        let last = text.lines().last().unwrap_or_default();
        (last.ends_with("+++") && text.ends_with('\n')).then_some(text)
    });
    let mut found = Vec::new();
    let mut begun: Vec<(&str, usize, &str)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Some((thread, what)) = line.split_once(' ') else { continue };
        let what = what.trim_start();
        if let Some(start) = what.strip_suffix("<unfinished ...>") {
            begun.push((thread, number, start));
        } else if let Some((_, rest)) =
            what.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>"))
        {
            let at = begun.iter().position(|(other, ..)| *other == thread);
            let (_, began, start) = begun.swap_remove(at.expect("it has begun"));
            found.extend(call(&format!("{start}{rest}"), began, number));
        } else {
            found.extend(call(what, number, number));
        }
    }
    found
}

/// Parses `pwrite64(9<\x2f..>, "\x00..", 4096, 0) = 4096`.
fn call(text: &str, began: usize, ended: usize) -> Option<SystemCall> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once("= ")?;
    let result = result.split(' ').next()?.parse().ok()?;
    let (file, rest) = match arguments.split_once('<') {
        Some((_, rest)) => rest.split_once('>')?,
        None => ("", arguments),
    };
    let mut data = Vec::new();
    let mut rest = rest;
    // `writev` has several strings.
    while let Some((_, quoted)) = rest.split_once('"') {
        let (inside, after) = quoted.split_once('"')?;
        assert!(!after.starts_with("..."), "the trace is cut short");
        data.extend(bytes(inside));
        rest = after;
    }
    let numbers = rest.trim_end().trim_end_matches(')').split(", ");
    let offset = numbers.filter_map(|number| number.trim().parse().ok()).last().unwrap_or(0);
    let file = String::from_utf8(bytes(file)).ok()?;
    Some(SystemCall { name: name.to_owned(), file, data, offset, result, began, ended })
}

/// Decodes `\x2f\x74`; other characters stay.
fn bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut found = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        found.push(u8::from_str_radix(digits, 16).unwrap());
        found.extend_from_slice(rest.as_bytes());
    }
    found
}
