#![doc = include_str!("docs.md")]

mod call;
mod connection;
mod message;
mod reply;
mod server;
mod service;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;

pub use server::{GrpcServer, Limits, StartError, Tls};
