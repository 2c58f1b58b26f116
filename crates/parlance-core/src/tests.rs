//! Claims about the rules, under a clock that moves when it is told to.

mod bindings;
mod clients;
mod connections;
mod directory;
mod equal_work;
mod events;
mod hashing;
mod inspections;
mod lifetimes;
mod lockouts;
mod logins;
mod model;
mod names;
mod operators;
mod passwords;
mod races;
mod refusals;
mod rivals;
mod secrets;
mod throttles;
mod world;
