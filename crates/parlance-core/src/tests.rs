//! Claims about the rules, under a clock that the test alone moves.

mod address_bindings;
mod clients;
mod concurrent_sessions;
mod connections;
mod events;
mod external_users;
mod harness;
mod hashing;
mod introspection;
mod lifetimes;
mod lockouts;
mod logins;
mod model;
mod names;
mod operators;
mod passwords;
mod races;
mod rate_limits;
mod refusals;
mod secrets;
mod timing_attack;
