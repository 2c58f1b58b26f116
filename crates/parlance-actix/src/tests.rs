//! Claims about the shell.

mod guards;
mod peers;
